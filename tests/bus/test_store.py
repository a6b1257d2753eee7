"""The event store's months and reads, on a real server."""

from datetime import UTC, datetime
from typing import Any

import pytest

from relay.bus.store import drop_before, make_months
from relay.bus.streams import StreamBus
from relay.ids import uuid7


async def insert(pool: Any, time: datetime, position: int = 1) -> None:
    await pool.execute(
        "INSERT INTO bus.event VALUES ($1, $2, $3, 'documents', 'document.updated', 'd', '', '')",
        position,
        uuid7(),
        time,
    )


async def partitions(pool: Any) -> set[str]:
    return {row[0] for row in await pool.fetch("SELECT DISTINCT tableoid::regclass::text FROM bus.event")}


async def test_months_ahead(bus: StreamBus, pool: Any) -> None:
    """This month and the next two are there before anything is in them, over the turn of a year too."""
    async with pool.acquire() as connection:
        await make_months(connection, datetime(2030, 12, 31, 23, tzinfo=UTC))
        await make_months(connection, datetime(2030, 12, 31, 23, tzinfo=UTC))
    for time in (
        datetime(2030, 12, 1, tzinfo=UTC),
        datetime(2031, 1, 31, 23, 59, tzinfo=UTC),
        datetime(2031, 2, 28, tzinfo=UTC),
    ):
        await insert(pool, time)
    assert await partitions(pool) == {"bus.event_2030_12", "bus.event_2031_01", "bus.event_2031_02"}


async def test_event_of_an_unforeseen_month(bus: StreamBus, pool: Any) -> None:
    """An event for which no month exists is kept, and moves to its month when that is created."""
    await insert(pool, datetime(2040, 5, 5, tzinfo=UTC))
    assert await partitions(pool) == {"bus.event_default"}
    async with pool.acquire() as connection:
        await make_months(connection, datetime(2040, 4, 1, tzinfo=UTC))
    assert await partitions(pool) == {"bus.event_2040_05"}


async def test_retention(bus: StreamBus, pool: Any) -> None:
    """A month is dropped when all of it is past retention, not before."""
    async with pool.acquire() as connection:
        await make_months(connection, datetime(2020, 1, 1, tzinfo=UTC))
        assert await drop_before(connection, datetime(2020, 2, 29, tzinfo=UTC)) == ["event_2020_01"]
        assert await drop_before(connection, datetime(2020, 3, 1, tzinfo=UTC)) == ["event_2020_02"]


async def test_read(bus: StreamBus, add_events: Any, wait_until: Any) -> None:
    """Events are read in order past a position, all or those of a type, a subject, a topic."""
    a, b = await add_events("a", "b")
    (c,) = await add_events("c", subject="d2")

    async def stored() -> bool:
        return await bus.store.position_of(c.id) is not None

    await wait_until(stored)
    found = await bus.store.read(0)
    assert [each.id for each in found] == [a.id, b.id, c.id]
    assert [each.id for each in await bus.store.read(found[0].position, limit=1)] == [b.id]
    assert [each.id for each in await bus.store.read(0, subject="d2")] == [c.id]
    assert len(await bus.store.read(0, types=["document.updated", "user.updated"], topic="documents")) == 3
    assert await bus.store.read(0, types=["user.updated"]) == []
    assert await bus.store.read(0, topic="users") == []
    assert await bus.store.position_of(uuid7()) is None


@pytest.mark.parametrize("size", [255 << 10, 257 << 10])
async def test_size_of_an_event(bus: StreamBus, add_events: Any, size: int) -> None:
    """An event over 256 KiB is refused where it is added."""
    if size > 256 << 10:
        with pytest.raises(ValueError, match="over"):
            await add_events("x" * size)
    else:
        await add_events("x" * size)
