"""`--workers 2`: one port, two processes; rooms live in one of them, and either may die, be replaced or be stopped."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest
from relay_process import Relay, command_line, still_there
from typists import Typist, until

ROOMS = [f"room-{n}" for n in range(6)]
FLAGS = ("--workers", "2", "--snapshot-bytes", "4KiB")


def pids(relay: Relay) -> list[int]:
    """The workers' processes, oldest first."""
    return sorted(pid for pid in relay.descendants() if b"worker" in command_line(pid))


async def figures(relay: Relay, query: str = "") -> dict[str, float]:
    return await asyncio.to_thread(relay.metrics, query)


def connections(found: dict[str, float]) -> tuple[float, float]:
    return tuple(found.get(f'relay_connections{{protocol="{name}"}}', 0) for name in ("y-websocket", "hocuspocus"))


async def patient(relay: Relay, room: str, client: int) -> Typist:
    """A Hocuspocus client that waits for the handshake before it names its document, as real ones do."""
    typist = Typist(room, client, hocuspocus=True)
    await asyncio.get_running_loop().create_connection(lambda: typist, "127.0.0.1", relay.port)
    typist.transport.write(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await until(lambda: typist.answer, 20, "the handshake is answered")
    await asyncio.sleep(0.02)
    typist.say(b"\2\0\0\x054.7.0")
    typist.say(b"\0\0\1\0")
    await until(lambda: typist.synced, 20, "the document is here")
    return typist


async def test_rooms_live_in_one_worker(
    relays: Callable[..., Relay], database: str, own_valkey: Any, crowd: Any, count: Any
) -> None:
    """Every client of a room is in the same worker, of either protocol; all read what each types."""
    relay = relays(*FLAGS, postgres=database, valkey=own_valkey.url)
    authors: list[Typist] = await crowd(relay, ROOMS, 4)
    authors += [await patient(relay, room, 2**31 + n) for n, room in enumerate(ROOMS)]
    each = [await figures(relay, f"?worker={number}") for number in range(2)]
    everything = await figures(relay)
    assert everything["relay_workers"] == 2
    assert sum(connections(everything)) == len(authors)
    assert everything["relay_rooms"] == len(ROOMS)
    homes = [crc32(room.encode()) % 2 for room in ROOMS]
    assert [found["relay_rooms"] for found in each] == [homes.count(0), homes.count(1)]
    for found in each:
        assert connections(found) == (sum(connections(found)) * 2 / 5, sum(connections(found)) * 3 / 5)
    for author in authors:
        author.type(5)
    await until(lambda: all(author.saved == 5 for author in authors), 20, "saved")
    for room in ROOMS:
        those = [author for author in authors if author.room == room]
        pairs = [(one, other) for one in those for other in those if one is not other]
        await until(lambda p=pairs: all(len(a.text(b.client)) == 5 for a, b in p), 20, f"all read in {room}")
    assert (await count(relay, authors))[1:] == (0, 0)


async def kill_workers(relay: Relay, crowd: Any, count: Any, rounds: int) -> None:
    everybody: list[Typist] = []
    for turn in range(rounds):
        authors = await crowd(relay, ROOMS, 4)
        typing = [asyncio.ensure_future(author.keep_typing(30, 1.5)) for author in authors]  # noqa: TID251
        await asyncio.sleep(0.7)
        before = pids(relay)
        os.kill(before[turn % 2], signal.SIGKILL)
        killed = time.monotonic()
        await asyncio.sleep(0.05)
        # The rooms of the one that is away are served by the other.
        refugees = [await Typist.join(relay.port, room, 10**6 + 100 * turn + n) for n, room in enumerate(ROOMS)]
        for refugee in refugees:
            refugee.type(3)
        await until(lambda was=before: len(pids(relay)) == 2 and pids(relay) != was, 20, "another worker")
        while (await figures(relay))["relay_workers"] < 2:
            await asyncio.sleep(0.02)
        print(f"back after {time.monotonic() - killed:.2f} s")
        await asyncio.gather(*typing)
        left = [author for author in authors if author.closed is None]
        assert 0 < len(left) < len(authors)
        await until(lambda alive=left + refugees: all(a.saved == a.typed for a in alive), 20, "saved")
        everybody += authors + refugees
        found = await count(relay, everybody)
        assert found.acknowledged > 0
        assert (found.lost, found.wrong) == (0, 0), f"round {turn}: {found}"
        for author in authors + refugees:
            author.leave()
    print(f"{rounds} kills, {found}")


async def test_worker_killed(
    relays: Callable[..., Relay], database: str, own_valkey: Any, crowd: Any, count: Any
) -> None:
    """A worker is killed under load: its rooms go on in the other, it is replaced, nothing acknowledged is lost."""
    await kill_workers(relays(*FLAGS, postgres=database, valkey=own_valkey.url), crowd, count, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_worker_killed_often(relays: Callable[..., Relay], crowd: Any, count: Any) -> None:
    """As above, twenty times, by turns."""
    await kill_workers(relays(*FLAGS), crowd, count, 20)


async def test_supervisor_killed(relays: Callable[..., Relay], crowd: Any, count: Any) -> None:
    """kill -9 of the supervisor under load: no process stays behind, and a start finds what was acknowledged."""
    relay = relays(*FLAGS)
    authors = await crowd(relay, ROOMS, 2)
    for author in authors:
        author.type(10)
    await until(lambda: all(author.acknowledged for author in authors), 20, "saved")
    below = list(relay.descendants())
    assert len(below) > 4
    relay.kill()
    assert still_there(below, 20) == []
    relay.start()
    found = await count(relay, authors)
    assert (found.lost, found.wrong) == (0, 0)


async def test_replaced_and_stopped(
    relays: Callable[..., Relay], database: str, own_valkey: Any, crowd: Any, count: Any
) -> None:
    """SIGHUP replaces one worker after the other while people type; SIGTERM ends both. Clients are told to come back,
    the port answers all the while, nothing is lost."""
    relay = relays(*FLAGS, postgres=database, valkey=own_valkey.url)
    before = pids(relay)
    authors = await crowd(relay, ROOMS, 4)
    typing = [asyncio.ensure_future(author.keep_typing(20)) for author in authors]  # noqa: TID251
    await asyncio.sleep(0.3)
    os.kill(relay.pid, signal.SIGHUP)
    visitors: list[Typist] = []
    deadline = time.monotonic() + 60
    while set(pids(relay)) & set(before) or len(pids(relay)) < 2:
        assert time.monotonic() < deadline, "workers were not replaced in time"
        visitor = await Typist.join(relay.port, ROOMS[len(visitors) % 6], 10**6 + len(visitors), wait=None)
        await until(lambda v=visitor: v.synced or v.closed, 20, "served, or told to come back")
        visitor.type()
        visitors.append(visitor)
        await asyncio.sleep(0.01)
    while (await figures(relay))["relay_workers"] < 2:
        await asyncio.sleep(0.02)
    await asyncio.gather(*typing)
    assert {author.closed and author.closed[0] for author in authors} == {1001}
    assert {visitor.closed and visitor.closed[0] for visitor in visitors} <= {None, 1001}
    await until(lambda: all(v.saved == v.typed for v in visitors if not v.closed), 20, "saved")
    found = await count(relay, authors + visitors)
    assert found.acknowledged > 0
    assert (found.lost, found.wrong) == (0, 0)
    last = await crowd(relay, ROOMS, 2)
    below = list(relay.descendants())
    relay.terminate()
    assert await asyncio.to_thread(relay.wait, 30) == 0
    assert still_there(below, 20) == []
    assert {author.closed and author.closed[0] for author in last} == {1001}


@pytest.mark.slow
async def test_second_signal(relays: Callable[..., Relay], database: str, own_valkey: Any, crowd: Any) -> None:
    """SIGTERM twice ends everything at once."""
    relay = relays(
        *FLAGS, "--reconnect-jitter", "30", "--drain-timeout", "60", postgres=database, valkey=own_valkey.url
    )
    await crowd(relay, ROOMS, 2)
    below = list(relay.descendants())
    relay.terminate()
    await until(lambda: '"draining"' in relay.log.read_text(), 20, relay.tail)
    assert relay.running
    relay.terminate()
    assert await asyncio.to_thread(relay.wait, 20) == -signal.SIGTERM
    assert still_there(below, 20) == []
