"""Events over HTTP, on real servers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from shim import Running, running

from api_shim.plugin import Plugin
from plugins.events.plugin import Events
from plugins.events.settings import EventsSettings
from relay.bus.consumer import Retries
from relay.bus.outbox import made
from relay.contracts import TOPICS, Event
from relay.contracts.materi.v1.documents_pb2 import DocumentUpdated
from relay.grants import Principal
from relay.hooks import ConnectAsked
from relay.journal.address import Address
from relay.types import Actor


class Doors(Plugin):
    """Tokens that are scopes; `person` has none, `service` is one."""

    name = "doors"

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        if ask.token == "person":
            return Principal(Actor("ada"), "Ada", None)
        if ask.token == "service":
            return Principal(Actor("cron"), "Cron", None, kind="service")
        if ask.token == "operator":
            return Principal(Actor("grace"), "Grace", None)
        if ask.token == "reader":
            return Principal(Actor("pull"), "Pull", None, kind="service", scopes=frozenset(["events:read"]))
        return Principal(Actor("key"), "Key", None, scopes=frozenset([ask.token]))


@pytest.fixture
async def shim(valkey: Any, postgres: str) -> AsyncIterator[Running]:
    client = Address(valkey.url).client("test", 5.0)
    await client.delete(*(f"materi:events:{topic}" for topic in TOPICS))
    await client.aclose()
    events = Events()
    events.settings = EventsSettings(admins=("grace",))
    async with running([Doors(), events], postgres=postgres, redis=valkey.url) as started:
        await started.context("events").database.execute("TRUNCATE bus.consumer, bus.dead_letter, bus.handled")
        yield started


async def add(shim: Running, *titles: str, subject: str = "d1") -> list[Event]:
    context = shim.context("events")
    events = [made(DocumentUpdated(title=title), subject=subject) for title in titles]
    async with context.database.acquire() as connection, connection.transaction():
        await context.bus.outbox.add_many(connection, events)
    return events


async def test_read(shim: Running) -> None:
    """Events are read on from an id, filtered, and waited for."""
    first, second = await add(shim, "a", "b")
    status, found, _ = await shim.call("GET", "/v1/events?wait=5&subject=d1", token="reader")
    assert status == 200
    assert {"a", "b"} <= {each["data"]["title"] for each in found["data"]}
    status, found, _ = await shim.call("GET", f"/v1/events?after={first.id}", token="admin")
    assert [each["id"] for each in found["data"]] == [str(second.id)] == [found["after"]]
    waiting = asyncio.ensure_future(  # noqa: TID251
        shim.call("GET", f"/v1/events?after={second.id}&wait=10&type=document.updated", token="reader")
    )
    await asyncio.sleep(0.3)
    await add(shim, "c", subject="d2")
    _, found, _ = await waiting
    assert [each["subject"] for each in found["data"]] == ["d2"]
    assert (await shim.call("GET", "/v1/event-groups", token="operator"))[0] == 200
    status, found, _ = await shim.call("GET", "/v1/events?after=now", token="service")
    assert (status, found) == (200, {"data": [], "after": None})


@pytest.mark.parametrize(
    ("query", "expected"),
    [("after=019f8a00-0000-7000-8000-000000000000", 410), ("type=document.sung", 422), ("wait=99", 422), ("x=1", 422)],
)
async def test_read_wrongly(shim: Running, query: str, expected: int) -> None:
    """An event that is not there, a type that is not, and a wrong parameter are told apart."""
    status, _, _ = await shim.call("GET", f"/v1/events?{query}", token="reader")
    assert status == expected


ADMIN = [
    ("GET", "/v1/event-streams", None),
    ("GET", "/v1/event-groups", None),
    ("POST", "/v1/event-groups/g:pause", None),
    ("POST", "/v1/event-groups/g:resume", None),
    ("POST", "/v1/event-groups/g:redrive", None),
    ("POST", "/v1/event-groups/g:seek", {"to": "beginning"}),
    ("GET", "/v1/dead-letters", None),
    ("GET", "/v1/dead-letters/1", None),
    ("PUT", "/v1/dead-letters/1", made(DocumentUpdated(), subject="d").json()),
    ("POST", "/v1/dead-letters/1:redrive", None),
    ("DELETE", "/v1/dead-letters/1", None),
]


@pytest.mark.parametrize("token", ["person", "reader", "events:read", "documents:write"])
async def test_who_may_not(shim: Running, token: str) -> None:
    """A person may not, nor with a key that they gave the scope `events:read` themselves; a service narrowed to it
    reads, and no more."""
    assert [(await shim.call(method, path, body, token=token))[0] for method, path, body in ADMIN] == [403] * len(ADMIN)
    if token != "reader":
        assert (await shim.call("GET", "/v1/events", token=token))[0] == 403


async def test_unknown_things(shim: Running) -> None:
    """Groups and dead letters that do not exist are not found."""
    for method, path, body in ADMIN:
        if ("/g:" in path and "redrive" not in path) or "/1" in path:
            assert (await shim.call(method, path, body, token="admin"))[0] == 404, path
    assert (await shim.call("GET", "/v1/dead-letters/x", token="admin"))[0] == 404


async def test_look_after_a_group(shim: Running) -> None:
    """A group is paused, seen to lag, and taken elsewhere; its dead letter is found, edited and redriven."""
    titles: list[str] = []

    async def handle(connection: Any, event: Event) -> None:
        if event.payload.title == "bad":  # type: ignore[attr-defined]
            raise RuntimeError("I hate it")
        titles.append(event.payload.title)  # type: ignore[attr-defined]

    bus = shim.context("events").bus
    bus._retries = Retries(attempts=2, first=0.01)
    await bus.consume("g", ["documents"], handle)
    assert (await shim.call("POST", "/v1/event-groups/g:pause", token="service"))[0] == 204
    _, event = await add(shim, "a", "bad")
    async with asyncio.timeout(10):
        while (await shim.call("GET", "/v1/event-groups", token="admin"))[1]["data"][0]["lag"] < 2:
            await asyncio.sleep(0.05)
    assert (await shim.call("POST", "/v1/event-groups/g:resume", token="admin"))[0] == 204
    async with asyncio.timeout(10):
        while not (found := (await shim.call("GET", "/v1/dead-letters?group=g", token="admin"))[1]["data"]):
            await asyncio.sleep(0.05)
    (letter,) = found
    assert letter["event"]["id"] == str(event.id)
    assert "I hate it" in letter["error"]
    path = f"/v1/dead-letters/{letter['id']}"
    assert (await shim.call("PUT", path, letter["event"] | {"type": "user.sung"}, token="admin"))[0] == 422
    edited = letter["event"] | {"data": {"title": "good"}}
    status, found, _ = await shim.call("PUT", path, edited, token="admin")
    assert (status, found["edited"]) == (200, True)
    assert (await shim.call("POST", f"{path}:redrive", token="admin"))[0] == 204
    async with asyncio.timeout(10):
        while "good" not in titles:
            await asyncio.sleep(0.05)
    _, streams, _ = await shim.call("GET", "/v1/event-streams", token="admin")
    assert {each["topic"] for each in streams["data"]} == set(TOPICS)
    titles.clear()
    for wrong in ({}, {"to": "end", "after": str(event.id)}):
        assert (await shim.call("POST", "/v1/event-groups/g:seek", wrong, token="admin"))[0] == 422
    assert (await shim.call("POST", "/v1/event-groups/g:seek", {"to": "beginning"}, token="admin"))[0] == 204
    async with asyncio.timeout(10):
        while "a" not in titles:
            await asyncio.sleep(0.05)
