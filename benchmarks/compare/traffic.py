"""Rooms in which people write: at a given rate, or as fast as what they wrote arrives."""

import gc
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.compare.figures import latencies, quantile, used
from benchmarks.compare.machine import Moment, family, memory_of
from benchmarks.compare.matcher import Room, Tally
from benchmarks.compare.order import Order
from benchmarks.compare.preload import document_of, preload
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.swarm import Client, Swarm
from benchmarks.compare.tokens import tokens
from benchmarks.compare.updates import FIRST, keystroke
from benchmarks.compare.wire import framed

__all__ = ["Traffic", "measured", "typing"]

CURSOR = 2
"""Clock of a cursor's first move; it was announced with 1."""


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
        self.turns = _turns(scenario)
        self.draw = random.Random(order.seed)
        self.next_at = 0.0
        """When the next edit is due, at a given rate."""
        self.rooms = [self._room(number) for number in range(scenario.rooms)]
        self.clients: list[list[Client]] = []
        self.slow: list[Client] = []
        signed = tokens(order.key, scenario.rooms * scenario.clients)
        for number, room in enumerate(self.rooms):
            there = []
            for index in range(scenario.clients):
                client = swarm.client(f"{name}-{number}", next(signed))
                slow = index >= scenario.clients - scenario.slow
                author = index if index < len(room.sent) else -1
                client.reader = room.join(author, self.behind if slow else None)
                if slow:
                    self.slow.append(client)
                there.append(client)
            self.clients.append(there)
        self._bodies: list[list[bytes]] = [[] for _ in range(scenario.writers)]

    def _room(self, number: int) -> Room:
        scenario, cursors = self.scenario, self.scenario.kind == "cursors"
        return Room(
            scenario.writers, self.tally, unit=scenario.unit, states=cursors, window=scenario.window,
            start=CURSOR if cursors else 0,
        )  # fmt: skip

    def join(self) -> None:
        """Connect everybody; somebody is in each room before two come together, which some servers can't take."""
        first = [there[0] for there in self.clients]
        self.swarm.connect_all(first)
        self._fill(first)
        for client in self.slow:
            self.swarm.connect(client, buffer=8192)
        order = [there[index] for index in range(1, self.scenario.clients) for there in self.clients]
        self.swarm.connect_all(order)
        if self.scenario.kind == "cursors":
            for there in self.clients:
                for writer in range(self.scenario.writers):
                    self.swarm.say(there[writer], self.swarm.codec.cursor(writer, CURSOR - 1))

    def _fill(self, first: list[Client]) -> None:
        """The first client of each room is there: give it the document that is to be in it."""
        if self.scenario.document:
            preload(self.swarm, first[0], document_of(self.scenario))

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

    def pace(self, until: float) -> None:
        """Send at random moments, `rate` a second, until then."""
        clock, swarm, rate = time.monotonic, self.swarm, self.scenario.rate
        while (now := clock()) < until:
            while self.next_at <= now:
                number, writer = next(self.turns)
                now = clock()
                self.lag.append(now - self.next_at)
                swarm.write(self.clients[number][writer], self._frame(number, writer, now))
                self.next_at += self.draw.expovariate(rate)
            swarm.poll(min(self.next_at, until))

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

    def finish(self) -> None:
        """The measured window is over; say what there is to say."""

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


def typing(order: Order) -> dict[str, Any]:
    """People type, or move their cursors."""
    with Swarm(order.target, order.scenario.writers) as swarm:
        return measured(order, swarm, lambda: Traffic(order, order.scenario, f"bench-{order.seed}", swarm))


def measured(order: Order, swarm: Swarm, people: Callable[[], Traffic]) -> dict[str, Any]:
    """What `people` do, from their joining until all that they wrote has arrived. Raises TimeoutError."""
    scenario = order.scenario
    if order.prewarm > 0:
        _prewarm(order)
    before = memory_of(family(order.pid)) if order.pid else 0
    traffic = people()
    traffic.join()
    expected = scenario.rate * (order.warmup + order.seconds) / scenario.rooms / scenario.writers
    traffic.prepare(int(expected * 1.2) + 10 if scenario.rate else 40_000 // scenario.writers)
    gc.collect()
    swarm.run(time.monotonic() + 0.5)
    for client in traffic.slow:
        swarm.pause(client, True)
    traffic.tally.ready = [(room, writer) for room in traffic.rooms for writer in range(scenario.writers)]
    traffic.next_at = time.monotonic()
    phase = traffic.press if scenario.window else traffic.pace
    phase(time.monotonic() + order.warmup)
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
    traffic.finish()
    drained = traffic.drain()
    held = memory_of(family(order.pid)) if order.pid else 0
    if not traffic.tally.delivered:
        raise TimeoutError("nothing was delivered")
    return used(usage, traffic.tally.delivered) | latencies(list(traffic.tally.latencies)) | {
        "sent": sent, "sent_per_s": sent / usage.seconds, "superseded": traffic.tally.superseded,
        "repeated": traffic.repeated,
        "lag_p99_ms": quantile(sorted(traffic.lag), 0.99) * 1e3, "drained_s": drained,
        "memory_mb": held / 1e6, "grown_mb": (held - before) / 1e6, "faults": str(traffic.tally.faults),
    }  # fmt: skip


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
