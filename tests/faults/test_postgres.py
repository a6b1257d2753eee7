"""PostgreSQL goes away and comes back: open rooms go on, closed ones ask for patience, nothing is forgotten."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from relay_process import Relay
from typists import Typist, percentile, until


async def outage(relays: Callable[..., Relay], valkey: Any, postgres: Any, crowd: Any, count: Any, gone: float) -> None:
    database = postgres.create_database()
    flags = "--snapshot-bytes", "4KiB", "--snapshot-idle", "1", "--idle-unload", "0.2"
    relay = relays(*flags, postgres=database, valkey=valkey.url)
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    (cold,) = await crowd(relay, ["cold"], 1)
    cold.type(20)
    await until(lambda: cold.acknowledged == 20, 20, "the cold room's typing is saved")
    cold.leave()
    await until(lambda: relay.metrics()["relay_rooms"] == 0, 30, "the cold room is let go")

    authors = await crowd(relay, ["warm-0", "warm-1"], 3)
    reader = await Typist.join(relay.port, "warm-0", 1, watch=authors[:3])
    typing = [asyncio.ensure_future(author.keep_typing(40)) for author in authors]  # noqa: TID251
    await asyncio.sleep(1.5)
    postgres.kill(signal.SIGKILL)
    lengths = entries(client)
    reader.latencies.clear()
    before = [author.acknowledged for author in authors]
    ends = asyncio.get_running_loop().time() + gone
    while asyncio.get_running_loop().time() < ends:
        for hocuspocus in (False, True):
            late = await Typist.join(relay.port, "cold", 1, hocuspocus=hocuspocus, wait=None)
            await until(lambda late=late: late.closed, 15, "the cold room is refused")
            assert late.closed is not None
            assert late.closed[0] == 1013
            assert "can't be opened now" in late.closed[1]
        assert relay.get("/readyz")[0] == 503
        assert relay.get("/livez")[0] == 200
        # Cut off in the middle of storing, something stored may not be trimmed; the reverse must never be.
        grown = entries(client)
        assert all(grown[name] >= size for name, size in lengths.items()), (lengths, grown)
        lengths = grown
        await asyncio.sleep(0.5)
    assert all(now.acknowledged > then + 10 for now, then in zip(authors, before))
    assert percentile(reader.latencies, 0.95) < 0.1
    postgres.start()
    await until(lambda: relay.get("/readyz")[0] == 200, 30, "ready again")
    again = await Typist.join(relay.port, "cold", 1)
    assert len(again.text(cold.client)) == 20
    await asyncio.sleep(1)
    for task in typing:
        task.cancel()
    await until(lambda: all(author.saved == author.typed for author in authors), 20, "all is saved")
    await until(lambda: relay.metrics()["relay_snapshot_age_seconds"] == 0, 40, "all is stored")
    assert [author.closed for author in authors if author.closed] == []
    relay.kill()
    client.flushall()
    relay.start()
    found = await count(relay, [*authors, cold])
    print(f"{gone} s without PostgreSQL, {found}, p95 {percentile(reader.latencies, 0.95) * 1000:.1f} ms")
    assert (found.lost, found.wrong) == (0, 0)


def entries(client: Any) -> dict[bytes, int]:
    return {key: client.xlen(key) for key in client.scan_iter(_type="stream")}


async def test_away(relays: Callable[..., Relay], own_valkey: Any, own_postgres: Any, crowd: Any, count: Any) -> None:
    """Killed for some seconds: open rooms do not notice, cold ones get a reason and a code that says to come back,
    the journal keeps all, and afterwards all is in PostgreSQL, so that the journal may go."""
    await outage(relays, own_valkey, own_postgres, crowd, count, 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_away_for_a_minute(
    relays: Callable[..., Relay], own_valkey: Any, own_postgres: Any, crowd: Any, count: Any
) -> None:
    """As above, for 60 s."""
    await outage(relays, own_valkey, own_postgres, crowd, count, 60)


@pytest.mark.slow
async def test_hangs(relays: Callable[..., Relay], own_postgres: Any, own_valkey: Any, crowd: Any, count: Any) -> None:
    """It takes connections and never answers: open rooms do not notice, whoever asks is told so in seconds, and a stop
    is not held up."""
    flags = "--drain-timeout", "4", "--snapshot-bytes", "4KiB", "--snapshot-idle", "1"
    relay = relays(*flags, postgres=own_postgres.create_database(), valkey=own_valkey.url)
    authors = await crowd(relay, ["a", "b"], 3)
    with own_postgres.stopped():
        for author in authors:
            author.type(20)
        await until(lambda: all(author.acknowledged == 20 for author in authors), 20, "saved")
        for _ in range(2):
            asked = time.monotonic()
            assert (await asyncio.to_thread(relay.get, "/readyz"))[0] == 503
            assert time.monotonic() - asked < 4
        late = await Typist.join(relay.port, "cold", 1, wait=None)
        took = await until(lambda: late.closed, 60, relay.tail)
        assert late.closed is not None
        assert late.closed[0] == 1013
        for author in authors:
            author.type(20)
        await until(lambda: all(author.acknowledged == 40 for author in authors), 20, "saved")
        started = time.monotonic()
        relay.terminate()
        assert await asyncio.to_thread(relay.wait, 30) == 0
        print(f"PostgreSQL hangs: refused after {took:.1f} s, stopped after {time.monotonic() - started:.1f} s")
        assert time.monotonic() - started < 8
    relay.start()
    found = await count(relay, authors)
    assert (found.lost, found.wrong) == (0, 0), found
