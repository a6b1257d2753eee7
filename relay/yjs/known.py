"""What a room holds of a document: which structs and which deletes, without the document.

It decides what a room takes: of two contents for one (client, clock) the first, as in every reader that had it. What is
held is cut out of what comes later, before that is passed on, journalled or stored; so nobody who comes later is given
the other one. That is decided in each relay by itself: of two relays that take conflicting contents at the same moment,
each shows its own to whoever is there, and a later reader gets the one that is first in the journal.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

from relay.errors import Malformed
from relay.yjs.lib0 import MAX_UINT, read_uint, write_uint
from relay.yjs.merge import Piece, join, parts, write_deletes
from relay.yjs.ranges import Ranges, decode_ranges, encode_ranges
from relay.yjs.update import Layout, Struct, parse
from relay.yjs.vector import encode_vector

__all__ = ["Known", "spans", "summary"]

Range = tuple[int, int]
"""Clock and length."""
STEP = 500
"""Ranges that are taken in at a time."""


def summary(structs: dict[int, Ranges], deletes_at: int) -> bytes:
    """The `clocks` of a segment: where the delete set begins in its state, and the ranges of its structs."""
    return write_uint(deletes_at) + encode_ranges(structs)


def spans(clocks: bytes) -> Iterator[tuple[int, int, int]]:
    """From a summary, for each client: its id, its first clock, and the one after its last. Raises Malformed."""
    _, at = read_uint(clocks, 0)
    clients, at = read_uint(clocks, at)
    for _ in range(clients):
        client, at = read_uint(clocks, at)
        ranges, at = read_uint(clocks, at)
        first, at = read_uint(clocks, at)
        length, at = read_uint(clocks, at)
        end = first + length
        for _ in range(ranges - 1):
            start, at = read_uint(clocks, at)
            length, at = read_uint(clocks, at)
            end = start + length
        yield client, first, end


class Known:
    """Per client the clock up to which every struct is there, the ranges beyond a gap, and the deleted ranges.

    Delete sets of loaded segments stay encoded until a delete has to be compared with them.
    """

    __slots__ = ("_beyond", "_clocks", "_deletes", "_deletes_encoded", "_encoded", "_loaded")

    def __init__(self) -> None:
        self._clocks: dict[int, int] = {}
        self._beyond: dict[int, Ranges] = {}
        self._deletes: dict[int, Ranges] = {}
        self._loaded: list[bytes] = []
        self._encoded: bytes | None = None
        self._deletes_encoded: bytes | None = b"\0"

    def add(self, layout: Layout) -> Layout | None:
        """Record what `layout` holds. Returns what of it was not there yet: `layout` itself when all was new, None when
        nothing was, else what is left when the rest is cut out of its structs and deletes.
        """
        clocks = self._clocks
        taken: dict[int, list[Piece]] | None = None
        for client, structs in layout.structs.items():
            have = before = clocks.get(client, 0)
            if client not in self._beyond:
                for clock, length, _, _ in structs:
                    if clock != have:
                        break
                    have += length
                else:
                    if have != before:
                        clocks[client] = have
                        self._encoded = None
                        continue
            pieces = self._take(layout.update, client, structs)
            if pieces is not None:
                if taken is None:
                    taken = {}
                taken[client] = pieces
        deletes = self._add_deletes(layout) if layout.deletes else layout.deletes
        if taken is None and deletes is layout.deletes:
            return layout if layout.structs or deletes else None
        return self._left(layout, taken or {}, deletes)

    def holds(self, layout: Layout) -> bool:
        """Whether `add` would find nothing new; records nothing."""
        for client, structs in layout.structs.items():
            if not all(self._has(client, clock, length) for clock, length, _, _ in structs):
                return False
        return not layout.deletes or self._deleted(layout.deletes)

    def covers(self, clocks: bytes, state: bytes) -> bool:
        """As `holds`, for an update by its summary: whether `load` would bring nothing new. Raises Malformed."""
        deletes_at, at = read_uint(clocks, 0)
        for client, ranges in decode_ranges(clocks, at)[0].items():
            if not all(self._has(client, start, length) for start, length in ranges):
                return False
        deletes = state[deletes_at:]
        return deletes in (b"\0", self._deletes_encoded) or self._deleted(decode_ranges(deletes)[0])

    def shared(self, clocks: bytes) -> bytes | None:
        """What is held of the clients of an update, by its summary: a summary as well, for an `add` in another process.
        None when the update has no struct that is here already, so that there is nothing to cut. Raises Malformed.
        """
        held: dict[int, Ranges] = {}
        overlap = False
        for client, ranges in decode_ranges(clocks, read_uint(clocks, 0)[1])[0].items():
            have, beyond = self._clocks.get(client, 0), self._beyond.get(client)
            if not have and beyond is None:
                continue
            held[client] = Ranges([(0, have), *(beyond or ())])
            overlap = overlap or any(held[client].missing(*each) != [each] for each in ranges)
        return summary(held, 1) if overlap else None

    def _has(self, client: int, clock: int, length: int) -> bool:
        have = self._clocks.get(client, 0)
        if clock + length <= have:
            return True
        beyond = self._beyond.get(client)
        start = max(clock, have)
        return beyond is not None and beyond.covers(start, clock + length - start)

    def _deleted(self, deletes: Mapping[int, Iterable[tuple[int, int]]]) -> bool:
        self._decode()
        for client, ranges in deletes.items():
            known = self._deletes.get(client)
            if known is None or not all(known.covers(clock, length) for clock, length in ranges):
                return False
        return True

    def load(self, clocks: bytes, state: bytes) -> None:
        """Take in a segment by its summary. Raises Malformed when they can't belong together."""
        for _ in self.loading(clocks, state):
            pass

    def loading(self, clocks: bytes, state: bytes) -> Iterator[None]:
        """`load` in steps of about a millisecond, for whoever has others to serve between them."""
        deletes_at, at = read_uint(clocks, 0)
        if deletes_at >= len(state):
            raise Malformed("summary does not fit its state")
        clients, at = read_uint(clocks, at)
        taken = 0
        for _ in range(clients):
            client, at = read_uint(clocks, at)
            ranges, at = read_uint(clocks, at)
            for _ in range(ranges):
                start, at = read_uint(clocks, at)
                length, at = read_uint(clocks, at)
                if start + length > MAX_UINT:
                    raise Malformed(f"clock beyond 2**53 before {at}")
                self._add_range(client, start, length)
                taken += 1
                if taken % STEP == 0:
                    yield
        if at != len(clocks):
            raise Malformed("summary does not fit its state")
        deletes = state[deletes_at:]
        if deletes != b"\0":
            self._deletes_encoded = deletes if not self._loaded and not self._deletes else None
            self._loaded.append(deletes)

    def vector(self) -> dict[int, int]:
        """Per client the clock up to which nothing is missing."""
        return dict(self._clocks)

    def encoded_vector(self) -> bytes:
        """`vector`, encoded."""
        if self._encoded is None:
            self._encoded = encode_vector(self._clocks)
        return self._encoded

    @property
    def has_gaps(self) -> bool:
        """Whether structs are held that come after missing ones."""
        return bool(self._beyond)

    def deletes_encoded(self) -> bytes:
        """The whole delete set as an update ends with it: `b"\\0" + deletes_encoded()` is an update of deletes."""
        if self._deletes_encoded is None:
            self._decode()
            self._deletes_encoded = encode_ranges(self._deletes)
        return self._deletes_encoded

    def _pass(self, client: int, have: int) -> int:
        """Where `client` gets to from clock `have` through what is held beyond, which is no longer beyond then."""
        beyond = self._beyond[client]
        starts, ends = beyond.starts, beyond.ends
        passed = bisect_right(starts, have)
        if passed:
            have = max(have, ends[passed - 1])
            del starts[:passed]
            del ends[:passed]
        if not starts:
            del self._beyond[client]
        return have

    def _take(self, update: bytes, client: int, structs: list[Struct]) -> list[Piece] | None:
        """Record `structs`, some of which may be here or come after a gap; the pieces of them that were not here, None
        when that is all."""
        pieces: list[Piece] = []
        whole = bool(structs)
        for clock, length, start, end in structs:
            have, beyond = self._clocks.get(client, 0), self._beyond.get(client)
            fro = max(clock, have)
            left = clock + length - fro
            missing = [(fro, left)] if beyond is None and left > 0 else beyond.missing(fro, left) if beyond else []
            whole = whole and missing == [(clock, length)]
            if missing:
                pieces += parts(client, (clock, length, update, start, end), missing)
                self._add_range(client, clock, length)
        return None if whole else pieces

    def _left(self, layout: Layout, taken: dict[int, list[Piece]], deletes: dict[int, list[Range]]) -> Layout | None:
        """Of `layout` the pieces `taken` of clients that had some of it, and `deletes`."""
        data = layout.update
        pieces = dict(taken)
        for client, structs in layout.structs.items():
            if client not in taken:
                pieces[client] = [(clock, length, data, start, end) for clock, length, start, end in structs]
        if not deletes and not any(pieces.values()):
            return None
        return parse(join(pieces, write_deletes([deletes])))

    def _add_range(self, client: int, start: int, length: int) -> None:
        have = self._clocks.get(client, 0)
        if start > have:
            self._beyond.setdefault(client, Ranges()).add(start, length)
        elif start + length > have:
            have = start + length
            self._clocks[client] = self._pass(client, have) if client in self._beyond else have
            self._encoded = None

    def _add_deletes(self, layout: Layout) -> dict[int, list[Range]]:
        """Record its delete set; the ranges that were not all there yet, its own when none was."""
        # A reconnecting client repeats its whole delete set: the same bytes, since all write it in the same order.
        if self._deletes_encoded == layout.update[layout.deletes_at :]:
            return {}
        self._decode()
        there: dict[int, set[int]] | None = None
        deletes = self._deletes
        for client, ranges in layout.deletes.items():
            known = deletes.get(client)
            if known is None:
                known = deletes[client] = Ranges()
            for number, (clock, length) in enumerate(ranges):
                if not known.add(clock, length):
                    if there is None:
                        there = {}
                    there.setdefault(client, set()).add(number)
        fresh = layout.deletes if there is None else _without(layout.deletes, there)
        if fresh:
            self._deletes_encoded = None
        return fresh

    def _decode(self) -> None:
        for deletes in self._loaded:
            decoded, _ = decode_ranges(deletes)
            for client, ranges in decoded.items():
                known = self._deletes.setdefault(client, ranges)
                if known is not ranges:
                    for start, length in ranges:
                        known.add(start, length)
        self._loaded.clear()


def _without(deletes: Mapping[int, list[Range]], numbers: Mapping[int, set[int]]) -> dict[int, list[Range]]:
    """`deletes` but for the ranges with these numbers."""
    left = {
        client: [each for number, each in enumerate(ranges) if number not in numbers.get(client, ())]
        for client, ranges in deletes.items()
    }
    return {client: ranges for client, ranges in left.items() if ranges}
