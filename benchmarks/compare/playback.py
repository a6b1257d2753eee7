"""Traces, typed once more: every room has one, and its authors send it transaction by transaction.

Where several wrote at once they do so here: a transaction is sent as soon as its turn has come and its author has, from
the server, what it presumes of the others', and was made without the rest.
"""

import time
from pathlib import Path
from typing import Any

from benchmarks.compare.attribution import Attribution
from benchmarks.compare.matcher import Room
from benchmarks.compare.order import Order
from benchmarks.compare.preload import Document, preload
from benchmarks.compare.replay import AUTHORS, Script, load, text_of
from benchmarks.compare.swarm import Client, Swarm
from benchmarks.compare.traffic import Traffic, measured
from benchmarks.compare.wire import framed

__all__ = ["Playback", "live_steps", "replaying"]


def live_steps(rate: float, seconds: float) -> int:
    """How much of a trace a room needs; what is left over is sent when the measured window is over."""
    return int(rate * seconds * 1.3) + 20


class Playback(Traffic):
    """Rooms with a trace each. The last client of a room is the witness: what it is told is kept, byte by byte."""

    def __init__(self, order: Order, scripts: list[Script], swarm: Swarm) -> None:
        self.scripts = scripts
        super().__init__(order, order.scenario, f"trace-{order.seed}", swarm)
        self._at = [0] * len(scripts)
        self._due: list[tuple[int, float]] = []
        for there in self.clients:
            there[-1].heard = []

    def _room(self, number: int) -> Room:
        return Room(self.scripts[number].writers, self.tally)

    def _fill(self, first: list[Client]) -> None:
        for client, script in zip(first, self.scripts, strict=True):
            preload(self.swarm, client, Document(script.past))

    def prepare(self, edits: int) -> None:
        """They are there."""

    def pace(self, until: float) -> None:
        """Send at random moments, `rate` a second over all rooms in turn, until then."""
        clock, swarm = time.monotonic, self.swarm
        while (now := clock()) < until:
            while self.next_at <= now:
                self._due.append((next(self.turns)[0], self.next_at))
                self.next_at += self.draw.expovariate(self.scenario.rate)
            self._due = [each for each in self._due if not self._send(*each)]
            swarm.poll(min(self.next_at, until))

    def _send(self, number: int, due: float) -> bool:
        """Whether a room's next transaction was sent, or there is none."""
        script, room = self.scripts[number], self.rooms[number]
        if self._at[number] == len(script.steps):
            return True
        step = script.steps[self._at[number]]
        client = self.clients[number][step.writer]
        assert client.reader is not None
        if any(client.reader.seen[other] < count for other, count in step.needs):
            return False
        now = time.monotonic()
        if step.number >= 0:
            room.send(step.writer, now)
        self.lag.append(now - due)
        self.swarm.write(client, framed(client.prefix + self.swarm.codec.edit(step.update)))
        self._at[number] += 1
        return True

    @property
    def _over(self) -> bool:
        return all(at == len(script.steps) for at, script in zip(self._at, self.scripts, strict=True))

    def finish(self) -> None:
        """Send what is left, at the same rate."""
        ends = time.monotonic() + self.order.drain
        while not self._over and time.monotonic() < ends:
            self.pace(time.monotonic() + 0.05)

    def drain(self) -> float:
        """Wait for what is on its way; then compare what there is with what the traces say."""
        took = super().drain()
        if not self._over:
            self.tally.faults.lost += 1  # an author waits for what never came
        newcomers = [self.swarm.client(f"trace-{self.order.seed}-{number}", there[0].token)
                     for number, there in enumerate(self.clients)]  # fmt: skip
        for client in newcomers:
            client.heard = []
        self.swarm.connect_all(newcomers)
        self.swarm.run(time.monotonic() + 0.1)
        for script, there, newcomer in zip(self.scripts, self.clients, newcomers, strict=True):
            for client in (there[-1], newcomer):
                heard = b"".join(client.heard or ())
                self.tally.faults.differing += text_of(self.swarm.codec.updates(heard)) != script.text
        return took


def replaying(order: Order) -> dict[str, Any]:
    """Replay the order's scripts. Raises TimeoutError."""
    scripts = [load(Path(each)) for each in order.scripts]
    attribution = Attribution()
    for number, script in enumerate(scripts):
        attribution.add(number, script.edits)
    with Swarm(order.target, len(scripts) * AUTHORS, attribution) as swarm:
        result = measured(order, swarm, lambda: Playback(order, scripts, swarm))
    untold = sum(step.number < 0 for script in scripts for step in script.steps)
    return result | {"untold": untold, "transactions": sum(len(script.steps) for script in scripts)}
