"""The load generator: one scenario against one server, as one process pinned to a core of its own.

    python -m benchmarks.compare.load < order.json > result.json

Every run is bounded in time and in what it sends. CPU, of the server and of this process, is measured here, at the
two ends of the measured window.
"""

import dataclasses
import gc
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.compare.documents import by_many, typed
from benchmarks.compare.machine import Moment, Usage, family, memory_of
from benchmarks.compare.matcher import Room, Tally
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.swarm import Client, Swarm, Target
from benchmarks.compare.tokens import tokens
from benchmarks.compare.updates import FIRST, keystroke, ranges_in
from benchmarks.compare.wire import framed

__all__ = ["Order", "main", "run"]

SETTLE = 2.0
"""Seconds in which a server may store the document that it was given, before others come for it."""
SAMPLES = 100
"""Points of the latency distribution in a result."""
CURSOR = 2
"""Clock of a cursor's first move; it was announced with 1."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What to do. pid: the server's first process, 0 where it is elsewhere; key: PEM file to sign tokens with;
    prewarm, warmup, seconds: of other rooms at full speed, of the load before the window, and of the window; drain:
    seconds behind it in which all that was sent must have arrived."""

    scenario: Scenario
    target: Target
    pid: int = 0
    key: str = ""
    prewarm: float = 2.0
    warmup: float = 1.0
    seconds: float = 3.0
    drain: float = 8.0
    seed: int = 1


def run(order: Order) -> dict[str, Any]:
    """Do it. Raises TimeoutError where clients can't join."""
    rest = {"idle": _idle, "join": _join, "return": _return, "hold": _hold}
    return rest.get(order.scenario.kind, _traffic)(order)


# -- writing --


class Traffic:
    """Rooms in which people type or move their cursors."""

    def __init__(self, order: Order, scenario: Scenario, name: str, swarm: Swarm) -> None:
        self.order, self.scenario, self.swarm = order, scenario, swarm
        self.tally, self.behind = Tally(), Tally()
        self.tally.faults = swarm.faults
        self.lag: list[float] = []
        """Seconds by which edits were sent late."""
        self.repeated = 0
        """Edits that readers who were slow got again when they were caught up; that is no fault: a merge may."""
        cursors = scenario.kind == "cursors"
        self.rooms = [
            Room(
                scenario.writers, self.tally, unit=scenario.unit, states=cursors, window=scenario.window,
                start=CURSOR if cursors else 0,
            )
            for _ in range(scenario.rooms)
        ]  # fmt: skip
        self.clients: list[list[Client]] = []
        self.slow: list[Client] = []
        signed = tokens(order.key, scenario.rooms * scenario.clients)
        for number, room in enumerate(self.rooms):
            there = []
            for index in range(scenario.clients):
                client = swarm.client(f"{name}-{number}", next(signed))
                slow = index >= scenario.clients - scenario.slow
                author = index if index < scenario.writers else -1
                client.reader = room.join(author, self.behind if slow else None)
                if slow:
                    self.slow.append(client)
                there.append(client)
            self.clients.append(there)
        self._bodies: list[list[bytes]] = [[] for _ in range(scenario.writers)]

    def join(self) -> None:
        """Connect everybody; somebody is in each room before two come together, which some servers can't take."""
        first = [there[0] for there in self.clients]
        self.swarm.connect_all(first)
        if self.scenario.document:
            _preload(self.swarm, first[0], _document(self.scenario))
        for client in self.slow:
            self.swarm.connect(client, buffer=8192)
        order = [there[index] for index in range(1, self.scenario.clients) for there in self.clients]
        self.swarm.connect_all(order)
        if self.scenario.kind == "cursors":
            for there in self.clients:
                for writer in range(self.scenario.writers):
                    self.swarm.say(there[writer], self.swarm.codec.cursor(writer, CURSOR - 1))

    def prepare(self, edits: int) -> None:
        """Build that many edits of each writer beforehand; the rest are built as they are sent."""
        for writer in range(self.scenario.writers):
            for turn in range(edits):
                self._body(writer, turn)

    def _body(self, writer: int, turn: int) -> bytes:
        bodies, unit = self._bodies[writer], self.scenario.unit
        while len(bodies) <= turn:
            if self.scenario.kind == "cursors":
                bodies.append(self.swarm.codec.cursor(writer, len(bodies)))
            else:
                bodies.append(self.swarm.codec.edit(keystroke(FIRST + writer, len(bodies) * unit, unit)))
        return bodies[turn]

    def _frame(self, number: int, writer: int, now: float) -> bytes:
        clock = self.rooms[number].send(writer, now)
        return framed(self.clients[number][writer].prefix + self._body(writer, clock // self.scenario.unit))

    def pace(self, until: float, next_at: float, turns: Iterator[tuple[int, int]], draw: random.Random) -> float:
        """Send at random moments, `rate` a second, until then; when the next one would have been."""
        clock, swarm, rate = time.monotonic, self.swarm, self.scenario.rate
        while (now := clock()) < until:
            while next_at <= now:
                number, writer = next(turns)
                now = clock()
                self.lag.append(now - next_at)
                swarm.write(self.clients[number][writer], self._frame(number, writer, now))
                next_at += draw.expovariate(rate)
            swarm.poll(min(next_at, until))
        return next_at

    def press(self, until: float) -> None:
        """Send as soon as `window` allows, until then."""
        clock, swarm, window, tally = time.monotonic, self.swarm, self.scenario.window, self.tally
        number_of = {id(room): number for number, room in enumerate(self.rooms)}
        while clock() < until:
            ready, tally.ready = tally.ready, []
            for room, writer in ready:
                free = window - room.on_the_way(writer)
                if free > 0:
                    number, now = number_of[id(room)], clock()
                    frames = [self._frame(number, writer, now) for _ in range(free)]
                    swarm.write(self.clients[number][writer], b"".join(frames))
            swarm.poll(min(until, clock() + 0.05))

    def drain(self) -> float:
        """Wait for what is on its way, and count what never came; the seconds that took."""
        started = time.monotonic()
        ends = started + self.order.drain
        while time.monotonic() < ends and not all(room.whole for room in self.rooms):
            self.swarm.run(min(ends, time.monotonic() + 0.02))
        took = time.monotonic() - started
        self.swarm.run(time.monotonic() + 0.1)  # a copy may follow
        for room in self.rooms:
            room.close()
        self.repeated, self.behind.faults.doubled = self.behind.faults.doubled, 0
        self.tally.faults.add(self.behind.faults)
        return took


def _traffic(order: Order) -> dict[str, Any]:
    scenario = order.scenario
    if order.prewarm > 0:
        _prewarm(order)
    before = memory_of(family(order.pid)) if order.pid else 0
    with Swarm(order.target, scenario.writers) as swarm:
        traffic = Traffic(order, scenario, f"bench-{order.seed}", swarm)
        traffic.join()
        expected = scenario.rate * (order.warmup + order.seconds) / scenario.rooms / scenario.writers
        traffic.prepare(int(expected * 1.2) + 10 if scenario.rate else 40_000 // scenario.writers)
        gc.collect()
        swarm.run(time.monotonic() + 0.5)
        for client in traffic.slow:
            swarm.pause(client, True)
        closed = scenario.window > 0
        draw = random.Random(order.seed)
        turns = _turns(scenario)
        traffic.tally.ready = [(room, writer) for room in traffic.rooms for writer in range(scenario.writers)]
        next_at = time.monotonic()
        phase: Callable[[float], float | None]
        phase = traffic.press if closed else lambda until: traffic.pace(until, next_at, turns, draw)
        next_at = phase(time.monotonic() + order.warmup) or 0.0
        traffic.lag.clear()
        for room in traffic.rooms:
            room.begin()
        sent = sum(sum(room.sent) for room in traffic.rooms)
        began = Moment(order.pid)
        traffic.tally.counting = True
        phase(time.monotonic() + order.seconds)
        traffic.tally.counting = False
        usage = Moment(order.pid).since(began)
        sent = (sum(sum(room.sent) for room in traffic.rooms) - sent) // scenario.unit
        for client in traffic.slow:
            swarm.pause(client, False)
        drained = traffic.drain()
        held = memory_of(family(order.pid)) if order.pid else 0
    result = _usage(usage, traffic.tally.delivered) | _latencies(list(traffic.tally.latencies))
    result |= {
        "sent": sent, "sent_per_s": sent / usage.seconds, "superseded": traffic.tally.superseded,
        "repeated": traffic.repeated,
        "lag_p99_ms": _quantile(sorted(traffic.lag), 0.99) * 1e3, "drained_s": drained,
        "memory_mb": held / 1e6, "grown_mb": (held - before) / 1e6, "faults": str(traffic.tally.faults),
    }  # fmt: skip
    if not traffic.tally.delivered:
        raise TimeoutError("nothing was delivered")
    return result


def _turns(scenario: Scenario) -> Iterator[tuple[int, int]]:
    """Whose turn it is to write, in an open loop: every room once, then every room's next writer."""
    while True:
        for writer in range(scenario.writers):
            for number in range(scenario.rooms):
                yield number, writer


def _prewarm(order: Order) -> None:
    """Full speed in another room of the same server, so that compilers and allocators are where they stay."""
    scenario = Scenario("warm", "", "closed", clients=10, writers=5, window=4)
    with Swarm(order.target, scenario.writers) as swarm:
        traffic = Traffic(order, scenario, f"warm-{order.seed}", swarm)
        traffic.join()
        traffic.tally.ready = [(room, writer) for room in traffic.rooms for writer in range(scenario.writers)]
        traffic.press(time.monotonic() + order.prewarm)
        traffic.drain()


# -- connecting --


def _idle(order: Order) -> dict[str, Any]:
    """Connect, and hold; memory as their number grows."""
    scenario = order.scenario
    with Swarm(order.target, 0) as swarm:
        signed = tokens(order.key, scenario.rooms * scenario.clients)
        named = [swarm.client(f"idle-{order.seed}-{n % scenario.rooms}", next(signed))
                 for n in range(scenario.rooms * scenario.clients)]  # fmt: skip
        _one_joins(order, f"first-{order.seed}")
        before = _memory(order.pid)
        steps = []
        began = Moment(order.pid)
        for start, end in zip((0, *scenario.sizes), scenario.sizes):
            swarm.connect_all(named[start:end], at_once=scenario.at_once)
            held = _memory(order.pid)
            steps.append({"connections": end, "mb": (held[1] - before[1]) / 1e6, "own_mb": (held[0] - before[0]) / 1e6})
        usage = Moment(order.pid).since(began)
        swarm.run(time.monotonic() + 1.0)
        quiet = Moment(order.pid)
        swarm.run(time.monotonic() + order.seconds)
        rest = Moment(order.pid).since(quiet)
        held = _memory(order.pid)
        lost = swarm.faults
    each = len(named)
    return _usage(usage, each) | {
        "per_connection_kb": (held[1] - before[1]) / each / 1024, "steps": steps, "faults": str(lost),
        "own_per_connection_kb": (held[0] - before[0]) / each / 1024, "idle_ms_per_s": rest.all / rest.seconds * 1e3,
    }  # fmt: skip


def _join(order: Order) -> dict[str, Any]:
    """Join a room with a document, `at_once` at a time, and leave when all of it is here."""
    scenario = order.scenario
    document = _document(scenario)
    with Swarm(order.target, 0) as swarm:
        signed = tokens(order.key, scenario.joins + 1)
        room = f"join-{order.seed}"
        author = swarm.client(room, next(signed))
        swarm.connect_all([author])
        _preload(swarm, author, document)
        swarm.run(time.monotonic() + SETTLE)
        took: list[float] = []
        short = 0
        there: list[Client] = []

        def here(client: Client) -> None:
            took.append(client.synced - client.started)
            there.append(client)

        began = Moment(order.pid)
        left, active = scenario.joins, 0
        ends = time.monotonic() + 60
        while left or active:
            while left and active < scenario.at_once:
                client = swarm.client(room, next(signed))
                client.covered, client.on_synced = {}, here
                swarm.connect(client)
                left, active = left - 1, active + 1
            swarm.poll(ends)
            for client in there:
                active -= 1
                short += client.covered != document.covers
                swarm.drop(client)
            there.clear()
            if swarm.faults.cut_off or time.monotonic() > ends:
                raise TimeoutError(f"{len(took)} of {scenario.joins} joined; faults: {swarm.faults}")
        usage = Moment(order.pid).since(began)
        faults = swarm.faults
        faults.lost += short
        held = memory_of(family(order.pid)) if order.pid else 0
    return _usage(usage, scenario.joins) | _latencies(took) | {"memory_mb": held / 1e6, "faults": str(faults)}


def _return(order: Order) -> dict[str, Any]:
    """All are cut off, and come back at once."""
    scenario = order.scenario
    with Swarm(order.target, 0) as swarm:
        signed = tokens(order.key, scenario.rooms * scenario.clients)
        clients = [swarm.client(f"return-{order.seed}-{n % scenario.rooms}", next(signed))
                   for n in range(scenario.rooms * scenario.clients)]  # fmt: skip
        swarm.connect_all(clients)
        swarm.run(time.monotonic() + 0.5)
        began = Moment(order.pid)
        for client in clients:
            swarm.drop(client)
        swarm.connect_all(clients, at_once=scenario.at_once)
        usage = Moment(order.pid).since(began)
        faults = swarm.faults
    took = [client.synced - client.started for client in clients]
    return _usage(usage, len(clients)) | _latencies(took) | {"faults": str(faults)}


def _hold(order: Order) -> dict[str, Any]:
    """Documents of several sizes, each in a room with one client; what the server holds more with each."""
    steps = []
    with Swarm(order.target, 0) as swarm:
        signed = tokens(order.key, 2 * len(order.scenario.sizes))
        _one_joins(order, f"first-{order.seed}")
        began = Moment(order.pid)
        for number, size in enumerate(order.scenario.sizes):
            before = _memory(order.pid)
            client = swarm.client(f"hold-{order.seed}-{number}", next(signed))
            swarm.connect_all([client])
            document = Document(by_many(size, max(1, size // 4000)))
            _preload(swarm, client, document)
            reader = swarm.client(f"hold-{order.seed}-{number}", next(signed))
            reader.covered = {}
            swarm.connect_all([reader])
            swarm.faults.lost += reader.covered != document.covers
            swarm.drop(reader)
            swarm.run(time.monotonic() + 1.0)
            held = _memory(order.pid)
            steps.append({"bytes": len(document.update), "mb": (held[1] - before[1]) / 1e6,
                          "own_mb": (held[0] - before[0]) / 1e6})  # fmt: skip
        usage = Moment(order.pid).since(began)
        faults = swarm.faults
    held_per_byte = sum(step["mb"] for step in steps) * 1e6 / sum(step["bytes"] for step in steps)
    return _usage(usage, len(order.scenario.sizes)) | {
        "steps": steps, "held_per_byte": held_per_byte, "faults": str(faults)
    }  # fmt: skip


# -- documents --


class Document:
    """An update, and which clients' clocks are in it."""

    def __init__(self, update: bytes) -> None:
        self.update = update
        self.covers = {client: end for client, _, end in ranges_in(update)}


def _document(scenario: Scenario) -> Document:
    return Document(typed()[0] if scenario.document == "paper" else by_many(1_000_000, 10_000))


def _preload(swarm: Swarm, client: Client, document: Document) -> None:
    """The client uploads a document; return when a newcomer is given all of it. Raises TimeoutError."""
    swarm.say(client, swarm.codec.edit(document.update))
    swarm.run(time.monotonic() + 0.5)
    for _ in range(40):
        probe = Client("", client.prefix, client.path, "", swarm.faults)
        probe.token, probe.covered = client.token, {}
        swarm.connect_all([probe])
        swarm.drop(probe)
        if probe.covered == document.covers:
            return
        swarm.run(time.monotonic() + 0.2)
    raise TimeoutError("the document did not get there whole")


def _one_joins(order: Order, room: str) -> None:
    """So that what a server loads with its first room is there."""
    with Swarm(order.target, 0) as swarm:
        swarm.connect_all([swarm.client(room, next(tokens(order.key, 1)))])
    time.sleep(0.5)


# -- figures --


def _memory(pid: int) -> tuple[int, int]:
    """Bytes of the server's first process, and of all."""
    pids = family(pid) if pid else []
    return memory_of(pids[:1]), memory_of(pids)


def _usage(usage: Usage, count: int) -> dict[str, Any]:
    return {
        "seconds": usage.seconds, "count": count, "per_s": count / usage.seconds,
        "cpu_us": usage.all / count * 1e6 if count else 0.0, "own_cpu_us": usage.own / count * 1e6 if count else 0.0,
        "server": usage.all / usage.seconds, "generator": usage.generator, "others": usage.others,
        "stolen": usage.stolen,
    }  # fmt: skip


def _latencies(seconds: list[float]) -> dict[str, Any]:
    """Milliseconds: percentiles, and evenly spaced points of the distribution."""
    ordered = sorted(value * 1e3 for value in seconds)
    if not ordered:
        return {}
    points = [_quantile(ordered, n / SAMPLES) for n in range(SAMPLES + 1)]
    return {
        "p50_ms": statistics.median(ordered), "p95_ms": _quantile(ordered, 0.95), "p99_ms": _quantile(ordered, 0.99),
        "max_ms": ordered[-1], "samples": len(ordered), "distribution": [round(point, 4) for point in points],
    }  # fmt: skip


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def main() -> None:
    """Read the order, obey it, write the result; `error` where it could not be done."""
    said = json.load(sys.stdin)
    said["scenario"]["sizes"] = tuple(said["scenario"]["sizes"])
    order = Order(**said | {"scenario": Scenario(**said["scenario"]), "target": Target(*said["target"])})
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    gc.disable()
    try:
        result = run(order)
    except (TimeoutError, OSError) as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
