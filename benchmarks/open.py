"""What does it cost others when a large document is opened: from PostgreSQL, and by a crowd at once?

    python benchmarks/open.py [--size 20000000] [--opens 6] [--joiners 150] [--json PATH]

A `relay serve` with its own PostgreSQL and Valkey has documents of that size. In another room somebody types 50 times a
second and somebody reads; beside them a client pings every 2 ms, and the relay's loop answers pings between all else:
a ping that comes back late shows how long the loop was held up. Both are in a process of their own, which does nothing
else. The same pings while nothing happens show what of that is the machine.

* cold: documents that are in PostgreSQL alone are opened one after the other. Then each gets its first deletion, which
  has to be compared with all deletions there are, and a client comes back that has half of it.
* a crowd: so many clients join one document at the same moment; how much memory does the relay take for it?
"""

import asyncio
import contextlib
import itertools
import multiprocessing
import statistics
import time
from collections import deque
from multiprocessing.connection import Connection

import uvloop
from _client import Client, backspace, edits_in, keystroke, percentile, uint
from _document import document
from _relay import Relay, cpu_seconds
from _report import Report, parser

PING = 0.002
TYPE = 0.02
AUTHORS = (10, 1_000, 10_000)
FIRST = 1000


class Neighbours:
    """Those in another room, in a process of their own. `take`: how long their edits and pings took since the last
    time."""

    def __init__(self, port: int) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_neighbours, args=(port, theirs))
        self._process.start()
        self._pipe.recv()

    def take(self) -> tuple[list[float], list[float]]:
        self._pipe.send(None)
        edits, pings = self._pipe.recv()
        return edits, pings

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _neighbours(port: int, pipe: Connection) -> None:
    uvloop.run(_live(port, pipe))


async def _live(port: int, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    author, reader, pinger = [await Client.connect(port, "neighbours") for _ in range(3)]
    await asyncio.gather(author.synced, reader.synced, pinger.synced)
    sent: deque[float] = deque()
    edits: list[float] = []
    pings: list[float] = []

    def read(head: bytes) -> None:
        now = time.perf_counter()
        for _ in range(edits_in(head)):
            edits.append(now - sent.popleft())

    reader.on_update = read
    pinger.on_pong = lambda head: pings.append(time.perf_counter() - int.from_bytes(head, "big") / 1e9)

    def answer() -> None:
        pipe.recv()
        pipe.send((list(edits), list(pings)))
        edits.clear()
        pings.clear()

    loop.add_reader(pipe.fileno(), answer)
    pipe.send(None)

    async def type_on() -> None:
        for clock in itertools.count():
            sent.append(time.perf_counter())
            author.update(keystroke(2**31, clock))
            await asyncio.sleep(TYPE)

    async def ping_on() -> None:
        while True:
            pinger.ping(time.perf_counter_ns().to_bytes(8, "big"))
            await asyncio.sleep(PING)

    await asyncio.gather(type_on(), ping_on())


async def upload(relay: Relay, contents: dict[str, bytes]) -> None:
    """Put the documents in."""
    for name, content in contents.items():
        author = await Client.connect(relay.port, name)
        await author.synced
        author.update(content)
        await author.saved()
        author.leave()


async def cold(relay: Relay, neighbours: Neighbours, names: list[str], report: Report) -> None:
    """Open, delete in, and come back to each document; in between, nothing for as long."""
    worst: dict[str, list[float]] = {"nothing": [], "open": [], "delete": [], "return": []}
    for number, name in enumerate(names):
        await asyncio.sleep(0.5)
        neighbours.take()
        await asyncio.sleep(0.5)
        _, still = neighbours.take()
        started = time.perf_counter()
        before = cpu_seconds([relay.pid])
        client = await Client.connect(relay.port, name)
        opened = await client.synced - started
        cpu = cpu_seconds([relay.pid]) - before
        await asyncio.sleep(0.1)
        _, opening = neighbours.take()
        client.update(keystroke(2**30, 0))
        client.update(backspace(2**30, 0))
        await client.saved()
        await asyncio.sleep(0.1)
        _, deleting = neighbours.take()
        authors = AUTHORS[number % len(AUTHORS)]
        has = b"".join(uint(FIRST + author) + b"\x5a" for author in range(authors))
        back = await Client.connect(relay.port, name, vector=uint(authors) + has)
        await back.synced
        await asyncio.sleep(0.1)
        _, returning = neighbours.take()
        back.leave()
        client.leave()
        for what, found in zip(worst, (still, opening, deleting, returning), strict=True):
            worst[what].append(max(found))
        report.row(
            authors=authors,
            MB=client.received / 1e6,
            ms_to_synced=opened * 1e3,
            ms_of_CPU=cpu * 1e3,
            **{f"held_up_ms_{what}": found[-1] * 1e3 for what, found in worst.items()},
        )
    for what, found in worst.items():
        if what != "nothing":
            report.aim(
                f"ms that the loop was held up: {what} (median of {len(found)})", statistics.median(found) * 1e3, 10
            )


async def crowd(relay: Relay, neighbours: Neighbours, name: str, joiners: int, report: Report) -> None:
    """All join at once; memory is looked at all the while."""
    first = await Client.connect(relay.port, name)
    await first.synced
    await asyncio.sleep(1)
    neighbours.take()
    await asyncio.sleep(1)
    quiet, _ = neighbours.take()
    clients = [await Client.connect(relay.port, name, join=False) for _ in range(joiners)]
    await asyncio.sleep(0.5)
    neighbours.take()
    was = most = relay.rss()
    cpu = cpu_seconds([relay.pid])
    started = time.perf_counter()
    for client in clients:
        client.ask()
    joining = asyncio.gather(*(client.synced for client in clients))
    while not joining.done():
        await asyncio.sleep(0.02)
        most = max(most, relay.rss())
    times = [at - started for at in await joining]
    cpu = cpu_seconds([relay.pid]) - cpu
    edits, _ = neighbours.take()
    report.row(
        joiners=joiners,
        MB=first.received / 1e6,
        s_to_synced_p50=percentile(times, 0.5),
        s_p95=percentile(times, 0.95),
        CPU_ms_each=cpu / joiners * 1e3,
        MB_before=was / 1e6,
        MB_grown=(most - was) / 1e6,
        p95_ms_before=percentile(quiet, 0.95) * 1e3,
        p95_ms_meanwhile=percentile(edits, 0.95) * 1e3,
    )
    report.aim(f"MB of memory for {joiners} joiners at once", (most - was) / 1e6, 200)
    report.aim("p95 (ms) of another room meanwhile", percentile(edits, 0.95) * 1e3, 25)
    for client in (first, *clients):
        client.leave()


def main() -> None:
    arguments = parser(__doc__)
    for name, default in (("size", 20_000_000), ("opens", 6), ("joiners", 150)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    options = arguments.parse_args()
    report = Report("open", options.json)
    contents = {f"document-{n}": document(options.size, AUTHORS[n % len(AUTHORS)], FIRST) for n in range(options.opens)}
    with Relay() as relay:
        uvloop.run(upload(relay, contents))
        relay.restart()
        with contextlib.closing(Neighbours(relay.port)) as neighbours:
            uvloop.run(cold(relay, neighbours, list(contents), report))
            uvloop.run(crowd(relay, neighbours, "document-0", options.joiners, report))
    report.write()


if __name__ == "__main__":
    main()
