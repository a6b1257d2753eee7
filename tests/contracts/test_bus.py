"""The port `relay.bus.Bus`, held by every adapter."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from relay.bus import Bus, Event
from relay.bus.consumer import Retries
from relay.bus.memory import MemoryBus
from relay.bus.streams import StreamBus
from relay.contracts import TOPICS
from relay.contracts.materi.v1.documents_pb2 import DocumentCreated, DocumentDeleted
from relay.contracts.materi.v1.envelope_pb2 import Envelope
from relay.contracts.materi.v1.users_pb2 import UserEnabled
from relay.journal.address import Address


@dataclass
class Kit:
    bus: Bus
    transaction: Callable[[], AbstractAsyncContextManager[Any]]
    dead: Callable[[], Awaitable[list[tuple[str, str]]]]
    """Group and subject of the dead letters."""
    published: Callable[[], Awaitable[bool]]
    """Whether all that was committed is."""


@pytest.fixture(params=["memory", "streams"])
async def kit(request: pytest.FixtureRequest) -> AsyncIterator[Kit]:
    if request.param == "memory":
        bus = MemoryBus()

        async def dead() -> list[tuple[str, str]]:
            return [(group, event.subject) for group, event, _ in bus.dead]

        async def at_once() -> bool:
            return True

        yield Kit(bus, bus.transaction, dead, at_once)
        await bus.close()
        return
    valkey = request.getfixturevalue("valkey")
    client = Address(valkey.url).client("test", 5.0)
    await client.delete(*(f"materi:events:{topic}" for topic in TOPICS))
    async with asyncpg.create_pool(request.getfixturevalue("postgres"), min_size=1, max_size=6) as pool:
        await pool.execute("DROP SCHEMA IF EXISTS bus CASCADE")
        streams = StreamBus(pool, valkey.url, retries=Retries(attempts=3, first=0.01))
        await streams.start()

        @asynccontextmanager
        async def transaction() -> AsyncIterator[Any]:
            async with pool.acquire() as connection, connection.transaction():
                yield connection

        async def letters() -> list[tuple[str, str]]:
            found = await streams.dead_letters.list()
            return [(letter.name, letter.event.subject) for letter in found if letter.event]

        async def published() -> bool:
            return not await pool.fetchval("SELECT EXISTS (SELECT FROM bus.outbox)")

        yield Kit(streams, transaction, letters, published)
        await streams.close()
    await client.aclose()


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.01)


async def test_committed_events_arrive(kit: Kit) -> None:
    """A group gets what is published after it began, with all that was said of it, and of its topics only."""
    got: list[Event] = []

    async def handle(connection: Any, event: Event) -> None:
        got.append(event)

    async with kit.transaction() as connection:
        await kit.bus.outbox.add(connection, DocumentCreated(), subject="before")
    async with asyncio.timeout(10):
        while not await kit.published():
            await asyncio.sleep(0.01)
    await kit.bus.consume("g", ["documents"], handle)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with kit.transaction() as connection:
        await kit.bus.outbox.add(connection, UserEnabled(user_id="u"), subject="u")
        id = await kit.bus.outbox.add(connection, DocumentCreated(title="T"), subject="d", actor="ada", trace=trace)
        await asyncio.sleep(0.05)
        assert got == []
    await until(lambda: bool(got))
    (event,) = got
    assert (event.id, event.subject, event.actor, event.trace) == (id, "d", "ada", trace)
    assert event.payload == DocumentCreated(title="T")


async def test_rolled_back_events_do_not(kit: Kit) -> None:
    """What a transaction that failed had added is never published."""
    got: list[str] = []

    async def handle(connection: Any, event: Event) -> None:
        got.append(event.subject)

    await kit.bus.consume("g", ["documents"], handle)
    with pytest.raises(ZeroDivisionError):
        async with kit.transaction() as connection:
            await kit.bus.outbox.add(connection, DocumentCreated(), subject="never")
            raise ZeroDivisionError
    async with kit.transaction() as connection:
        await kit.bus.outbox.add(connection, DocumentCreated(), subject="d")
    await until(lambda: bool(got))
    assert got == ["d"]


async def test_order(kit: Kit) -> None:
    """A group of one consumer gets a subject's events in the order in which they were added."""
    got: list[tuple[str, str]] = []

    async def handle(connection: Any, event: Event) -> None:
        got.append((event.subject, event.type))

    await kit.bus.consume("g", ["documents"], handle)
    for n in range(20):
        async with kit.transaction() as connection:
            await kit.bus.outbox.add(connection, DocumentCreated(), subject=f"d{n}")
        async with kit.transaction() as connection:
            await kit.bus.outbox.add(connection, DocumentDeleted(), subject=f"d{n}")
    await until(lambda: len(got) == 40)
    assert got == [(f"d{n}", type) for n in range(20) for type in ("document.created", "document.deleted")]


async def test_failing_handler_is_called_again(kit: Kit) -> None:
    """What a handler added before it failed is not published; when it succeeds it is."""
    calls = 0
    got: list[str] = []

    async def handle(connection: Any, event: Event) -> None:
        nonlocal calls
        calls += 1
        await kit.bus.outbox.add(connection, UserEnabled(user_id="u"), subject=f"call {calls}")
        if calls < 3:
            raise RuntimeError("not yet")

    async def hear(connection: Any, event: Event) -> None:
        got.append(event.subject)

    await kit.bus.consume("g", ["documents"], handle)
    await kit.bus.consume("h", ["users"], hear)
    async with kit.transaction() as connection:
        await kit.bus.outbox.add(connection, DocumentCreated(), subject="d")
    await until(lambda: bool(got))
    await asyncio.sleep(0.1)
    assert (calls, got, await kit.dead()) == (3, ["call 3"], [])


async def test_dead_letter(kit: Kit) -> None:
    """An event that fails every attempt becomes a dead letter of its group, and another group's business as usual."""
    got: list[str] = []

    async def fail(connection: Any, event: Event) -> None:
        if event.subject == "bad":
            raise RuntimeError("no")

    async def handle(connection: Any, event: Event) -> None:
        got.append(event.subject)

    await kit.bus.consume("g", ["documents"], fail)
    await kit.bus.consume("h", ["documents"], handle)
    async with kit.transaction() as connection:
        for subject in ("a", "bad", "b"):
            await kit.bus.outbox.add(connection, DocumentCreated(), subject=subject)
    async with asyncio.timeout(10):
        while not (dead := await kit.dead()):
            await asyncio.sleep(0.02)
    assert dead == [("g", "bad")]
    await until(lambda: got == ["a", "bad", "b"])


async def test_impossible_events(kit: Kit) -> None:
    """A message that is no event, or one about nothing, is refused."""
    async with kit.transaction() as connection:
        with pytest.raises(ValueError):
            await kit.bus.outbox.add(connection, Envelope(), subject="d")
        with pytest.raises(ValueError):
            await kit.bus.outbox.add(connection, DocumentCreated(), subject="")
    with pytest.raises(ValueError):
        await kit.bus.consume("g", ["nothing"], lambda connection, event: asyncio.sleep(0))
