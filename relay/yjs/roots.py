"""The root types of a document, and what each was used as: updates name roots, but do not say their types.

An item without origins names its parent; one with an origin has its origin's parent. So each item is followed to the
root it stands in (or to the nested type), and its content tells what that root is.
"""

from bisect import bisect_right
from typing import Literal, NamedTuple

from relay.yjs.item import DELETED, GC, KEYED, REF, STRING, TYPE, read_head
from relay.yjs.lib0 import read_bytes, read_uint
from relay.yjs.update import Layout

__all__ = ["Root", "roots"]

Kind = Literal["text", "map", "array", "xml", "unknown"]

EMBED, FORMAT = 5, 6
XML = frozenset((3, 5, 6))
"""Type refs of XmlElement, XmlHook and XmlText."""
NESTED = b"\xff"
"""Stands for "in a nested type"; no root's name, since that is UTF-8."""


class Root(NamedTuple):
    """kind: what its sequence holds, or `map` when it has keys alone, or `unknown` when nothing but deleted items is
    left. keyed: it has keys (entries of a map; attributes of a text or of XML)."""

    kind: Kind
    keyed: bool


class _Items:
    """The items of one client: clocks ascending, where each ends, and its parent's name or the id to ask."""

    __slots__ = ("clocks", "ends", "parents")

    def __init__(self) -> None:
        self.clocks: list[int] = []
        self.ends: list[int] = []
        self.parents: list[bytes | tuple[int, int]] = []


NOTHING = _Items()


def roots(layout: Layout) -> dict[str, Root]:
    """Each root that `layout` has items in. The layout's structs must be disjoint and by clock, as after `compact`."""
    data = layout.update
    clients: dict[int, _Items] = {}
    found: list[tuple[int, int, str]] = []
    for client, structs in layout.structs.items():
        items = clients[client] = _Items()
        for clock, length, start, _ in structs:
            info = data[start]
            if info & REF == GC:
                continue
            head = read_head(data, start)
            parent: bytes | tuple[int, int]
            if (near := head.origin or head.right) is not None:
                parent = near
            else:
                named, at = read_uint(data, head.parent_at)
                parent = read_bytes(data, at)[0] if named == 1 else NESTED
            items.clocks.append(clock)
            items.ends.append(clock + length)
            items.parents.append(parent)
            found.append((client, len(items.clocks) - 1, _evidence(data, info, head.content_at)))
    seen: dict[bytes, set[str]] = {}
    for client, index, evidence in found:
        name = _resolve(clients, client, index)
        if name != NESTED:
            seen.setdefault(name, set()).add(evidence)
    return {name.decode(): _root(evidence) for name, evidence in sorted(seen.items())}


def _evidence(data: bytes, info: int, content_at: int) -> str:
    """What an item's content says of the type it stands in."""
    ref = info & REF
    # Only with neither origin does an item tell its key, but it keeps the flag with them.
    if info & KEYED:
        return "map"
    if ref == DELETED:
        return "unknown"
    if ref in (STRING, EMBED, FORMAT):
        return "text"
    if ref == TYPE and read_uint(data, content_at)[0] in XML:
        return "xml"
    return "array"


def _root(evidence: set[str]) -> Root:
    keyed = "map" in evidence
    # Texts hold types as embeds, arrays hold XML nodes; XML holds nothing else.
    for kind in ("text", "array", "xml", "map"):
        if kind in evidence:
            return Root(kind, keyed)
    return Root("unknown", keyed)


def _resolve(clients: dict[int, _Items], client: int, index: int) -> bytes:
    path: list[tuple[_Items, int]] = []
    name = NESTED
    while True:
        items = clients[client]
        parent = items.parents[index]
        if isinstance(parent, bytes):
            name = parent
            break
        path.append((items, index))
        items.parents[index] = NESTED  # a circle, which only a forged update has, ends here
        client, clock = parent
        if (items := clients.get(client, NOTHING)) is NOTHING:
            break
        index = bisect_right(items.clocks, clock) - 1
        if index < 0 or items.ends[index] <= clock:
            break  # what it follows is missing (then it waits for that) or collected (then so is it)
    for items, index in path:
        items.parents[index] = name
    return name
