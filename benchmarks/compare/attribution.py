"""Which edits the characters and the deletions in an update are, where an edit is more than a letter.

An edit of a trace is one update: it inserts a range of its author's clocks, deletes characters by their ids, or both.
What it deletes tells as well that it is here, for no other edit deletes those characters; where two do at once, a
server may rightly pass on one of them alone, and neither is told by them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.compare.updates import Ranges, Unreadable

__all__ = ["Attribution", "Edit"]

_Key = tuple[int, int, int]
"""Room, writer, number."""


class Edit(NamedTuple):
    """writer, number: whose it is, and which of that one's edits, from 0; inserted, deleted: what it is told by."""

    writer: int
    number: int
    inserted: Ranges
    deleted: Ranges


class Attribution:
    """Of all the edits that are made in a swarm. No client id is in two rooms."""

    def __init__(self) -> None:
        self._inserted: dict[tuple[int, int], tuple[int, _Key]] = {}
        """(client, clock) that an insertion begins with: the clock behind it."""
        self._deleted: dict[tuple[int, int], _Key] = {}
        """(client, clock) of a character."""
        self._size: dict[_Key, int] = {}

    def add(self, room: int, edits: Sequence[Edit]) -> None:
        """These are made in that room."""
        for edit in edits:
            key = (room, edit.writer, edit.number)
            for client, clock, end in edit.inserted:
                self._inserted[client, clock] = (end, key)
            for client, clock, end in edit.deleted:
                for each in range(clock, end):
                    self._deleted[client, each] = key
            self._size[key] = sum(end - clock for _, clock, end in (*edit.inserted, *edit.deleted))

    def found(self, inserted: Ranges, deleted: Ranges) -> Ranges:
        """(writer, first edit, edit behind the last) of what an update brings; deletions of nobody's are passed over.
        Raises Unreadable where it brings half an edit, or an insertion that nobody made."""
        here: Counter[_Key] = Counter()
        for client, clock, end in inserted:
            while clock < end:
                behind, key = self._inserted.get((client, clock), (0, (-1, -1, -1)))
                if not clock < behind <= end:
                    raise Unreadable(f"nobody inserted {clock} to {end} of {client}")
                here[key] += behind - clock
                clock = behind
        for client, clock, end in deleted:
            for each in range(clock, end):
                one = self._deleted.get((client, each))
                if one is not None:
                    here[one] += 1
        edits: Ranges = []
        for key in sorted(here):
            if here[key] != self._size[key]:
                raise Unreadable(f"{here[key]} of {self._size[key]} characters of an edit")
            _, writer, number = key
            if edits and edits[-1][0] == writer and edits[-1][2] == number:
                edits[-1] = (writer, edits[-1][1], number + 1)
            else:
                edits.append((writer, number, number + 1))
        return edits
