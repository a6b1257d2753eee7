"""Do two workers carry twice what one carries, over many rooms?

    python benchmarks/workers.py [--share 0.2] [--rooms 40] [--clients 10] [--seconds 4] [--rounds 3] [--json PATH]

`relay serve --workers N` with its own PostgreSQL and Valkey; all clients of all rooms type as fast as their edits are
saved (four on their way each). So that the clients and the databases do not compete with the workers for the cores of
a small machine, each worker gets a fixed share of one core (a control group; needs the right to make one), and one and
two workers are compared at that. "used" says how much of their shares the workers took: near 1 they were what held
things up. "clients" is the generator's own CPU: at 1 it would have been what held things up.

Where no control group can be made, workers, clients and databases share the cores, and only what a CPU second of the
workers carries is compared: that shows what the hand-off and the sharing cost, not that the cores can be filled.
"""

import asyncio
import contextlib
import os
import statistics
from typing import Any
from zlib import crc32

import uvloop
from _client import Client, framed, keystroke, uint
from _quota import Quota
from _relay import Relay, cpu_seconds
from _report import Report, parser

WINDOW = 4
WARM_UP = 1.5
SATURATED = 0.9
ACKNOWLEDGEMENT = b"\x82\x02\x64\x01"
FLAGS = ("--snapshot-bytes", "1GiB", "--snapshot-idle", "1h", "--rate-messages", "1000000")


class Author(Client):
    """Types again for each edit that is saved. It looks for acknowledgements alone: what it is sent is many times more
    than it sends, and a Python client that read all of it would be slower than the relay."""

    client = 0
    clock = 0
    done = False

    def data_received(self, data: bytes) -> None:
        if not self.synced.done():
            super().data_received(data)
            return
        if count := data.count(ACKNOWLEDGEMENT):
            self.acknowledged += count
            if not self.done:
                self.type(count)

    def type(self, count: int) -> None:
        frames = []
        for _ in range(count):
            update = keystroke(self.client, self.clock)
            frames.append(framed(b"\0\2" + uint(len(update)) + update))
            self.clock += 1
        self.sent += count
        self.transport.write(b"".join(frames))


def names(rooms: int) -> list[str]:
    """As many for the one of two workers as for the other."""
    halves: list[list[str]] = [[], []]
    number = 0
    while min(map(len, halves)) < rooms / 2:
        name = f"room-{number}"
        halves[crc32(name.encode()) % 2].append(name)
        number += 1
    return [name for half in halves for name in half[: rooms // 2]]


async def measure(relay: Relay, options: Any, limited: bool) -> dict[str, float]:
    authors: list[Author] = []
    for room in names(options.rooms):
        for _ in range(options.clients):
            author = await Author.connect(relay.port, room)
            author.client = 2**31 + len(authors)
            authors.append(author)
    await asyncio.gather(*(author.synced for author in authors))
    pids = relay.workers()
    with Quota(pids, options.share) if limited else contextlib.nullcontext():
        for author in authors:
            author.type(WINDOW)
        await asyncio.sleep(WARM_UP)
        loop = asyncio.get_running_loop()
        cpu, own, started = cpu_seconds(pids), cpu_seconds([os.getpid()]), loop.time()
        typed = sum(author.clock for author in authors)
        await asyncio.sleep(options.seconds)
        took = loop.time() - started
        typed = sum(author.clock for author in authors) - typed
        cpu, own = cpu_seconds(pids) - cpu, cpu_seconds([os.getpid()]) - own
    delivered = typed * (options.clients - 1)  # an edit that is saved has gone to all others
    for author in authors:
        author.done = True
    await asyncio.gather(*(author.saved() for author in authors))
    metrics = await asyncio.to_thread(relay.metrics)
    everything = sum(author.clock for author in authors) * (options.clients - 1)
    if metrics["relay_edits_out_total"] != everything:
        raise SystemExit(f"{metrics['relay_edits_out_total']:.0f} of {everything} edits were delivered")
    for author in authors:
        author.leave()
    return {
        "workers": len(pids),
        "delivered_per_s": delivered / took,
        "per_CPU_second": delivered / cpu,
        "used": cpu / took / (len(pids) * options.share if limited else 1),
        "clients": own / took,
    }


def can_limit(share: float) -> bool:
    try:
        with Quota([os.getpid()], share):
            return True
    except OSError as error:
        print(f"no control groups here ({error.strerror}): comparing what a CPU second carries")
        return False


def main() -> None:
    arguments = parser(__doc__)
    for name, default in (("share", 0.2), ("rooms", 40), ("clients", 10), ("seconds", 4.0), ("rounds", 3)):
        arguments.add_argument(f"--{name}", type=type(default), default=default)
    options = arguments.parse_args()
    report = Report("workers", options.json)
    limited = can_limit(options.share)
    what = "delivered_per_s" if limited else "per_CPU_second"
    found: dict[int, list[float]] = {1: [], 2: []}
    idle = False
    for number in range(options.rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            with Relay("--workers", str(workers), *FLAGS) as relay:
                row = uvloop.run(measure(relay, options, limited))
            report.row(**row)
            found[workers].append(row[what])
            idle = idle or (limited and row["used"] < SATURATED)
    ratio = statistics.median(found[2]) / statistics.median(found[1])
    if idle:
        print("the workers were not what held things up, at least once: try a smaller --share")
    if limited:
        report.aim("delivered edits a second, two workers to one", ratio, least=1.7)
    else:
        report.aim("delivered edits a CPU second, two workers to one", ratio, least=0.85)
    report.write()


if __name__ == "__main__":
    main()
