"""One small update from many, without touching what is still visible.

What Yjs itself does with a document it stores, done to the bytes: what is held twice is dropped, deleted contents are
replaced by their length, descendants of deleted types by collected clocks (`relay.yjs.garbage`), and runs typed one
character at a time become one item where Yjs would merge them: the right one's origin is the left one's last id, the
right origins are equal, and both are deleted or neither is. Visible contents are moved, never decoded.

Yjs also asks that the two be neighbours in the text. That needs no checking: whatever was inserted between them names
an id inside the run as its origin, and makes every reader split the run there again.
"""

from collections.abc import Sequence
from typing import NamedTuple

from relay.yjs.garbage import collect
from relay.yjs.item import (
    ANY,
    DELETED,
    FLAGS,
    GC,
    JSON,
    ORIGIN,
    REF,
    SKIP,
    STRING,
    head_within,
    read_head,
    split_content,
)
from relay.yjs.known import summary
from relay.yjs.lib0 import read_uint, write_bytes, write_client, write_uint
from relay.yjs.merge import Piece, disjoint
from relay.yjs.ranges import Ranges, encode_ranges
from relay.yjs.update import parse

__all__ = ["Compacted", "compact"]


class Compacted(NamedTuple):
    """state: one Yjs v1 update. clocks: its summary, for `Known.load`."""

    state: bytes
    clocks: bytes


def compact(updates: Sequence[bytes]) -> Compacted:
    """All that `updates` hold, in little room. In log order: of two structs for one clock the earlier is kept.

    Equal inputs give equal bytes; compacting the result again gives the result. Raises Malformed.
    """
    pieces: dict[int, list[Piece]] = {}
    deletes: dict[int, Ranges] = {}
    for update in updates:
        layout = parse(update)
        data = layout.update
        for client, structs in layout.structs.items():
            pieces.setdefault(client, []).extend(
                [(clock, length, data, start, end) for clock, length, start, end in structs]
            )
        for client, ranges in layout.deletes.items():
            known = deletes.setdefault(client, Ranges())
            for clock, length in ranges:
                known.add(clock, length)
    for client, found in pieces.items():
        pieces[client] = disjoint(client, found)
    garbage = collect(pieces, deletes)
    out: list[bytes] = []
    held: dict[int, Ranges] = {}
    for client in sorted((client for client, found in pieces.items() if found), reverse=True):
        section = _Section(client, pieces[client], deletes.get(client), garbage.get(client))
        held[client] = Ranges((clock, length) for clock, length, *_ in pieces[client])
        out += (write_uint(section.count), write_client(client), write_uint(pieces[client][0][0]))
        out += section.out
    state = write_uint(len(held)) + b"".join(out)
    return Compacted(state + encode_ranges(deletes), summary(held, len(state)))


class _Section:
    """One client's structs, written as runs."""

    __slots__ = ("client", "count", "flags", "follow", "head", "kind", "length", "out", "own", "parts", "right")

    def __init__(self, client: int, pieces: list[Piece], deletes: Ranges | None, garbage: bytearray | None) -> None:
        self.client = client
        self.own = write_client(client)
        self.out: list[bytes] = []
        self.count = 0
        # The open run: its content type (-1: none), its first item's flags and head, the flags that a next item must
        # have, the bytes of the right origin, and the contents and clocks so far.
        self.kind = self.flags = self.follow = -1
        self.head = self.right = b""
        self.length = 0
        self.parts: list[bytes] = []
        starts, ends = (deletes.starts, deletes.ends) if deletes is not None else ((), ())
        total = len(starts)
        index = 0
        at = pieces[0][0]
        for number, (clock, length, data, start, end) in enumerate(pieces):
            if clock > at:
                self._collected(SKIP, clock - at)
            at = clock + length
            while index < total and ends[index] <= clock:
                index += 1
            if data[start] == GC or (garbage is not None and garbage[number]):
                self._collected(GC, length)
            elif index == total or starts[index] >= at:
                self._whole(clock, length, data, start, end, False)
            elif starts[index] <= clock and ends[index] >= at:
                self._whole(clock, length, data, start, end, True)
            else:
                marks = [clock]
                deleted = starts[index] <= clock
                last = index
                while last < total and starts[last] < at:
                    marks += (max(starts[last], clock), min(ends[last], at))
                    last += 1
                self._split(data, start, end, sorted({*marks, at}), deleted)
        self._close()

    def _collected(self, kind: int, length: int) -> None:
        if self.kind != kind:
            self._close()
            self.kind, self.follow, self.length = kind, -1, 0
        self.length += length

    def _whole(self, clock: int, length: int, data: bytes, start: int, end: int, deleted: bool) -> None:
        info = data[start]
        kind = DELETED if deleted else info & REF
        if kind == self.kind and info & FLAGS == self.follow:
            prefix = self.own + write_uint(clock - 1) + self.right
            if data.startswith(prefix, start + 1):
                self.length += length
                if kind != DELETED:
                    _, at = read_uint(data, start + 1 + len(prefix))
                    self.parts.append(data[at:end])
                return
        head = read_head(data, start)
        self._open(kind, info, data[start + 1 : head.content_at], data[head.right_at : head.parent_at], length)
        if kind in (STRING, ANY, JSON):
            _, at = read_uint(data, head.content_at)
            self.parts.append(data[at:end])
        elif kind != DELETED:
            self.follow = -1
            self.parts.append(data[head.content_at : end])

    def _split(self, data: bytes, start: int, end: int, marks: list[int], deleted: bool) -> None:
        """An item of which parts are deleted: `marks` are the clocks where that changes, its own first and last too."""
        head = read_head(data, start)
        clock = marks[0]
        offsets = [mark - clock for mark in marks]
        contents = split_content(head.info & REF, data, head.content_at, end, offsets)
        whole = data[start : head.content_at]
        for begin, stop, content in zip(marks, marks[1:], contents):
            part = whole if begin == clock else head_within(data, head, self.client, begin)
            struct = part + content
            self._whole(begin, stop - begin, struct, 0, len(struct), deleted)
            deleted = not deleted

    def _open(self, kind: int, info: int, head: bytes, right: bytes, length: int) -> None:
        self._close()
        self.kind = kind
        self.flags = info & FLAGS
        self.follow = self.flags | ORIGIN
        self.head = head
        self.right = right
        self.length = length

    def _close(self) -> None:
        kind = self.kind
        if kind < 0:
            return
        if kind in (GC, SKIP):
            self.out.append(bytes((kind,)) + write_uint(self.length))
        else:
            contents = b"".join(self.parts)
            if kind == STRING:
                contents = write_bytes(contents)
            elif kind in (DELETED, ANY, JSON):
                contents = write_uint(self.length) + contents
            self.out.append(bytes((self.flags | kind,)) + self.head + contents)
            self.parts = []
        self.kind = -1
        self.count += 1
