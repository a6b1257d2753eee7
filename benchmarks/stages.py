"""What does each stage on the way of an edit cost, against a budget; in a loop, and as it is when edits are rare?

    python -m benchmarks.stages [--check] [--margin 1.5] [--json PATH]

Microseconds of this process's CPU, the kernel's part included. *Hot*: the stage alone in a tight loop, best of five.
*Cold*: one edit every 10 ms, as in a room where 100 edits a second are typed; between two edits the core sleeps and its
caches go to others, so the same code costs several times as much (`_lone.py`).

Sockets are real (loopback, through uvloop, read by another process), and so is the journal (the embedded Valkey).
Budgets are for hot stages. `--check`: exit status 1 when one is over its budget by more than the margin; budgets are
in microseconds of the machine they were set on, so that says something on such a machine alone.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks._lone import Others, lone, packed, updated
from benchmarks.compare.__main__ import pinned
from benchmarks.compare.machine import Moment, cpu_of, described, family
from benchmarks.compare.measurement import ROOT
from benchmarks.edit_path import ROOM, NullJournal, context_of, keystroke, measure
from relay import embedded
from relay.grants import Grant
from relay.journal.redis import RedisJournal
from relay.protocol import ywebsocket as protocol
from relay.protocol.frames import Inbox, frame
from relay.room.log import Flush
from relay.room.member import Member
from relay.room.room import Limits, Room
from relay.types import Actor, Edit, NodeId, Position, RoomId
from relay.yjs.known import Known
from relay.yjs.merge import merge
from relay.yjs.update import Layout, parse

__all__ = ["STAGES", "Stage", "delivered", "main", "over", "rooms"]

EDITS = 2000
READERS = (1, 9, 49, 499)
GROUP = 20
SIZES = (2, 10, 50, 500)


class Stage(NamedTuple):
    """per: what it is done once for (edit, flush, reader); budget: µs, hot."""

    name: str
    what: str
    per: str
    budget: float


STAGES = (
    Stage("read", "wake up, read the socket (kernel, uvloop)", "edit", 12.0),
    Stage("unframe", "WebSocket frame: parse, unmask", "edit", 0.9),
    Stage("decode", "protocol message", "edit", 0.8),
    Stage("check", "read the update's layout: every length and count", "edit", 3.5),
    Stage("novelty", "what of it is new", "edit", 0.8),
    Stage("room", "session, gathering, flush, log, counters", "edit", 12.0),
    Stage("frame", "the message and its frame, once for all readers", "flush", 0.8),
    Stage("write", "write to one reader's socket (uvloop, kernel)", "reader", 6.0),
    Stage("pack", "journal: the command", "flush", 2.0),
    Stage("journal", "journal: write to Valkey, read the answer; cold, the edits of 20 ms share it", "flush", 20.0),
    Stage("acknowledge", "tell the author that it is saved", "edit", 2.5),
    Stage("merge", f"merge of {GROUP} edits into one update, each; only in busy rooms", "merged edit", 1.5),
)


# -- of figures --


def over(found: dict[str, float], margin: float) -> list[str]:
    """The stages that cost more than `margin` times their budget."""
    return [stage.name for stage in STAGES if found[stage.name] > margin * stage.budget]


def rooms(costs: dict[str, float], write_of: dict[int, float]) -> dict[int, float]:
    """µs per delivered edit by members of the room, for edits that come one at a time.

    costs: of a stage; write_of: of one write, by how many there are in a turn. Not in it: the author's echoes of a
    moment, which share one write more.
    """
    found = {}
    for size in SIZES:
        readers = size - 1
        once = sum(costs[stage.name] for stage in STAGES if stage.per in ("edit", "flush"))
        found[size] = delivered(once, write_of[readers], readers)
    return found


def delivered(once: float, write: float, readers: int) -> float:
    """µs for each reader of an edit that costs `once`, and `write` for each of them."""
    return once / readers + write


# -- measuring --


def hot(work: Callable[[Any], object], inputs: Callable[[], Sequence[Any]]) -> float:
    """µs of `work`, called with each of `inputs`, which are made again for each of five rounds; the best."""
    best = float("inf")
    for _ in range(5):
        given = inputs()
        started = time.thread_time_ns()
        for _ in given:
            pass
        empty = time.thread_time_ns() - started
        started = time.thread_time_ns()
        for each in given:
            work(each)
        best = min(best, (time.thread_time_ns() - started - empty) / len(given) / 1e3)
    return best


def updates() -> list[bytes]:
    return [updated(Inbox(1 << 20).receive(keystroke(1000, clock))[0]) for clock in range(EDITS)]


def pure() -> dict[str, float]:
    """The stages that touch no socket."""
    frames = [keystroke(1000, clock) for clock in range(EDITS)]
    inbox, typed = Inbox(1 << 20), updates()
    messages = [inbox.receive(data)[0] for data in frames]
    layouts = [parse(update) for update in typed]
    groups = [layouts[at : at + GROUP] for at in range(0, EDITS, GROUP)]
    found = {
        "unframe": hot(inbox.receive, lambda: frames),
        "decode": hot(protocol.decode, lambda: messages),
        "check": hot(lambda update: parse(update, 500), lambda: typed),
        "frame": hot(lambda update: frame(protocol.update(update)), lambda: typed),
        "pack": hot(packed, lambda: typed),
        "merge": hot(merge, lambda: groups) / GROUP,
    }
    known = Known()

    def again() -> list[Layout]:
        nonlocal known
        known = Known()
        return layouts

    return found | {"novelty": hot(lambda layout: known.add(layout), again)}


class NullSocket:
    """Takes what is written and forgets it."""

    deflate = paused = False

    def write(self, data: bytes) -> None:
        pass


class Saved:
    """A room with one author, and flushes of its edits that the journal has just taken."""

    def __init__(self, room: Room, member: Member) -> None:
        self.room, self.member = room, member
        self.number = 0

    @classmethod
    async def open(cls) -> "Saved":
        registry = context_of(NullJournal(NodeId("b")), Limits(tail=1 << 40)).registry
        room = await registry.open(ROOM)
        grant = Grant(Actor("ann"), "ann", False)
        member = Member(NullSocket(), grant, lambda why: None, echo=True, acknowledgement=protocol.ACKNOWLEDGED)
        registry.join(room, member)
        return cls(room, member)

    def flush(self, update: bytes) -> Flush:
        self.number += 1
        flush = Flush(self.number, [Edit(Actor("ann"), update)], [update], [self.member], {self.member: 1})
        assert self.member.group is not None
        flush.frames = {self.member.group: self.member.group.frame(protocol.update(update))}
        self.room.log.append(flush)
        return flush

    def acknowledge(self, flush: Flush) -> None:
        self.room.saving.saved(flush, Position(1, 1, flush.number))


async def acknowledging() -> float:
    saved, typed = await Saved.open(), updates()
    return hot(saved.acknowledge, lambda: [saved.flush(update) for update in typed])


# -- sockets --


async def sockets(cores: set[int]) -> tuple[float, dict[int, float]]:
    """Reading a frame; and a write, by how many there are in a turn."""
    async with Others(cores, max(READERS)) as others:
        await asyncio.sleep(0.2)
        body = frame(protocol.update(updates()[1000]))
        writes = {readers: await write(others.transports[:readers], body) for readers in READERS}
        return await others.type(200, 50, 0.002, lambda data: None), writes


async def turns(count: int) -> float:
    """Seconds of CPU that so many turns of the loop with nothing to do take."""
    started = time.process_time()
    for _ in range(count):
        await asyncio.sleep(0)
    return time.process_time() - started


async def write(transports: Sequence[asyncio.Transport], body: bytes) -> float:
    """µs of a write; one to each of `transports` in a turn of the loop, which they share."""
    count = max(20, 4000 // len(transports))
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(count):
            for transport in transports:
                transport.write(body)
            await asyncio.sleep(0)
        took = time.process_time() - started
        best = min(best, (took - await turns(count)) / count / len(transports) * 1e6)
        while any(transport.get_write_buffer_size() for transport in transports):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
    return best


# -- journal --


async def journal(directory: Path) -> dict[str, dict[str, float]]:
    """An append's round trip, one by one and in groups: our CPU, the server's CPU, and milliseconds."""
    async with await embedded.start(directory, postgres=False, valkey=True) as own:
        node = RedisJournal(own.redis_url, NodeId("stages"))
        await node.start()
        room = RoomId("stages")
        epoch = (await node.open(room, None)).epoch
        servers = family(os.getpid())[1:]
        loop = asyncio.get_running_loop()

        async def append(group: Sequence[bytes]) -> None:
            answers = []
            for update in group:
                answer: asyncio.Future[Any] = loop.create_future()
                node.append(room, epoch, [Edit(Actor("ann"), update)], answer.set_result)
                answers.append(answer)
            for answer in answers:
                assert isinstance(await answer, Position)

        async def measured(size: int) -> dict[str, float]:
            typed, took = updates(), []
            ours, theirs = time.process_time(), cpu_of(servers)
            for at in range(0, EDITS, size):
                started = time.perf_counter()
                await append(typed[at : at + size])
                took.append(time.perf_counter() - started)
            ours, theirs = time.process_time() - ours, cpu_of(servers) - theirs
            return {"us": ours / EDITS * 1e6, "server_us": theirs / EDITS * 1e6, "ms": statistics.median(took) * 1e3}

        await append(updates()[:200])
        found = {
            name: min([await measured(size) for _ in range(3)], key=lambda one: one["us"])
            for name, size in (("single", 1), ("grouped", GROUP))
        }
        await node.close()
    return found


# -- all --


def measured_all(cores: set[int]) -> dict[str, Any]:
    hot = pure()
    hot["acknowledge"] = uvloop.run(acknowledging())
    hot["read"], writes = uvloop.run(sockets(cores))
    hot["write"] = writes[READERS[0]]
    path = min(uvloop.run(measure(2, 1, 1, 400)) for _ in range(40))  # by the clock: short, so that some are whole
    with tempfile.TemporaryDirectory(prefix="relay-stages-") as directory:
        appended = uvloop.run(journal(Path(directory) / "data"))
    inside = ("unframe", "decode", "check", "novelty", "frame", "acknowledge")
    hot["room"] = max(0.0, path - sum(hot[name] for name in inside))
    hot["journal"] = max(0.0, appended["single"]["us"] - hot["pack"])
    cold, cold_writes, whole = uvloop.run(lone(cores, READERS))
    return {
        "hot": hot, "cold": cold, "path": path, "lone": whole, "journal": appended,
        "writes": {"hot": _named(writes), "cold": _named(cold_writes)},
        "rooms": {"hot": _named(rooms(hot, writes)), "cold": _named(rooms(cold, cold_writes))},
    }  # fmt: skip


def _named(found: dict[int, float]) -> dict[str, float]:
    return {str(number): us for number, us in found.items()}


def table(found: dict[str, Any]) -> None:
    print(f"{'stage':12}{'per':>12}{'hot µs':>9}{'cold µs':>9}{'budget':>8}")
    for stage in STAGES:
        cold = f"{found['cold'][stage.name]:9.2f}" if stage.name in found["cold"] else f"{'':9}"
        mark = "  OVER" if found["hot"][stage.name] > stage.budget else ""
        print(f"{stage.name:12}{stage.per:>12}{found['hot'][stage.name]:9.2f}{cold}{stage.budget:8.1f}{mark}")
    for how in ("hot", "cold"):
        said = ", ".join(f"{size} members {us:.2f}" for size, us in found["rooms"][how].items())
        print(f"µs per delivered edit, {how}: {said}")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--json", type=Path, default=ROOT / "benchmarks/results/stages.json", help="default: %(default)s"
    )
    arguments.add_argument("--check", action="store_true", help="exit status 1 when a stage is over its budget")
    arguments.add_argument("--margin", type=float, default=1.5, help="by so much, times; default %(default)s")
    options = arguments.parse_args()
    ours = pinned("", 0)
    others = set(pinned("", 1))
    os.sched_setaffinity(0, ours)
    about: dict[str, Any] = {"started": time.strftime("%Y-%m-%d %H:%M")}
    began = Moment(os.getpid())
    found = measured_all(others)
    os.sched_setaffinity(0, ours | others)
    about |= {"machine": described(), "others": round(Moment(os.getpid()).since(began).others, 2)}
    table(found)
    options.json.write_text(json.dumps({"about": about} | found, indent=1) + "\n")
    late = over(found["hot"], options.margin)
    if late:
        print(f"over {options.margin:g} times the budget: {', '.join(late)}", file=sys.stderr)
    return 1 if options.check and late else 0


if __name__ == "__main__":
    sys.exit(main())
