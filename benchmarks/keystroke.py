"""What does a keystroke cost in a large document, and in one that many have written?

    python benchmarks/keystroke.py [--seconds 1] [--rounds 6] [--rate 100] [--json PATH]

A `relay serve` with its own PostgreSQL and Valkey has documents of several sizes, by several numbers of authors, each
loaded from its snapshot. In each in turn one client types at a fixed rate, and every tenth key is a backspace; another
one reads. CPU is that of the relay's process alone, microseconds an edit; the median of the rounds, and between which
figures they lie.

Compaction while typing is measured apart, with a snapshot for every 4 KiB typed where the default is 64: the relay's
CPU, that of its codec processes, and the bytes that went to PostgreSQL for each byte typed.
"""

import asyncio
import itertools
import statistics
import time

import uvloop
from _client import Client, backspace, keystroke
from _document import document
from _relay import Relay, cpu_seconds
from _report import Report, parser

SIZES = {"1 KB": 1_000, "100 KB": 100_000, "1 MB": 1_000_000, "20 MB": 20_000_000}
AUTHORS = (10, 1_000, 10_000)
QUIET = ("--snapshot-idle", "1h", "--idle-unload", "1h")
BACKSPACE = 10
numbers = itertools.count(2**31)


def documents() -> dict[tuple[str, int], bytes]:
    """Every combination that there can be: an author takes twenty bytes."""
    found = {}
    for (name, size), authors in itertools.product(SIZES.items(), AUTHORS):
        if size >= 20 * authors:
            found[name, authors] = document(size, authors)
    return found


def room(of: tuple[str, int]) -> str:
    return f"{of[0]}-{of[1]}".replace(" ", "-")


async def upload(relay: Relay, contents: dict[tuple[str, int], bytes]) -> None:
    """Put the documents in, and wait until PostgreSQL has them."""
    for of, content in contents.items():
        author = await Client.connect(relay.port, room(of))
        await author.synced
        author.update(content)
        await author.saved()
        author.leave()


class Pair:
    """One who types in a document and one who reads."""

    def __init__(self, author: Client, reader: Client) -> None:
        self.author = author
        self.reader = reader
        self.client = next(numbers)
        self.clock = self.typed = self.bytes = 0

    @classmethod
    async def join(cls, relay: Relay, name: str) -> "Pair":
        pair = cls(await Client.connect(relay.port, name), await Client.connect(relay.port, name))
        await asyncio.gather(pair.author.synced, pair.reader.synced)
        return pair

    async def type(self, rate: float, seconds: float) -> int:
        """Type for that long; how many edits."""
        count = round(rate * seconds)
        started = time.perf_counter()
        for turn in range(count):
            self.typed += 1
            if self.typed % BACKSPACE == 0:
                update = backspace(self.client, self.clock - 1)
            else:
                update = keystroke(self.client, self.clock)
                self.clock += 1
            self.author.update(update)
            self.bytes += len(update)
            await asyncio.sleep(max(0.0, started + (turn + 1) / rate - time.perf_counter()))
        await self.author.saved()
        return count


async def alone(relay: Relay, contents: dict[tuple[str, int], bytes], options: object, report: Report) -> None:
    rate, seconds, rounds = options.rate, options.seconds, options.rounds  # type: ignore[attr-defined]
    pairs = {of: await Pair.join(relay, room(of)) for of in contents}
    for pair in pairs.values():  # whatever is made at the first edits
        await pair.type(rate, 0.3)
    figures: dict[tuple[str, int], list[float]] = {of: [] for of in contents}
    for _ in range(rounds):
        for of, pair in pairs.items():
            before = cpu_seconds([relay.pid])
            edits = await pair.type(rate, seconds)
            figures[of].append((cpu_seconds([relay.pid]) - before) / edits * 1e6)
    medians = {of: statistics.median(found) for of, found in figures.items()}
    base = medians[next(iter(medians))]
    for of, found in figures.items():
        report.row(
            document=of[0], authors=of[1], µs=medians[of], least=min(found), most=max(found), ratio=medians[of] / base
        )
    report.aim("CPU of a keystroke, dearest to cheapest document", max(medians.values()) / min(medians.values()), 1.3)
    for pair in pairs.values():
        pair.author.leave()
        pair.reader.leave()


async def compacting(relay: Relay, contents: dict[tuple[str, int], bytes], options: object, report: Report) -> None:
    rate, seconds = 2 * options.rate, 2.5 * options.seconds  # type: ignore[attr-defined]
    for of in contents:
        pair = await Pair.join(relay, room(of))
        await pair.type(rate, 0.3)
        was, own, codec = relay.metrics(), cpu_seconds([relay.pid]), cpu_seconds(relay.codecs())
        typed = pair.bytes
        edits = await pair.type(rate, seconds)
        own, codec = cpu_seconds([relay.pid]) - own, cpu_seconds(relay.codecs()) - codec
        now = relay.metrics()
        typed = pair.bytes - typed
        written = now["relay_snapshot_bytes_total"] - was["relay_snapshot_bytes_total"]
        report.row(
            document=of[0],
            authors=of[1],
            relay_µs=own / edits * 1e6,
            codec_µs=codec / edits * 1e6,
            snapshots=round(now["relay_snapshot_seconds_count"] - was["relay_snapshot_seconds_count"]),
            written_per_byte=written / typed,
        )
        pair.author.leave()
        pair.reader.leave()


def main() -> None:
    arguments = parser(__doc__)
    for name, default in (("seconds", 1.0), ("rate", 100.0), ("rounds", 6)):
        arguments.add_argument(f"--{name}", type=type(default), default=default)
    options = arguments.parse_args()
    report = Report("keystroke", options.json)
    contents = documents()
    with Relay("--snapshot-idle", "0.2s") as relay:
        uvloop.run(upload(relay, contents))
        relay.restart(*QUIET)
        uvloop.run(alone(relay, contents, options, report))
        relay.restart(*QUIET, "--snapshot-bytes", "4KiB")
        uvloop.run(compacting(relay, contents, options, report))
    report.write()


if __name__ == "__main__":
    main()
