"""How somebody writes, in figures: measured in an editing trace, so that others like it can be made.

    python -m benchmarks.compare.habits TRACE.json.gz ...    writes benchmarks/traces/NAME.json

A transaction belongs to a run as long as its author goes on doing the same at the same place: typing, deleting
backwards, deleting forwards, or replacing what is selected. Measured are the runs (how long, what comes behind which,
whether the cursor goes elsewhere between them, and how far), what a transaction of each kind inserts and deletes, and,
of several authors, who is how long at it while others wait, and how far behind the others they were. None of the text.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.compare.traces import Patch, Trace, Transaction, read

__all__ = [
    "BACK",
    "FORWARD",
    "PROFILES",
    "REPLACE",
    "TYPE",
    "Author",
    "Habit",
    "Profile",
    "Sizes",
    "measured",
    "profile",
]

PROFILES = Path(__file__).parent.parent / "traces"
POINTS = 100
"""Of a distribution: the middles of so many equal shares, so that the rarest half percent at either end is cut."""
TYPE, BACK, FORWARD, REPLACE = "type", "back", "forward", "replace"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large something is: 1 in that share of the cases, else any of these."""

    single: float
    larger: tuple[int, ...]

    @classmethod
    def of(cls, values: Sequence[int]) -> "Sizes":
        """Their distribution."""
        return cls(round(sum(v == 1 for v in values) / len(values), 5) if values else 1.0,
                   points([value for value in values if value > 1]))  # fmt: skip

    def draw(self, random: Random) -> int:
        """One of them."""
        return random.choice(self.larger) if self.larger and random.random() >= self.single else 1


@dataclass(frozen=True, slots=True)
class Habit:
    """A kind of run. length: in transactions; inserted, deleted: characters of each; stays: share of those runs, behind
    one of another kind, that begin where that ended; then: the kind of the next run, with its share."""

    length: Sizes
    inserted: Sizes
    deleted: Sizes
    stays: float
    then: dict[str, float]


@dataclass(frozen=True, slots=True)
class Author:
    """One of a trace. jumps: where the cursor goes, in characters from where it was; places: patches in a transaction;
    burst: transactions before another author has one."""

    transactions: int
    habits: dict[str, Habit]
    jumps: tuple[int, ...]
    places: Sizes
    burst: Sizes


@dataclass(frozen=True, slots=True)
class Profile:
    """A trace. begins: characters of its first transaction; delay: transactions before one is with everybody, which
    makes as many be made without knowing of another's as in the trace."""

    name: str
    authors: tuple[Author, ...]
    begins: int
    delay: int


def points(values: Iterable[int]) -> tuple[int, ...]:
    """POINTS of their distribution, or all of them where they are fewer."""
    ordered = sorted(values)
    if len(ordered) <= POINTS:
        return tuple(ordered)
    return tuple(ordered[int((n + 0.5) / POINTS * len(ordered))] for n in range(POINTS))


class _Watched:
    """An author, while the trace is read."""

    def __init__(self) -> None:
        self.cursor = 0
        self.kind = ""
        self.lengths: dict[str, list[int]] = {}
        self.inserted: dict[str, list[int]] = {}
        self.deleted: dict[str, list[int]] = {}
        self.stays: Counter[tuple[str, bool]] = Counter()
        self.then: dict[str, Counter[str]] = {}
        self.jumps: list[int] = []
        self.places: list[int] = []
        self.bursts: list[int] = []

    def watch(self, transaction: Transaction, shift: int) -> None:
        """It does this; `shift`: by how much what it has got from others may have moved its cursor."""
        patch = transaction.patches[0]
        here = self._kind(patch, self.cursor)
        if not here and shift and self._kind(patch, self.cursor + shift):
            self.cursor += shift
            here = self._kind(patch, self.cursor)
        kind = here or (REPLACE if patch.deleted and patch.inserted else TYPE if patch.inserted else BACK)
        if kind == self.kind and here:
            self.lengths[kind][-1] += 1
        else:
            if self.kind and kind != self.kind:
                self.stays[kind, bool(here)] += 1
            if self.kind:
                self.then.setdefault(self.kind, Counter())[kind] += 1
            if not here and self.kind:
                self.jumps.append(patch.at + (patch.deleted if kind == BACK else 0) - self.cursor)
            self.lengths.setdefault(kind, []).append(1)
        self.kind = kind
        self.inserted.setdefault(kind, []).append(len(patch.inserted))
        self.deleted.setdefault(kind, []).append(patch.deleted)
        self.places.append(len(transaction.patches))
        self.cursor = patch.at + len(patch.inserted)

    @staticmethod
    def _kind(patch: Patch, cursor: int) -> str:
        """What it is, where the cursor was there; "" where it was not."""
        if patch.inserted:
            return (REPLACE if patch.deleted else TYPE) if patch.at == cursor else ""
        if patch.at + patch.deleted == cursor:
            return BACK
        return FORWARD if patch.at == cursor else ""

    def author(self) -> Author:
        """What was seen."""
        habits = {
            kind: Habit(
                Sizes.of(lengths), Sizes.of(self.inserted[kind]), Sizes.of(self.deleted[kind]),
                round(self.stays[kind, True] / max(1, self.stays[kind, True] + self.stays[kind, False]), 4),
                _shares(self.then.get(kind) or Counter({TYPE: 1})),
            )
            for kind, lengths in self.lengths.items()
        }  # fmt: skip
        return Author(len(self.places), habits, points(self.jumps), Sizes.of(self.places), Sizes.of(self.bursts))


def _shares(counted: Counter[str]) -> dict[str, float]:
    whole = counted.total()
    return {kind: round(count / whole, 4) for kind, count in sorted(counted.items())}


def measured(trace: Trace) -> Profile:
    """The figures of a trace."""
    watched = [_Watched() for _ in range(trace.agents)]
    versions: list[tuple[int, ...]] = []  # behind each transaction, how many of each author's
    of: list[list[int]] = [[] for _ in range(trace.agents)]
    known = [[0] * trace.agents for _ in range(trace.agents)]
    unaware = 0
    gaps: list[int] = []
    last = -1
    for number, transaction in enumerate(trace.transactions):
        agent = transaction.agent
        version = list(known[agent])
        for parent in transaction.parents:
            version = [max(pair) for pair in zip(version, versions[parent])]
        shift = 0
        missing = 0
        for other, (had, has) in enumerate(zip(known[agent], version)):
            if other != agent:
                for each in of[other][had:has]:
                    shift += sum(len(p.inserted) - p.deleted for p in trace.transactions[each].patches)
                missing += len(of[other]) - has
        unaware += missing > 0
        gaps.append(number - max((mine[-1] for other, mine in enumerate(of) if other != agent and mine), default=-1))
        if number:
            watched[agent].watch(transaction, shift)
        of[agent].append(number)
        version[agent] = len(of[agent])
        known[agent] = version
        versions.append(tuple(version))
        if agent == last:
            watched[agent].bursts[-1] += 1
        else:
            watched[agent].bursts.append(1)
        last = agent
    begins = sum(len(patch.inserted) for patch in trace.transactions[0].patches)
    delay = sorted(gaps)[max(0, unaware - 1)] if unaware else 0  # with it, as many are unaware of another's
    return Profile(trace.name, tuple(each.author() for each in watched), begins, delay)


def profile(name: str) -> Profile:
    """One that is shipped."""
    said = json.loads((PROFILES / f"{name}.json").read_text())
    return Profile(said["name"], tuple(map(_author, said["authors"])), said["begins"], said["delay"])


def _author(said: dict[str, Any]) -> Author:
    habits = {
        kind: Habit(_sizes(h["length"]), _sizes(h["inserted"]), _sizes(h["deleted"]), h["stays"], h["then"])
        for kind, h in said["habits"].items()
    }
    return Author(
        said["transactions"], habits, tuple(said["jumps"]), _sizes(said["places"]), _sizes(said["burst"])
    )  # fmt: skip


def _sizes(said: dict[str, Any]) -> Sizes:
    return Sizes(said["single"], tuple(said["larger"]))


def main() -> None:
    """Measure the traces that are named."""
    for name in sys.argv[1:]:
        found = measured(read(Path(name)))
        (PROFILES / f"{found.name}.json").write_text(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
