"""One item's bytes: where its head ends, and how it is cut in two the way Yjs cuts it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from relay.yjs.lib0 import read_uint, skip_any, write_bytes, write_client, write_uint

__all__ = [
    "ANY",
    "DELETED",
    "FLAGS",
    "GC",
    "JSON",
    "KEYED",
    "ORIGIN",
    "REF",
    "RIGHT",
    "SKIP",
    "STRING",
    "TYPE",
    "Head",
    "cut",
    "cuts",
    "head_within",
    "read_head",
    "split_content",
    "split_text",
]

GC, DELETED, JSON, STRING, TYPE, ANY, SKIP = 0, 1, 2, 4, 7, 8, 10
"""Low five bits of the info byte. The others (binary, embed, format, subdocument) are of length 1 and never cut."""

ORIGIN, RIGHT, KEYED = 0x80, 0x40, 0x20
REF, FLAGS = 0x1F, 0xE0


class Head(NamedTuple):
    """info byte, origin and right origin (client, clock) or None, then byte offsets: of the right origin, of what
    comes after it (the parent, when there is neither), and of the content.
    """

    info: int
    origin: tuple[int, int] | None
    right: tuple[int, int] | None
    right_at: int
    parent_at: int
    content_at: int


def read_head(data: bytes, at: int) -> Head:
    """The head of the item at `at` in a checked update. Not for GC and Skip."""
    info = data[at]
    at += 1
    origin = right = None
    if info & ORIGIN:
        client, at = read_uint(data, at)
        clock, at = read_uint(data, at)
        origin = (client, clock)
    right_at = at
    if info & RIGHT:
        client, at = read_uint(data, at)
        clock, at = read_uint(data, at)
        right = (client, clock)
    parent_at = at
    if not info & (ORIGIN | RIGHT):
        named, at = read_uint(data, at)
        if named == 1:
            at = _skip(data, at)
        else:
            _, at = read_uint(data, at)
            _, at = read_uint(data, at)
        if info & KEYED:
            at = _skip(data, at)
    return Head(info, origin, right, right_at, parent_at, at)


def cut(data: bytes, start: int, end: int, client: int, clock: int, offset: int, length: int) -> bytes:
    """Of the struct in `data[start:end]` at `clock`, the `length` clocks from `offset` on, as a struct of its own."""
    (part,) = cuts(data, start, end, client, clock, ((clock + offset, length),))
    return part


def cuts(data: bytes, start: int, end: int, client: int, clock: int, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Of the struct in `data[start:end]` at `clock`, the (clock, length) `ranges`, each as a struct of its own. They
    ascend and don't touch. Reads the contents once, however many there are.

    As Yjs splits: the right part's origin is the clock before it, its right origin the whole item's; half a surrogate
    pair becomes U+FFFD on either side of the cut.
    """
    info = data[start]
    if info in (GC, SKIP):
        return [bytes((info,)) + write_uint(length) for _, length in ranges]
    head = read_head(data, start)
    marks = [mark - clock for fro, length in ranges for mark in (fro, fro + length)]
    contents = split_content(info & REF, data, head.content_at, end, marks)[::2]
    return [
        (data[start : head.content_at] if fro == clock else head_within(data, head, client, fro)) + content
        for (fro, _), content in zip(ranges, contents)
    ]


def head_within(data: bytes, head: Head, client: int, clock: int) -> bytes:
    """The head of the part of an item that begins at `clock`, which is not the item's first.

    An item with an origin says nothing of its parent: it has its origin's.
    """
    right = data[head.right_at : head.parent_at]
    return bytes((head.info | ORIGIN,)) + write_client(client) + write_uint(clock - 1) + right


def split_content(ref: int, data: bytes, at: int, end: int, marks: Sequence[int]) -> list[bytes]:
    """The contents of the parts [marks[0], marks[1]), [marks[1], marks[2]) .. of the content in `data[at:end]`."""
    if ref == DELETED:
        return [write_uint(to - fro) for fro, to in pairwise(marks)]
    if ref == STRING:
        _, at = read_uint(data, at)
        return [write_bytes(text) for text in split_text(data[at:end], marks)]
    if ref != ANY and ref != JSON:
        raise ValueError(f"content {ref} has length 1")
    _, at = read_uint(data, at)
    skip = skip_any if ref == ANY else _skip
    parts = []
    for _ in range(marks[0]):
        at = skip(data, at)
    for fro, to in pairwise(marks):
        first = at
        for _ in range(fro, to):
            at = skip(data, at)
        parts.append(write_uint(to - fro) + data[first:at])
    return parts


def split_text(text: bytes, marks: Sequence[int]) -> list[bytes]:
    """The parts of a UTF-8 text between `marks`, in UTF-16 units; a half surrogate pair becomes U+FFFD, as in Yjs."""
    if text.isascii():
        return [text[fro:to] for fro, to in pairwise(marks)]
    units = text.decode().encode("utf-16-le")
    return [units[2 * fro : 2 * to].decode("utf-16-le", "replace").encode() for fro, to in pairwise(marks)]


def _skip(data: bytes, at: int) -> int:
    size, at = read_uint(data, at)
    return at + size
