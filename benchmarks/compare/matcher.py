"""Is every edit that was sent at every other client, once and in its author's order? And when did it get there?

A writer's edits are the clocks 0, `unit`, 2 x `unit` ... of its client id, so a range of clocks names them however a
server batched, merged or encoded them again. (Those of a trace, which differ in size and may only delete, are numbered
0, 1, 2 ... instead: `attribution` says which ones are in an update.) What is not as it should be is counted in
`Faults`, and fails the run.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, fields

__all__ = ["Faults", "Reader", "Room", "Tally"]


@dataclass(slots=True)
class Faults:
    """Edits, counted once for each reader that they went wrong for."""

    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    unsent: int = 0
    """Read, but never typed."""
    unreadable: int = 0
    """Messages that are no update."""
    cut_off: int = 0
    """Connections that the server closed, or refused."""
    differing: int = 0
    """Rooms whose text is not what it should be at the end."""

    def add(self, more: "Faults") -> None:
        """Count these too."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(more, field.name))

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        said = ((getattr(self, field.name), field.name.replace("_", " ")) for field in fields(self))
        return ", ".join(f"{count} {name}" for count, name in said if count) or "none"


NEVER = 1 << 62


class Tally:
    """What the readers of a run have got. `counting`: within the measured window; `latencies`: seconds, each of an
    edit that was sent within it; `ready`: writers that may go on, where they wait."""

    def __init__(self) -> None:
        self.counting = False
        self.delivered = 0
        self.superseded = 0
        self.latencies = array("d")
        self.faults = Faults()
        self.ready: list[tuple[Room, int]] = []


class Room:
    """The writers of one room and what they have sent.

    unit: clocks of an edit; states: these are cursors (a newer one may come instead of an older one); window: edits
    that a writer may have on their way, where it waits for them (0: it does not wait); start: clock of the first edit.
    """

    def __init__(
        self, writers: int, tally: Tally, *, unit: int = 1, states: bool = False, window: int = 0, start: int = 0
    ) -> None:
        self.tally = tally
        self.unit = unit
        self.states = states
        self.window = window
        self.sent = [start] * writers  # clocks
        self.sent_at = [array("d", [0.0] * (start // unit)) for _ in range(writers)]
        self.first = [NEVER] * writers  # clock that the measured window began with
        self.readers: list[Reader] = []
        self._standing: list[dict[int, int]] = [{start: 0} for _ in range(writers)]  # readers at each clock
        self._slowest = [start] * writers

    def join(self, author: int = -1, tally: Tally | None = None) -> "Reader":
        """One more reader; `author`: the writer that it is itself; `tally`: if its own. All join before the writing."""
        reader = Reader(self, tally or self.tally, author)
        self.readers.append(reader)
        for writer, standing in enumerate(self._standing):
            if writer != author:
                standing[self.sent[writer]] += 1
        return reader

    def send(self, writer: int, now: float) -> int:
        """Note down an edit that is sent now; its clock."""
        clock = self.sent[writer]
        self.sent[writer] = clock + self.unit
        self.sent_at[writer].append(now)
        return clock

    def begin(self) -> None:
        """The measured window begins: edits from now on count."""
        self.first = list(self.sent)

    def on_the_way(self, writer: int) -> int:
        """Edits of a writer that somebody has not got."""
        return (self.sent[writer] - self._slowest[writer]) // self.unit

    def moved(self, writer: int, had: int, end: int) -> None:
        """A reader has got further; where it was the last one, the writer may go on."""
        standing = self._standing[writer]
        standing[end] = standing.get(end, 0) + 1
        left = standing[had] - 1
        if left:
            standing[had] = left
            return
        del standing[had]
        if had == self._slowest[writer]:
            self._slowest[writer] = min(standing)
            self.tally.ready.append((self, writer))

    @property
    def whole(self) -> bool:
        """Whether all is with everybody."""
        return all(
            reader.seen[writer] >= sent and not reader.holes
            for reader in self.readers
            for writer, sent in enumerate(self.sent)
            if writer != reader.author
        )

    def close(self) -> None:
        """Nothing comes any more: what is missing is lost."""
        for reader in self.readers:
            faults = reader.tally.faults
            for writer, sent in enumerate(self.sent):
                if writer != reader.author:
                    faults.lost += max(0, sent - reader.seen[writer]) // self.unit
            faults.lost += sum(end - clock for _, clock, end in reader.holes) // self.unit


class Reader:
    """One client's view: up to which clock it has each writer's edits."""

    __slots__ = ("author", "holes", "room", "seen", "tally")

    def __init__(self, room: Room, tally: Tally, author: int) -> None:
        self.room = room
        self.tally = tally
        self.author = author
        self.seen = list(room.sent)
        self.holes: list[tuple[int, int, int]] = []
        """What it has not got although it has what came later: (writer, first clock, clock behind the last)."""

    def take(self, ranges: Sequence[tuple[int, int, int]], now: float) -> None:
        """It has got these, at `now`: (writer, first clock, clock behind the last), as they came."""
        room = self.room
        tally = self.tally
        seen = self.seen
        unit = room.unit
        for writer, clock, end in ranges:
            if writer == self.author:
                continue
            had = seen[writer]
            if had != clock or end > room.sent[writer]:
                clock, end = self._mend(writer, clock, end)
                if clock == end:
                    continue
                had = seen[writer]
            seen[writer] = end
            if room.window:
                room.moved(writer, had, end)
            if tally.counting:
                tally.delivered += (end - clock) // unit
            first = room.first[writer]
            if end > first:
                sent_at = room.sent_at[writer]
                if room.states:  # the newest is what people see
                    tally.latencies.append(now - sent_at[end // unit - 1])
                elif room.window:  # one sample for what came together: thousands do
                    tally.latencies.append(now - sent_at[max(clock, first) // unit])
                else:
                    for at in range(max(clock, first), end, unit):
                        tally.latencies.append(now - sent_at[at // unit])

    def _mend(self, writer: int, clock: int, end: int) -> tuple[int, int]:
        """What is not the next one: count what is wrong about it; what it still brings, right behind what was seen."""
        room = self.room
        faults = self.tally.faults
        if end > room.sent[writer]:
            faults.unsent += (end - max(clock, room.sent[writer])) // room.unit
            end = max(clock, room.sent[writer])
        had = self.seen[writer]
        if clock > had:
            if room.states:
                self.tally.superseded += clock - had
                return had, end
            if end > clock:
                self.holes.append((writer, had, clock))
            return clock, end
        if room.states:  # a state told again is as good as not told
            faults.disordered += end < had
            return had, max(had, end)
        if clock < had:
            known = min(end, had)
            filled = self._fill(writer, clock, known)
            faults.disordered += filled // room.unit
            faults.doubled += (known - clock - filled) // room.unit
            if self.tally.counting:
                self.tally.delivered += filled // room.unit
            clock = known
        return clock, max(clock, end)

    def _fill(self, writer: int, clock: int, end: int) -> int:
        """Clocks of the range that were missing until now."""
        filled = 0
        left = []
        for hole in self.holes:
            who, start, stop = hole
            low, high = max(start, clock), min(stop, end)
            if who != writer or low >= high:
                left.append(hole)
                continue
            filled += high - low
            left += [(who, *piece) for piece in ((start, low), (high, stop)) if piece[0] < piece[1]]
        self.holes = left
        return filled
