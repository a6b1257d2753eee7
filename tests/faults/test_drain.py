"""SIGTERM: clients are sent away in time, what they typed is stored, and nothing keeps the exit waiting."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from relay_process import Relay, still_there
from typists import Typist, until

JITTER = 2.0


async def drain(relay: Relay, authors: list[Typist]) -> tuple[float, int]:
    """Stop the relay under typing; the seconds that took, and its exit status."""
    typing = [asyncio.ensure_future(author.keep_typing(0.5)) for author in authors]  # noqa: TID251
    await until(lambda: all(author.acknowledged for author in authors), 10, "everybody's typing is saved")
    started = time.monotonic()
    relay.terminate()
    code = await asyncio.to_thread(relay.wait, 30)
    took = time.monotonic() - started
    await asyncio.gather(*typing)
    return took, code


async def stopped_under_load(relays: Callable[..., Relay], count: Any, clients: int) -> None:
    relay = relays("--reconnect-jitter", f"{JITTER:g}")
    authors = []
    for n in range(0, clients, 50):
        joins = (Typist.join(relay.port, f"room-{n}", 2 + i, hocuspocus=bool(i % 2)) for i in range(n, n + 50))
        authors += await asyncio.gather(*joins)
    took, code = await drain(relay, authors)
    codes = {author.closed and author.closed[0] for author in authors}
    left = sorted(author.closed_at for author in authors)
    spread = left[-1] - left[0]
    most = max(sum(1 for at in left if start <= at < start + 0.2) for start in left)
    print(f"{clients} clients: {took:.2f} s, spread over {spread:.2f} s, {most} in the fullest 0.2 s")
    assert code == 0
    assert codes == {1001}
    assert took < 10
    assert spread > JITTER / 2
    assert most < clients / 3
    relay.start()
    found = await count(relay, authors)
    assert (found.lost, found.wrong) == (0, 0), found


@pytest.mark.timeout(90)
async def test_stopped_with_500_clients(relays: Callable[..., Relay], count: Any) -> None:
    """500 people are told to come back, at different moments; exit status 0, nothing lost."""
    await stopped_under_load(relays, count, 500)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_stopped_with_2000_clients(relays: Callable[..., Relay], count: Any) -> None:
    """2,000 people, in at most 10 s."""
    await stopped_under_load(relays, count, 2000)


async def test_stopped_without_postgresql(
    relays: Callable[..., Relay], own_postgres: Any, own_valkey: Any, crowd: Any, count: Any
) -> None:
    """The final store fails: the exit is in time and 0 all the same, for the journal has everything."""
    relay = relays("--drain-timeout", "4", postgres=own_postgres.create_database(), valkey=own_valkey.url)
    authors = await crowd(relay, ["a", "b"], 3)
    await until(lambda: all(author.synced for author in authors), 20, "all are here")
    own_postgres.kill(signal.SIGKILL)
    took, code = await drain(relay, authors)
    print(f"without PostgreSQL: {took:.2f} s")
    assert code == 0
    assert took < 6
    own_postgres.start()
    relay.start()
    found = await count(relay, authors)
    assert (found.lost, found.wrong) == (0, 0), found


@pytest.mark.slow
async def test_stopped_without_journal(
    relays: Callable[..., Relay], database: str, own_valkey: Any, crowd: Any, count: Any
) -> None:
    """With the journal away the exit is in time; what was acknowledged is there afterwards."""
    relay = relays("--drain-timeout", "4", postgres=database, valkey=own_valkey.url)
    authors = await crowd(relay, ["a", "b"], 3)
    for author in authors:
        author.type(10)
    await until(lambda: all(author.acknowledged for author in authors), 10, "everybody's typing is saved")
    own_valkey.kill()
    for author in authors:
        author.type(10)
    await asyncio.sleep(0.2)
    relay.terminate()
    assert await asyncio.to_thread(relay.wait, 20) == 0
    own_valkey.start()
    relay.start()
    found = await count(relay, authors)
    assert (found.lost, found.wrong) == (0, 0), found


async def test_second_signal(relays: Callable[..., Relay], crowd: Any, count: Any) -> None:
    """Whoever sends SIGTERM twice means it: the process ends at once, by the signal, and what was saved is there."""
    relay = relays("--reconnect-jitter", "30", "--drain-timeout", "60")
    authors = await crowd(relay, ["a", "b"], 10)
    for author in authors:
        author.type(10)
    await until(lambda: all(author.acknowledged == 10 for author in authors), 10, "saved")
    below = list(relay.descendants())
    relay.terminate()
    await until(lambda: '"draining"' in relay.log.read_text(), 20, relay.tail)
    assert relay.running
    started = time.monotonic()
    relay.terminate()
    assert await asyncio.to_thread(relay.wait, 20) == -signal.SIGTERM
    assert time.monotonic() - started < 0.5
    assert still_there(below, 20) == []
    relay.start()
    found = await count(relay, authors)
    assert (found.lost, found.wrong) == (0, 0), found
