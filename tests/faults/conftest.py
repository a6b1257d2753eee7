"""Relays to break, on services of their own or of the test's; what was acknowledged is counted against what is left."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from relay_process import Relay
from typists import Typist, spelled


class Tally(NamedTuple):
    """What authors were told is saved, and what a reader who never met them finds of that; in characters."""

    acknowledged: int
    lost: int
    wrong: int  # authors of whom something else was found than they typed


@pytest.fixture
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Relay]]:
    """`relays(*flags, postgres=url, valkey=url)` starts one; what still runs at the end must stop cleanly.
    `environment`: further variables."""
    started: list[Relay] = []

    def start(*flags: str, postgres: str = "", valkey: str = "", environment: Mapping[str, str] | None = None) -> Relay:
        services = {"DATABASE_URL": postgres, "REDIS_URL": valkey}
        given = {name: url for name, url in services.items() if url} | dict(environment or {})
        flags = "--reconnect-jitter", "0.2", *flags  # the last of a flag counts
        started.append(Relay(tmp_path_factory.mktemp("relay"), flags, given))
        return started[-1]

    yield start
    for relay in started:
        relay.stop()


@pytest.fixture(autouse=True)
async def farewell(relays: Callable[..., Relay]) -> AsyncIterator[None]:
    """Clients leave before their relays are stopped: those whose loop has ended would not answer a close."""
    yield
    for typist in list(Typist.everybody):
        typist.leave()
    Typist.everybody.clear()
    await asyncio.sleep(0.01)


@pytest.fixture
def database(postgres_server: Any) -> str:
    """The URL of a database of the test's own."""
    return str(postgres_server.create_database())


@pytest.fixture
def count() -> Callable[..., Any]:
    """`await count(relay, authors)`: reads every room afresh and compares."""

    async def tally(relay: Relay, authors: Iterable[Typist]) -> Tally:
        rooms: dict[str, list[Typist]] = {}
        for author in authors:
            rooms.setdefault(author.room, []).append(author)
        acknowledged = lost = wrong = 0
        for room, those in rooms.items():
            reader = await Typist.join(relay.port, room, 1)
            for author in those:
                found = reader.text(author.client)
                acknowledged += author.saved
                lost += max(0, author.saved - len(found))
                wrong += found != spelled(len(found))
            reader.leave()
        return Tally(acknowledged, lost, wrong)

    return tally


@pytest.fixture
def crowd() -> Callable[..., Any]:
    """`await crowd(relay, rooms, each)`: authors of both protocols in turn, `each` to a room."""
    numbers = itertools.count(random.randrange(2, 2**31))

    async def gather(relay: Relay, rooms: Iterable[str], each: int) -> list[Typist]:
        return [
            await Typist.join(relay.port, room, (number := next(numbers)), hocuspocus=bool(number % 2))
            for room in rooms
            for _ in range(each)
        ]

    return gather
