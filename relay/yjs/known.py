"""What a room holds of a document: which structs and which deletes, without the document."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

from relay.errors import Malformed
from relay.yjs.lib0 import MAX_UINT, read_uint, write_uint
from relay.yjs.ranges import Ranges, decode_ranges, encode_ranges
from relay.yjs.update import Layout
from relay.yjs.vector import encode_vector

__all__ = ["Known", "spans", "summary"]

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

    def add(self, layout: Layout) -> bool:
        """Record what `layout` holds; True if any of its structs or deletes was not there yet."""
        fresh = False
        clocks = self._clocks
        for client, structs in layout.structs.items():
            have = before = clocks.get(client, 0)
            for clock, length, _, _ in structs:
                if clock <= have:
                    if clock + length > have:
                        have = clock + length
                else:
                    beyond = self._beyond.get(client)
                    if beyond is None:
                        beyond = self._beyond[client] = Ranges()
                    if beyond.add(clock, length):
                        fresh = True
            if have != before:
                fresh = True
                self._encoded = None
                if client in self._beyond:
                    have = self._pass(client, have)
                clocks[client] = have
        if layout.deletes and self._add_deletes(layout):
            fresh = True
        return fresh

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

    def _add_range(self, client: int, start: int, length: int) -> None:
        have = self._clocks.get(client, 0)
        if start > have:
            self._beyond.setdefault(client, Ranges()).add(start, length)
        elif start + length > have:
            have = start + length
            self._clocks[client] = self._pass(client, have) if client in self._beyond else have
            self._encoded = None

    def _add_deletes(self, layout: Layout) -> bool:
        # A reconnecting client repeats its whole delete set: the same bytes, since all write it in the same order.
        if self._deletes_encoded == layout.update[layout.deletes_at :]:
            return False
        self._decode()
        fresh = False
        deletes = self._deletes
        for client, ranges in layout.deletes.items():
            known = deletes.get(client)
            if known is None:
                known = deletes[client] = Ranges()
            for clock, length in ranges:
                if known.add(clock, length):
                    fresh = True
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
