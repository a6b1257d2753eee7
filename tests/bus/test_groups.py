"""What an operator does with groups, on real servers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.bus.groups import handled
from relay.bus.streams import StreamBus
from relay.contracts import Event
from relay.ids import uuid7


async def test_pause_and_resume(bus: StreamBus, add_events: Any, wait_until: Any, seen: Any) -> None:
    """A paused group handles nothing, and goes on with all of it when it is resumed."""
    await bus.consume("g", ["documents"], seen)
    await add_events("a")
    await wait_until(lambda: seen.titles == ["a"])
    await bus.groups.pause("g")
    await add_events("b", "c")
    await asyncio.sleep(0.3)
    assert seen.titles == ["a"]
    await bus.groups.resume("g")
    await wait_until(lambda: seen.titles == ["a", "b", "c"])


async def test_pause_waits_for_the_handler(bus: StreamBus, add_events: Any, wait_until: Any) -> None:
    """When pausing has returned no handler is running."""
    running = asyncio.Event()
    ended = False

    async def handle(connection: Any, event: Event) -> None:
        nonlocal ended
        running.set()
        await asyncio.sleep(0.3)
        ended = True

    await bus.consume("g", ["documents"], handle)
    await add_events("a")
    await running.wait()
    await bus.groups.pause("g")
    assert ended


async def test_seek_back_handles_again(
    bus: StreamBus, pool: Any, redis: Any, add_events: Any, wait_until: Any, published: Any, seen: Any
) -> None:
    """A group taken back to the beginning handles everything again, in order, though the stream was trimmed; events
    that come meanwhile follow."""
    await bus.consume("g", ["documents"], seen)
    titles = [str(n) for n in range(250)]
    await add_events(*titles)
    await wait_until(lambda: len(seen.titles) == 250)
    await published()

    async def trimmed() -> bool:
        async with pool.acquire() as connection:
            await bus._publisher.tidy(connection)
        return await redis.xlen("materi:events:documents") == 0

    await wait_until(trimmed)
    await bus.groups.pause("g")
    seen.titles.clear()
    await bus.groups.seek("g", 0)
    await add_events("later")
    await bus.groups.resume("g")
    await wait_until(lambda: len(seen.titles) == 251)
    assert seen.titles == [*titles, "later"]
    await add_events("last")
    await wait_until(lambda: seen.titles[-1] == "last")


async def test_seek_to_a_time_and_an_event(
    bus: StreamBus, add_events: Any, wait_until: Any, published: Any, seen: Any
) -> None:
    """A place can be named by an event's id or by a time."""
    await bus.consume("g", ["documents"], seen)
    first, second = await add_events("a", "b")
    await wait_until(lambda: seen.titles == ["a", "b"])
    await published()
    at = await bus.store.position_of(first.id)
    assert at is not None
    assert await bus.store.position_at(datetime.fromtimestamp(first.time / 1000, UTC)) == at - 1
    assert await bus.store.position_at(datetime.now(UTC) + timedelta(hours=1)) == await bus.store.position_of(second.id)
    await bus.groups.seek("g", at)
    await wait_until(lambda: seen.titles == ["a", "b", "b"])


async def test_seek_forward_leaves_out(bus: StreamBus, add_events: Any, wait_until: Any, seen: Any) -> None:
    """A group that is sent past events never handles them."""
    await bus.consume("g", ["documents"], seen)
    await bus.groups.pause("g")
    _, second = await add_events("a", "b")

    async def stored() -> bool:
        return await bus.store.position_of(second.id) is not None

    await wait_until(stored)
    await bus.groups.seek("g", await bus.store.newest())
    await bus.groups.resume("g")
    await add_events("c")
    await wait_until(lambda: seen.titles == ["c"])


async def test_failure_while_replaying(bus: StreamBus, add_events: Any, wait_until: Any, published: Any) -> None:
    """An event that fails while a group reads from the store becomes a dead letter, and the others are handled."""
    got: list[str] = []
    broken = False

    async def handle(connection: Any, event: Event) -> None:
        title = event.payload.title  # type: ignore[attr-defined]
        if broken and title == "5":
            raise RuntimeError("five")
        got.append(title)

    await bus.consume("g", ["documents"], handle)
    titles = [str(n) for n in range(10)]
    await add_events(*titles)
    await wait_until(lambda: got == titles)
    await published()
    async with bus._pool.acquire() as connection:
        await bus._publisher.tidy(connection)
    broken = True
    await bus.groups.seek("g", 0)

    async def dead() -> int:
        return len(await bus.dead_letters.list(name="g"))

    await wait_until(dead)
    await wait_until(lambda: got[-1] == "9" and len(got) > 15)
    assert {title for title in titles if title != "5"} <= set(got[10:])


async def test_lag(bus: StreamBus, add_events: Any, published: Any, settled: Any, seen: Any) -> None:
    """The lag is the events published and not settled, and how old the oldest is."""
    await bus.consume("g", ["documents", "users"], seen)
    await bus.groups.pause("g")
    await add_events("a", "b", "c")
    await published()
    documents, users = await bus.groups.lag()
    assert (documents.name, documents.topic, documents.lag, documents.paused) == ("g", "documents", 3, True)
    assert 0 < documents.age < 30
    assert (users.topic, users.lag, users.age) == ("users", 0, 0)
    await bus.groups.resume("g")

    await settled()


async def test_unknown_group(bus: StreamBus) -> None:
    """Operations on a group that does not exist say so."""
    for work in (bus.groups.pause("x"), bus.groups.seek("x", 0), bus.groups.forget("x")):
        with pytest.raises(LookupError, match="'x'"):
            await work


async def test_handled_says_what_is_new(bus: StreamBus, pool: Any) -> None:
    """The helper notes ids for a group and returns those that it had not noted before, once its transaction holds."""
    ids = [uuid7() for _ in range(3)]
    async with pool.acquire() as connection:
        with pytest.raises(ZeroDivisionError):
            async with connection.transaction():
                assert await handled(connection, "g", ids) == set(ids)
                raise ZeroDivisionError
        assert await handled(connection, "g", ids[:2]) == set(ids[:2])
        assert await handled(connection, "g", ids) == {ids[2]}
        assert await handled(connection, "other", ids) == set(ids)
