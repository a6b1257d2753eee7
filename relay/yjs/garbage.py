"""Which structs lie inside a deleted type: Yjs collects those whole, ids and all.

Their own position no longer matters to anyone, since whatever else is put there is inside the deleted type too. An
item's parent is written only where it has no neighbours; otherwise it is its origin's (or else its right origin's).
"""

from bisect import bisect_right
from collections.abc import Mapping

from relay.yjs.item import DELETED, GC, ORIGIN, REF, RIGHT, read_head
from relay.yjs.lib0 import read_uint, write_client, write_uint
from relay.yjs.merge import Piece
from relay.yjs.ranges import Ranges

__all__ = ["collect"]

Id = tuple[int, int]
ROOT: Id = (-1, 0)
"""The parent of what lies in no item, and of what can't be told because something before it is missing."""
COLLECTED: Id = (-1, 1)
"""The parent of what is collected already, and so of what names it as a neighbour."""


def collect(pieces: Mapping[int, list[Piece]], deletes: dict[int, Ranges]) -> dict[int, bytearray]:
    """Per client one flag for each of its pieces, 1 for what is collected; no flags where nothing is.

    Adds to `deletes` what the structs themselves say is deleted.
    """
    nested = False
    for client, found in pieces.items():
        known = deletes.get(client)
        for clock, length, data, start, _ in found:
            info = data[start]
            if info & REF <= DELETED:
                if known is None:
                    known = deletes[client] = Ranges()
                known.add(clock, length)
            elif not info & (ORIGIN | RIGHT) and data[start + 1] != 1:
                nested = True
    if not nested:
        # Nothing names an item as its parent, as in every plain text.
        return {}
    family = _Family(pieces, deletes)
    flags: dict[int, bytearray] = {}
    for client, found in pieces.items():
        marks = bytearray(len(found))
        parents = family.parents[client]
        for number, (clock, length, *_) in enumerate(found):
            if family.buried(parents[number] or family.parent(client, number)):
                marks[number] = 1
                deletes.setdefault(client, Ranges()).add(clock, length)
        if any(marks):
            flags[client] = marks
    return flags


class _Family:
    """Parents of pieces, found by following neighbours; each piece is visited once."""

    def __init__(self, pieces: Mapping[int, list[Piece]], deletes: Mapping[int, Ranges]) -> None:
        self.pieces = pieces
        self.deletes = deletes
        self.clocks = {client: [piece[0] for piece in found] for client, found in pieces.items()}
        self.parents: dict[int, list[Id | None]] = {client: [None] * len(found) for client, found in pieces.items()}
        self.graves: dict[Id, bool] = {ROOT: False, COLLECTED: True}

    def parent(self, client: int, number: int) -> Id:
        """The id of the item that piece `number` of `client` lies in, or ROOT or COLLECTED."""
        path: list[tuple[list[Id | None], int]] = []
        while True:
            parents = self.parents[client]
            answer = parents[number]
            if answer is not None:
                break
            # Only forged updates refer in a circle; this ends it.
            parents[number] = ROOT
            path.append((parents, number))
            clock, _, data, start, _ = self.pieces[client][number]
            if data[start] == GC:
                answer = COLLECTED
                break
            if (
                number
                and data[start] & ORIGIN
                and data.startswith(write_client(client) + write_uint(clock - 1), start + 1)
                and (before := self.pieces[client][number - 1])[0] + before[1] == clock
            ):
                number -= 1
                continue
            head = read_head(data, start)
            neighbour = head.origin or head.right
            if neighbour is None:
                answer = _written(data, head.parent_at)
                break
            found = self.find(neighbour)
            if found is None:
                answer = ROOT
                break
            client, number = found
        for parents, number in path:
            parents[number] = answer
        return answer

    def buried(self, item: Id) -> bool:
        """Whether the item is collected, deleted, or inside one that is."""
        path: list[Id] = []
        while (answer := self.graves.get(item)) is None:
            self.graves[item] = False
            path.append(item)
            client, clock = item
            found = self.find(item)
            if found is None:
                answer = False
                break
            known = self.deletes.get(client)
            if known is not None and known.covers(clock, 1):
                answer = True
                break
            item = self.parent(*found)
        for item in path:
            self.graves[item] = answer
        return answer

    def find(self, item: Id) -> tuple[int, int] | None:
        """The client and number of the piece that holds the id."""
        client, clock = item
        clocks = self.clocks.get(client)
        if clocks is None:
            return None
        number = bisect_right(clocks, clock) - 1
        if number < 0 or clock >= clocks[number] + self.pieces[client][number][1]:
            return None
        return client, number


def _written(data: bytes, at: int) -> Id:
    """The parent that an item's head spells out."""
    named, at = read_uint(data, at)
    if named == 1:
        return ROOT
    client, at = read_uint(data, at)
    clock, _ = read_uint(data, at)
    return client, clock
