"""A bus of a test's own, on the shared servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from relay.bus import consumer
from relay.bus.consumer import Retries
from relay.bus.outbox import made
from relay.bus.streams import StreamBus
from relay.contracts import TOPICS, Event
from relay.contracts.materi.v1.documents_pb2 import DocumentUpdated
from relay.journal.address import Address

FAST = Retries(attempts=3, first=0.01, longest=0.05, patience=0.5, timeout=5.0)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "UPKEEP", 0.1)
    monkeypatch.setattr(consumer, "PAUSED", 0.05)


@pytest.fixture
async def pool(postgres: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(postgres, min_size=1, max_size=8) as opened:
        await opened.execute("DROP SCHEMA IF EXISTS bus CASCADE; DROP TABLE IF EXISTS seen, done")
        yield opened


@pytest.fixture
async def redis(valkey) -> AsyncIterator[Any]:  # type: ignore[no-untyped-def]
    client = Address(valkey.url).client("test-bus", 5.0)
    await client.delete(*(f"materi:events:{topic}" for topic in TOPICS))
    yield client
    await client.delete(*(f"materi:events:{topic}" for topic in TOPICS))
    await client.aclose()


@pytest.fixture
async def bus(pool, redis, valkey) -> AsyncIterator[StreamBus]:  # type: ignore[no-untyped-def]
    opened = StreamBus(pool, valkey.url, retries=FAST)
    await opened.start()
    yield opened
    await opened.close()


class Seen:
    """A handler that remembers, in memory and in a table on its connection."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    async def __call__(self, connection: Any, event: Event) -> None:
        self.titles.append(event.payload.title)  # type: ignore[attr-defined]
        await connection.execute("CREATE TABLE IF NOT EXISTS seen (title text)")
        await connection.execute("INSERT INTO seen VALUES ($1)", event.payload.title)  # type: ignore[attr-defined]


async def until(check: Callable[[], Any | Awaitable[Any]], seconds: float = 10.0) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(seconds):
        while True:
            found = check()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


async def add(pool: Any, bus: StreamBus, *titles: str, subject: str = "d1") -> list[Event]:
    """Add an event for each title, in one transaction."""
    events = [made(DocumentUpdated(document_id=subject, title=title), subject=subject) for title in titles]
    async with pool.acquire() as connection, connection.transaction():
        await bus.outbox.add_many(connection, events)
    return events


@pytest.fixture
def add_events(pool: Any, bus: StreamBus) -> Callable[..., Awaitable[list[Event]]]:
    async def work(*titles: str, subject: str = "d1") -> list[Event]:
        return await add(pool, bus, *titles, subject=subject)

    return work


@pytest.fixture
def published(pool: Any) -> Callable[[], Awaitable[None]]:
    """Wait until every event is stored, in the transaction that ends a moment after the streams have them."""

    async def empty() -> bool:
        return not await pool.fetchval("SELECT EXISTS (SELECT FROM bus.outbox)")

    return lambda: until(empty)


@pytest.fixture
def settled(bus: StreamBus, published: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Wait until every group has committed and acknowledged all there is, and PostgreSQL knows."""

    async def nothing_left() -> bool:
        return not any(lag.lag for lag in await bus.groups.lag())

    async def work() -> None:
        await published()
        await until(nothing_left)

    return work


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[None]]:
    return until


@pytest.fixture
def seen() -> Seen:
    return Seen()
