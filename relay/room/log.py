"""What was typed: the stored segments, then every flush since, in journal order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from relay.snapshot import Segment

if TYPE_CHECKING:
    from relay.journal import Entry
    from relay.room.fanout import Group
    from relay.room.member import Member
    from relay.types import Edit, NodeId, Position

__all__ = ["Flush", "Log", "Stored"]


class Flush:
    """The edits of one tick. `payloads` are the updates members got; `position` is None until the journal has it.

    writers: who made each edit; authors: members owed an acknowledgement, with how many; frames: what the others got,
    for the authors' echo. All three are let go once paid.
    """

    __slots__ = (
        "authors",
        "edits",
        "frames",
        "node",
        "number",
        "payloads",
        "position",
        "queued",
        "size",
        "told",
        "writers",
    )

    def __init__(
        self,
        number: int,
        edits: list[Edit],
        payloads: list[bytes],
        writers: list[Member],
        authors: dict[Member, int],
    ) -> None:
        self.number = number
        self.edits = edits
        self.payloads = payloads
        self.writers = writers
        self.authors = authors
        self.frames: dict[Group, bytes] = {}
        self.position: Position | None = None
        self.node: NodeId | None = None  # which other relay process put it into the journal
        self.size = len(edits[0].update) if len(edits) == 1 else sum([len(edit.update) for edit in edits])
        self.queued = 0.0  # `perf_counter` when it was given to the journal
        self.told = False  # authors got the others' edits early, because the journal is away

    def of_others(self, member: Member) -> list[bytes]:
        """The edits that `member` did not make. Once the flush was saved that is not known any more: all of them."""
        if not self.writers:
            return self.payloads
        return [edit.update for edit, writer in zip(self.edits, self.writers, strict=True) if writer is not member]


class Stored:
    """A segment of the snapshot, and the number of the last flush in it (0: from before the room was loaded)."""

    __slots__ = ("number", "segment")

    def __init__(self, segment: Segment, number: int) -> None:
        self.segment = segment
        self.number = number


class Log:
    """Segments and flushes. Flush numbers count up from 1 in one loaded room; they order deliveries to members."""

    __slots__ = ("flushes", "saved", "segments", "size", "tail_cache", "tail_size")

    def __init__(self, segments: Sequence[Segment] = ()) -> None:
        self.segments: list[Stored] = [Stored(segment, 0) for segment in segments]
        self.flushes: list[Flush] = []  # no deque: an empty one takes 700 bytes, and most rooms are at rest
        self.tail_size = 0
        self.saved = 0  # how many of the first flushes the journal has
        self.size = sum(len(segment.state) for segment in segments)
        self.tail_cache: tuple[int, list[bytes]] | None = None  # the newest flush in it, and updates

    def append(self, flush: Flush) -> None:
        self.flushes.append(flush)
        self.tail_size += flush.size
        self.size += flush.size

    def reopen(self, entries: Sequence[Entry]) -> None:
        """The stream holds `entries`: what of them was saved before is where they are now, and what else was saved it
        has forgotten."""
        # An epoch that was begun from outside keeps the ids of the entries it took over.
        there = {entry.position[1:]: entry for entry in entries}
        kept: list[Flush] = []
        lost: list[Flush] = []
        for flush in islice(self.flushes, self.saved):
            entry = there.get(flush.position[1:]) if flush.position else None
            same = entry is not None and entry.edits == tuple(flush.edits)
            flush.position = entry.position if entry is not None and same else None
            (kept if same else lost).append(flush)
        self.flushes[: self.saved] = kept + lost
        self.saved = len(kept)

    def upto(self) -> Position | None:
        """Where the stored segments end."""
        return self.segments[-1].segment.upto if self.segments else None

    def absorb(self, flush: Flush) -> None:
        """Put in a flush that the journal has already, behind all such."""
        self.flushes.insert(self.saved, flush)
        self.saved += 1
        self.tail_size += flush.size
        self.size += flush.size

    def journalled(self, upto: Position | None = None) -> list[Flush]:
        """The flushes that a snapshot may take in: those the journal has (at or before `upto`), up to the first that it
        has not."""
        saved = islice(self.flushes, self.saved)
        return [flush for flush in saved if upto is None or (flush.position is not None and flush.position <= upto)]

    def stored(self, position: Position) -> bool:
        """Whether that place in the journal is one that the segments claim to hold."""
        upto = self.upto()
        return upto is not None and position.epoch == upto.epoch and position <= upto

    def let_go_of_stored(self) -> None:
        """Drop flushes that the segments hold: read back and stored before the answer to their append came."""
        taken = {flush.number for flush in self.journalled() if flush.position and self.stored(flush.position)}
        if taken:
            self.drop(taken)

    def drop(self, numbers: set[int]) -> None:
        """Let go of these flushes."""
        self.saved -= sum(flush.number in numbers for flush in islice(self.flushes, self.saved))
        self.flushes = [flush for flush in self.flushes if flush.number not in numbers]
        self.tail_size = sum(flush.size for flush in self.flushes)
        self.size = self.tail_size + sum(len(stored.segment.state) for stored in self.segments)
        self.tail_cache = None

    def unsaved(self) -> Iterator[Flush]:
        """The flushes that the journal does not have (yet)."""
        return islice(self.flushes, self.saved, None)

    def saved_positions(self) -> set[Position]:
        """Where the journal said it put the flushes that no segment holds."""
        return {flush.position for flush in self.flushes if flush.position is not None}

    def after(self, number: int) -> tuple[list[Segment], list[Flush]]:
        """All that a member lacks who has the flushes up to `number`; a merged segment may repeat some of them."""
        return (
            [stored.segment for stored in self.segments if stored.number > number],
            [flush for flush in self.flushes if flush.number > number],
        )

    def replace(self, kept: int, segments: Sequence[Segment], number: int = 0) -> None:
        """Put `segments` behind the first `kept` ones; they hold what followed those and all that the journal has up to
        where the last of them ends. `number`: under which they deliver what never was a flush here."""
        taken = {flush.number for flush in self.journalled(segments[-1].upto)}
        # Not always the last one's: what another relay wrote may be stored before earlier flushes of ours.
        number = max([number, *taken, *(stored.number for stored in self.segments[kept:])])
        self.drop(taken)
        del self.segments[kept:]
        self.segments += [Stored(segment, number) for segment in segments]
        self.size = self.tail_size + sum(len(stored.segment.state) for stored in self.segments)
