"""Publishers on real servers."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.exceptions import ResponseError

from relay.bus import topics
from relay.bus.outbox import made
from relay.bus.streams import StreamBus
from relay.contracts import Event
from relay.contracts.materi.v1.documents_pb2 import DocumentUpdated


async def test_rolled_back_is_never_published(
    bus: StreamBus, pool: Any, redis: Any, add_events: Any, wait_until: Any
) -> None:
    """What a transaction that fails had added is gone with it."""
    with pytest.raises(ZeroDivisionError):
        async with pool.acquire() as connection, connection.transaction():
            await bus.outbox.add(connection, DocumentUpdated(title="x"), subject="d1")
            raise ZeroDivisionError
    await add_events("y")
    await wait_until(lambda: redis.xlen("materi:events:documents"))
    ((_, fields),) = await redis.xrange("materi:events:documents")
    assert Event.decode(fields[b"e"]).payload.title == "y"  # type: ignore[attr-defined]


async def test_publishers_keep_the_order(bus: StreamBus, pool: Any, valkey: Any, redis: Any, wait_until: Any) -> None:
    """With three publishers and writers at once, the events of each subject are in the stream as they were added."""
    others = [StreamBus(pool, valkey.url) for _ in range(2)]
    for other in others:
        await other.start()

    async def write(subject: str) -> None:
        for n in range(40):
            async with pool.acquire() as connection, connection.transaction():
                await bus.outbox.add(connection, DocumentUpdated(title=str(n)), subject=subject)

    await asyncio.gather(*(write(f"d{n}") for n in range(5)))

    async def empty() -> bool:
        return not await pool.fetchval("SELECT count(*) FROM bus.outbox")

    await wait_until(empty)
    for other in others:
        await other.close()
    orders: dict[str, list[str]] = {}
    for _, fields in await redis.xrange("materi:events:documents"):
        event = Event.decode(fields[b"e"])
        orders.setdefault(event.subject, []).append(event.payload.title)  # type: ignore[attr-defined]
    assert orders == {f"d{n}": [str(k) for k in range(40)] for n in range(5)}


async def test_killed_between_stream_and_commit(
    pool: Any, redis: Any, valkey: Any, wait_until: Any, seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that dies after it appended and before it committed leaves duplicates in the stream: stored once,
    handled once in effect."""
    bus = StreamBus(pool, valkey.url)
    await bus.start(publish=False)
    await bus.consume("g", ["documents"], seen)
    async with pool.acquire() as connection:
        async with connection.transaction():
            await bus.outbox.add_many(connection, [made(DocumentUpdated(title=t), subject="d") for t in "abc"])
        appended = topics.publish

        async def publish_and_die(*arguments: Any) -> bool:
            await appended(*arguments)
            raise SystemError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(topics, "publish", publish_and_die)
            with pytest.raises(SystemError):
                await bus._publisher.publish(connection)
        assert await pool.fetchval("SELECT count(*) FROM bus.outbox") == 3
        assert await bus._publisher.publish(connection) == 3
    assert await redis.xlen("materi:events:documents") == 6

    async def settled() -> bool:
        return (await bus.groups.lag())[0].lag == 0

    await wait_until(settled)
    assert [row[0] for row in await pool.fetch("SELECT title FROM seen ORDER BY title")] == ["a", "b", "c"]
    assert await pool.fetchval("SELECT count(*) FROM bus.event") == 3
    await bus.close()


async def test_late_publisher_is_refused(bus: StreamBus, redis: Any) -> None:
    """One that was suspended while another published on can't put its events after those any more."""
    await topics.publish(redis, "documents", 0, [(5, b"new")])
    with pytest.raises(ResponseError, match="equal or smaller"):
        await topics.publish(redis, "documents", 0, [(3, b"old")])


async def test_redis_comes_back_empty(
    bus: StreamBus, redis: Any, add_events: Any, wait_until: Any, published: Any, settled: Any, seen: Any
) -> None:
    """Events published and not handled when Redis lost everything are handled from the event store, the rest not
    again, and what comes after goes its usual way."""
    await bus.consume("g", ["documents"], seen)
    await add_events("a")
    await wait_until(lambda: seen.titles == ["a"])
    await settled()
    await bus.groups.pause("g")
    titles = [str(n) for n in range(150)]
    await add_events(*titles)
    await published()
    await redis.flushall()
    await bus.groups.resume("g")
    await add_events("after")
    await wait_until(lambda: len(seen.titles) == 152)
    assert seen.titles == ["a", *titles, "after"]


async def test_redis_comes_back_with_its_end_missing(
    bus: StreamBus, redis: Any, add_events: Any, wait_until: Any, published: Any, settled: Any, seen: Any, pool: Any
) -> None:
    """A stream that lost its last second is begun again, and its groups read what is lacking from the store."""
    bus._publisher._tidied = float("inf")  # nothing is trimmed
    await bus.consume("g", ["documents"], seen)
    await add_events("a", "b")
    await wait_until(lambda: seen.titles == ["a", "b"])
    await settled()
    await bus.groups.pause("g")
    entries = await redis.xrange("materi:events:documents")
    await add_events("c", "d")  # which a consumer that was just reading may have got
    await published()
    # As an append-only file that ends before "c": the same stream, and with it the group, end earlier.
    async with redis.pipeline(transaction=True) as lost:
        lost.delete("materi:events:documents")
        for id, fields in entries:
            lost.xadd("materi:events:documents", fields, id=id)
        lost.xgroup_create("materi:events:documents", "g.1", entries[-1][0])
        await lost.execute()
    await bus.groups.resume("g")
    await add_events("e")
    await wait_until(lambda: sorted(set(seen.titles)) == ["a", "b", "c", "d", "e"])
    await settled()
    counts = await pool.fetch("SELECT title, count(*) FROM seen GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in counts] == [(title, 1) for title in "abcde"]


async def test_database_taken_back(
    bus: StreamBus, pool: Any, redis: Any, add_events: Any, wait_until: Any, seen: Any
) -> None:
    """Over streams that are ahead of a restored database, publishing goes on past them."""
    await bus.consume("g", ["documents"], seen)
    await topics.publish(redis, "documents", 0, [(1000, made(DocumentUpdated(title="x"), subject="d").encode())])
    await add_events("y")
    await wait_until(lambda: "y" in seen.titles)

    async def stored() -> int | None:  # in the transaction that ends a moment after the stream has it
        found: int | None = await pool.fetchval("SELECT max(position) FROM bus.event")
        return found

    await wait_until(stored)
    assert (await stored() or 0) > 1000


async def test_slow_group_is_moved_to_the_store(
    bus: StreamBus, pool: Any, redis: Any, add_events: Any, wait_until: Any, published: Any, seen: Any
) -> None:
    """A stream that grows past its bound is trimmed; the group that held it up loses nothing by that."""
    await bus.consume("g", ["documents"], seen)
    await add_events("a")
    await wait_until(lambda: seen.titles == ["a"])
    await bus.groups.pause("g")
    titles = [str(n) for n in range(100)]
    await add_events(*titles)
    await published()
    bus._publisher._max_stream = 50

    async def trimmed() -> bool:
        async with pool.acquire() as connection:
            await bus._publisher.tidy(connection)
        return await redis.xlen("materi:events:documents") == 0

    await wait_until(trimmed)
    await bus.groups.resume("g")
    await wait_until(lambda: len(seen.titles) == 101)
    assert seen.titles == ["a", *titles]


async def test_housekeeping(bus: StreamBus, pool: Any) -> None:
    """What was handled over a week ago is forgotten, what was handled lately is not."""
    await bus.groups.register("g", ["documents"])
    old = f"{int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000):012x}70008000000000000000"
    new = made(DocumentUpdated(), subject="d").id
    await pool.execute("INSERT INTO bus.handled VALUES ('g', $1::text::uuid), ('g', $2)", old, new)
    async with pool.acquire() as connection:
        await bus._publisher.keep_house(connection)
    assert [row[0] for row in await pool.fetch("SELECT event FROM bus.handled")] == [new]
