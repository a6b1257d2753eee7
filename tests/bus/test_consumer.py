"""Groups of consumers on real servers."""

import asyncio
from typing import Any

import pytest

from relay.bus.consumer import Retries
from relay.bus.streams import StreamBus
from relay.contracts import Event


async def test_once_in_effect(
    bus: StreamBus, pool: Any, redis: Any, add_events: Any, wait_until: Any, published: Any, seen: Any
) -> None:
    """An event that was put in the stream twice, as by a publisher that was killed, has its effects once."""
    await bus.consume("g", ["documents"], seen)
    event, *_ = await add_events("a")
    await wait_until(lambda: seen.titles == ["a"])
    await redis.xadd("materi:events:documents", {"e": event.encode()}, id="500-0")
    await pool.execute("SELECT setval('bus.position', 500)")
    await add_events("b")
    await wait_until(lambda: seen.titles == ["a", "b"])
    await published()
    assert await pool.fetchval("SELECT count(*) FROM bus.event") == 2


async def test_every_group_gets_it(bus: StreamBus, add_events: Any, wait_until: Any) -> None:
    """Groups are independent; the members of one share its events."""
    got: dict[str, list[str]] = {"one": [], "two": []}

    def handler(name: str) -> Any:
        async def handle(connection: Any, event: Event) -> None:
            got[name].append(event.payload.title)  # type: ignore[attr-defined]

        return handle

    for name in ("one", "one", "two"):
        await bus.consume(name, ["documents"], handler(name))
    titles = [str(n) for n in range(200)]
    await add_events(*titles)
    await wait_until(lambda: len(got["one"]) >= 200 and len(got["two"]) >= 200)
    assert got["two"] == titles
    assert sorted(got["one"]) == sorted(titles)


async def test_handler_that_fails_is_rolled_back_and_tried_again(
    bus: StreamBus, pool: Any, add_events: Any, wait_until: Any
) -> None:
    """What a failing handler wrote is undone, others of its batch are not held up, and it is tried again."""
    await pool.execute("CREATE TABLE done (title text)")
    tries: list[str] = []

    async def handle(connection: Any, event: Event) -> None:
        title = event.payload.title  # type: ignore[attr-defined]
        await connection.execute("INSERT INTO done VALUES ($1)", title)
        tries.append(title)
        if title == "b" and tries.count("b") < 3:
            raise RuntimeError("not yet")

    await bus.consume("g", ["documents"], handle)
    await add_events("a", "b", "c")

    async def done() -> bool:
        return [row[0] for row in await pool.fetch("SELECT title FROM done ORDER BY title")] == ["a", "b", "c"]

    await wait_until(done)
    assert await bus.dead_letters.list() == []


async def test_swallowed_sql_error_is_a_failure(bus: StreamBus, add_events: Any, wait_until: Any) -> None:
    """A handler that goes on after its SQL failed has written nothing, and does not count as having succeeded."""

    async def handle(connection: Any, event: Event) -> None:
        try:
            await connection.execute("SELECT 1 / 0")
        except Exception:
            pass

    await bus.consume("g", ["documents"], handle)
    await add_events("a")

    async def dead() -> int:
        return len(await bus.dead_letters.list())

    await wait_until(dead)


async def test_dead_consumer_is_taken_over(
    bus: StreamBus, pool: Any, redis: Any, add_events: Any, wait_until: Any, seen: Any
) -> None:
    """Entries that a consumer read and never acknowledged go to another of its group."""
    await bus.groups.register("g", ["documents"])
    await redis.xgroup_create("materi:events:documents", "g.1", "0-0", mkstream=True)
    await pool.execute("UPDATE bus.consumer SET replay = NULL")
    await add_events("a", "b")
    await wait_until(lambda: redis.xlen("materi:events:documents"))
    read = await redis.xreadgroup("g.1", "the-dead", {"materi:events:documents": ">"}, count=10)
    assert len(read[0][1]) == 2
    await bus.consume("g", ["documents"], seen)
    await wait_until(lambda: sorted(seen.titles) == ["a", "b"])


async def test_event_that_kills_its_consumers(
    bus: StreamBus, pool: Any, redis: Any, add_events: Any, wait_until: Any, seen: Any
) -> None:
    """An event whose consumers keep dying is given up without being tried again; its neighbours are handled."""
    await bus.groups.register("g", ["documents"])
    await redis.xgroup_create("materi:events:documents", "g.1", "0-0", mkstream=True)
    await pool.execute("UPDATE bus.consumer SET replay = NULL")
    await add_events("poison", "b")
    await wait_until(lambda: redis.xlen("materi:events:documents"))
    read = await redis.xreadgroup("g.1", "the-dead", {"materi:events:documents": ">"}, count=10)
    first = read[0][1][0][0]
    await redis.xclaim("materi:events:documents", "g.1", "the-dead", 0, [first], retrycount=3, justid=True)
    await bus.consume("g", ["documents"], seen)
    await wait_until(lambda: seen.titles == ["b"])

    async def dead() -> int:
        return len(await bus.dead_letters.list())

    await wait_until(dead)
    assert "consumers ended" in (await bus.dead_letters.list())[0].error
    assert seen.titles == ["b"]


async def test_bytes_that_are_no_event(bus: StreamBus, redis: Any, add_events: Any, wait_until: Any, seen: Any) -> None:
    """Bytes that nobody can decode are a dead letter at once, and what comes after them is handled."""
    await bus.consume("g", ["documents"], seen)
    await add_events("a")
    await wait_until(lambda: seen.titles == ["a"])
    await redis.xadd("materi:events:documents", {"e": b"\xff\xff"}, id="2-0")
    await bus._pool.execute("SELECT setval('bus.position', 10)")
    await add_events("b")
    await wait_until(lambda: seen.titles == ["a", "b"])

    async def dead() -> int:
        return len(await bus.dead_letters.list(name="g"))

    await wait_until(dead)
    (letter,) = await bus.dead_letters.list(name="g")
    assert (letter.body, letter.event, letter.topic) == (b"\xff\xff", None, "documents")


async def test_restart_goes_on_where_it_was(
    bus: StreamBus, pool: Any, valkey: Any, add_events: Any, wait_until: Any, seen: Any
) -> None:
    """What was published while no consumer of a known group ran is handled when one comes."""
    other = StreamBus(pool, valkey.url)
    await other.consume("g", ["documents"], seen)
    await add_events("a")
    await wait_until(lambda: seen.titles == ["a"])
    await other.close()
    await add_events("b")
    await asyncio.sleep(0.1)
    assert seen.titles == ["a"]
    await bus.consume("g", ["documents"], seen)
    await wait_until(lambda: seen.titles == ["a", "b"])


async def test_unknown_topic(bus: StreamBus, seen: Any) -> None:
    """A topic that does not exist is refused by its name."""
    with pytest.raises(ValueError, match="letters"):
        await bus.consume("g", ["letters"], seen)


def test_pauses_grow_to_the_longest() -> None:
    """Full jitter: anywhere between 0 and a bound that doubles, up to the longest."""
    retries = Retries(first=1.0, longest=10.0)
    for failures, bound in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (500, 10)):
        pauses = [retries.pause(failures) for _ in range(200)]
        assert 0 <= min(pauses) < bound / 4
        assert bound * 0.75 < max(pauses) <= bound
