"""Relative positions, as Yjs has them: they name the character they stand at, so they move with it as people type.

An anchor in JSON is {"item": {"client", "clock"}, "assoc"}, or {"type": id} or {"tname": root} for the end of a type
(its start when `assoc` < 0). assoc >= 0: before that character, and stays before it. assoc < 0: after it.

yrs tells no ids, and what it resolves it may resolve into another text. So a character's id is read from the update
that deletes it, and an anchor's place from the event of a marker that an update puts behind the named item.

Source: yjs 13 `src/utils/RelativePosition.js`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import pycrdt

from plugins.documents.content.positions import Positions, utf8_length
from plugins.documents.content.tree import EMBED, BadContent, Fault, Node
from plugins.documents.content.yjs import Element, Opened, Run, guarded, open_document, recorded
from relay.errors import Malformed
from relay.yjs.item import REF, STRING, read_head
from relay.yjs.lib0 import read_bytes, read_uint, write_bytes, write_uint
from relay.yjs.update import Layout, parse

__all__ = ["Anchor", "Place", "Point", "mint", "resolve"]

EMBEDDED = 5
MARKER = 0
"""The client of markers: the least, so that a marker stands right behind what it names."""


class Anchor(NamedTuple):
    """item: a character or element; else type: a nested type; else tname: a root."""

    item: tuple[int, int] | None = None
    type: tuple[int, int] | None = None
    tname: str | None = None
    assoc: int = 0

    @classmethod
    def from_json(cls, value: Any, pointer: str = "") -> "Anchor":
        """Raises BadContent."""
        if not isinstance(value, dict):
            raise BadContent([Fault(pointer, "must be a relative position of Yjs, in JSON")])
        ids = {}
        for key in ("item", "type"):
            found = value.get(key)
            if found is not None:
                if not isinstance(found, dict) or not all(
                    type(found.get(part)) is int and 0 <= found[part] < 2**53 for part in ("client", "clock")
                ):
                    raise BadContent([Fault(f"{pointer}/{key}", "must be an object of `client` and `clock`")])
                ids[key] = (found["client"], found["clock"])
        tname, assoc = value.get("tname"), value.get("assoc", 0)
        if not isinstance(tname, str | None) or type(assoc) is not int or not (ids or tname is not None):
            raise BadContent([Fault(pointer, "must have an `item`, a `type` or a `tname`, and a number as `assoc`")])
        return cls(ids.get("item"), ids.get("type"), tname, assoc)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"assoc": self.assoc}
        if self.item is not None:
            value["item"] = {"client": self.item[0], "clock": self.item[1]}
        elif self.type is not None:
            value["type"] = {"client": self.type[0], "clock": self.type[1]}
        else:
            value["tname"] = self.tname
        return value

    @classmethod
    def decode(cls, data: bytes) -> "Anchor":
        """As `Y.encodeRelativePosition` encodes it. Raises Malformed."""
        try:
            kind, at = read_uint(data, 0)
            if kind == 1:
                raw, at = read_bytes(data, at)
                anchor = cls(tname=raw.decode())
            elif kind in (0, 2):
                client, at = read_uint(data, at)
                clock, at = read_uint(data, at)
                anchor = cls(item=(client, clock)) if kind == 0 else cls(type=(client, clock))
            else:
                raise Malformed(f"unknown kind of relative position {kind}")
            if at < len(data):
                anchor = anchor._replace(assoc=-1 if data[at] & 64 else data[at] & 63)
        except (IndexError, UnicodeDecodeError):
            raise Malformed("relative position cut off") from None
        return anchor

    def encode(self) -> bytes:
        if self.item is not None:
            head = b"\0" + write_uint(self.item[0]) + write_uint(self.item[1])
        elif self.tname is not None:
            head = b"\1" + write_bytes(self.tname.encode())
        else:
            assert self.type is not None
            head = b"\2" + write_uint(self.type[0]) + write_uint(self.type[1])
        return head + (b"\x41" if self.assoc < 0 else bytes((min(self.assoc, 63),)))


class Point(NamedTuple):
    """A place in the content. path: indices of `content` from the document to the block of text (() in a text root).
    offset: in UTF-16 units of the block's text, in which every inline node that is no text counts one."""

    path: tuple[int, ...]
    offset: int


class Place(NamedTuple):
    """Where an anchor points: a point; `deleted` when the character it names is no more, and only its place is left."""

    point: Point
    deleted: bool


# -- minting --


@guarded
def mint(update: bytes, points: Sequence[tuple[Point, int]], root: str | None = None) -> list[Anchor]:
    """An anchor for each point with its `assoc`. Raises Malformed, and BadContent for a point that is nowhere."""
    opened = open_document(update, root)
    wanted = [_wanted(opened, point, assoc, at) for at, (point, assoc) in enumerate(points)]
    found: dict[_Wanted, tuple[Anchor, Anchor]] = {}
    # From the end, so that what is deleted to learn its id stands behind what is asked for next.
    for want in sorted({want._replace(assoc=0) for want in wanted}, key=lambda want: want[:2], reverse=True):
        found[want] = _mint(opened, want)
    return [found[want._replace(assoc=0)][want.assoc < 0] for want in wanted]


class _Wanted(NamedTuple):
    place: tuple[int, ...]
    """Of a Yjs type."""
    offset: int
    """Of the character in it; -1 when it has none."""
    assoc: int
    child: bool
    """The type holds children, and the offset is that of one."""


def _wanted(opened: Opened, point: Point, assoc: int, number: int) -> _Wanted:
    if opened.text is not None:
        if point.path:
            raise BadContent([Fault(f"/{number}/path", "must be empty: this document is plain text")])
        nodes = opened.texts(opened.text.diff())
        return _in_run([((), nodes)], point.offset, assoc, (), number)
    assert opened.root is not None
    element = opened.root
    for depth, index in enumerate(point.path):
        children = _by_index(element)
        child = children[index] if 0 <= index < len(children) else None
        if not isinstance(child, Element):
            raise BadContent([Fault(f"/{number}/path/{depth}", "names no block of the content")])
        element = child
    pieces = []
    for child in element.children:
        if isinstance(child, Run):
            start = child.place[-1]
            for at, handle in enumerate(child.handles):
                pieces.append(((*child.place[:-1], start + at), opened.texts(handle.diff())))
        else:
            pieces.append((child.place, [child.node]))
    return _in_run(pieces, point.offset, assoc, element.place, number)


def _by_index(element: Element) -> "list[Element | Run]":
    """Its children by index of `content`, where each text counts."""
    children: list[Element | Run] = []
    for child in element.children:
        children.extend([child] * len(child.nodes) if isinstance(child, Run) else [child])
    return children


Pieces = Sequence[tuple[tuple[int, ...], list[Node]]]


def _in_run(pieces: Pieces, offset: int, assoc: int, parent: tuple[int, ...], number: int) -> _Wanted:
    """The character right of the offset, or for assoc < 0 left of it; at an end, the one on the other side."""
    units: list[tuple[tuple[int, ...], int, bool]] = []  # place, UTF-16 length of the piece, whether it is an element
    total = 0
    for place, nodes in pieces:
        atom = len(nodes) == 1 and nodes[0]["type"] not in ("text", EMBED)
        size = 1 if atom else Positions(_flat(nodes)).utf16
        units.append((place, size, atom))
        total += size
    if not 0 <= offset <= total:
        raise BadContent([Fault(f"/{number}/offset", f"is beyond the block's text, which has {total} units")])
    if not total:
        empty = next((place for place, _, atom in units if not atom), None)
        return _Wanted(parent if empty is None else empty, -1, assoc, empty is None)
    left = (assoc < 0 and offset > 0) or offset == total
    seek = offset - 1 if left else offset
    for (place, size, atom), (_, nodes) in zip(units, pieces, strict=True):
        if seek < size:
            side = -1 if left else 0
            if atom:
                return _Wanted(place[:-1], place[-1], side, True)
            positions = Positions(_flat(nodes))
            return _Wanted(place, _bytes(nodes, positions.from_utf16(seek)), side, False)
        seek -= size
    raise AssertionError("an offset within the text is in one of its pieces")


def _flat(nodes: Sequence[Node]) -> str:
    return "".join(node["text"] if node["type"] == "text" else "\ufffc" for node in nodes)


def _bytes(nodes: Sequence[Node], points: int) -> int:
    """Where yrs counts what stands behind so many characters: an embed is one byte."""
    size = 0
    for node in nodes:
        if node["type"] != "text":
            size, points = size + (points > 0), points - (points > 0)
        else:
            size += utf8_length(node["text"][:points])
            points -= min(points, len(node["text"]))
    return size


def _handle(opened: Opened, place: tuple[int, ...]) -> Any:
    handle: Any = opened.text if opened.text is not None else opened.root.handle if opened.root is not None else None
    for index in place:
        handle = handle.children[index]
    return handle


def _mint(opened: Opened, want: _Wanted) -> tuple[Anchor, Anchor]:
    """With assoc 0, and with assoc -1."""
    handle = _handle(opened, want.place)
    state = opened.doc.get_update() if want.offset >= 0 and not want.child else b""
    with recorded(opened.doc) as updates:
        if want.child:
            # Right behind an element, so that it is the origin; of an empty type, the first thing in it.
            handle.children.insert(want.offset + 1, pycrdt.XmlText(""))
        elif want.offset < 0:
            handle.insert(0, "x")
        else:
            del handle[want.offset : want.offset + _size_at(opened, handle, want.offset)]
    layout = parse(updates[0])
    if layout.deletes:
        client, first, last = _character(state, layout.deletes)
        return Anchor(item=(client, first)), Anchor(item=(client, last), assoc=-1)
    ((_, _, start, _), *_) = next(iter(layout.structs.values()))
    head = read_head(layout.update, start)
    if head.origin is not None:
        anchor = Anchor(item=head.origin, assoc=0 if want.offset >= 0 else -1)
    elif head.right is not None:
        return (anchor := Anchor(item=head.right)), anchor
    else:
        named, at = read_uint(layout.update, head.parent_at)
        if named == 1:
            anchor = Anchor(tname=read_bytes(layout.update, at)[0].decode())
        else:
            client, at = read_uint(layout.update, at)
            anchor = Anchor(type=(client, read_uint(layout.update, at)[0]))
    return anchor, anchor._replace(assoc=-1)


def _character(state: bytes, deletes: dict[int, list[tuple[int, int]]]) -> tuple[int, int, int]:
    """Of what was deleted, the client, first and last clock of the character: formats that mean nothing without it may
    have gone with it."""
    layout = parse(state)
    ids = [
        (client, clock)
        for client, ranges in deletes.items()
        for first, length in ranges
        for clock in range(first, first + length)
        if _ref(layout, client, clock) in (STRING, EMBEDDED)
    ]
    return ids[0][0], ids[0][1], ids[-1][1]


def _struct(layout: Layout, client: int, clock: int) -> tuple[int, int] | None:
    """Where the struct with that id begins, and its first clock."""
    structs = layout.structs.get(client, [])
    at = bisect_right(structs, clock, key=itemgetter(0)) - 1
    if at < 0 or clock >= structs[at][0] + structs[at][1]:
        return None
    return structs[at][2], structs[at][0]


def _ref(layout: Layout, client: int, clock: int) -> int | None:
    found = _struct(layout, client, clock)
    return None if found is None else layout.update[found[0]] & REF


def _size_at(opened: Opened, handle: Any, offset: int) -> int:
    """Bytes of the character there."""
    for node in opened.texts(handle.diff()):
        size = 1 if node["type"] == EMBED else utf8_length(node["text"])
        if offset < size:
            return 1 if node["type"] == EMBED else utf8_length(node["text"].encode()[offset:].decode()[0])
        offset -= size
    raise AssertionError("an offset within the text is in one of its chunks")


# -- resolving --


class _Seen(NamedTuple):
    place: tuple[int, ...]
    """Of the type the marker stands in."""
    offset: int
    """As yrs counts: bytes in a text, children in an element."""
    text: bool


@guarded
def resolve(update: bytes, anchors: Sequence[Anchor], root: str | None = None) -> list[Place | None]:
    """Where each anchor points now; None when what it names is not in this root, or was collected with its block.

    An anchor to what was deleted points to where that was. Raises Malformed.
    """
    opened = open_document(update, root)
    layout = parse(opened.doc.get_update())
    clock = _next_clock(opened.doc.get_state())
    seen: list[_Seen] = []

    def note(events: Any) -> None:
        for event in events if isinstance(events, list) else [events]:
            for offset in _inserts(event.delta or []):
                path = tuple(getattr(event, "path", ()))
                seen.append(_Seen(path, offset, not isinstance(event.target, pycrdt.XmlFragment | pycrdt.XmlElement)))

    handle: Any = opened.text if opened.text is not None else _handle(opened, ())
    subscription = handle.observe(note) if opened.text is not None else handle.observe_deep(note)
    places: list[Place | None] = []
    try:
        for anchor in anchors:
            if anchor.item is None and anchor.type is None:
                places.append(_of_root(opened, anchor))
                continue
            seen.clear()
            try:
                opened.doc.apply_update(_marker(layout, anchor, clock))
            except (ValueError, RuntimeError):
                places.append(None)
                continue
            found = seen[0] if seen else None
            opened.doc.apply_update(b"\0\1" + write_uint(MARKER) + b"\1" + write_uint(clock) + b"\1")
            clock += 1
            gone = anchor.item is not None and _is_deleted(layout.deletes, anchor.item)
            places.append(None if found is None else _place(opened, anchor, found, gone))
    finally:
        handle.unobserve(subscription)
    return places


def _whole(layout: Layout, client: int, clock: int) -> int:
    """The clock of the second half, when the first half of a surrogate pair is named."""
    found = _struct(layout, client, clock)
    if found is None or layout.update[found[0]] & REF != STRING:
        return clock
    text, _ = read_bytes(layout.update, read_head(layout.update, found[0]).content_at)
    if text.isascii():
        return clock
    units = text.decode().encode("utf-16-le")
    return clock + (0xD8 <= units[2 * (clock - found[1]) + 1] < 0xDC)


def _marker(layout: Layout, anchor: Anchor, clock: int) -> bytes:
    """An update that puts a character behind what the anchor names, or first in the type that it names."""
    head = b"\1\1" + write_uint(MARKER) + write_uint(clock)
    if anchor.item is not None:
        client = anchor.item[0]
        return head + b"\x84" + write_uint(client) + write_uint(_whole(layout, *anchor.item)) + b"\1x\0"
    assert anchor.type is not None
    return head + b"\x04\0" + write_uint(anchor.type[0]) + write_uint(anchor.type[1]) + b"\1x\0"


def _next_clock(vector: bytes) -> int:
    count, at = read_uint(vector, 0)
    for _ in range(count):
        client, at = read_uint(vector, at)
        clock, at = read_uint(vector, at)
        if client == MARKER:
            return clock
    return 0


def _inserts(delta: Sequence[dict[str, Any]]) -> list[int]:
    found, at = [], 0
    for step in delta:
        if "retain" in step:
            at += step["retain"]
        elif "insert" in step:
            found.append(at)
    return found


def _is_deleted(deletes: dict[int, list[tuple[int, int]]], item: tuple[int, int]) -> bool:
    return any(clock <= item[1] < clock + length for clock, length in deletes.get(item[0], ()))


def _of_root(opened: Opened, anchor: Anchor) -> Place | None:
    if anchor.tname != opened.name:
        return None
    if opened.root is None:
        assert opened.text is not None
        size = Positions(_flat(opened.texts(opened.text.diff()))).utf16
    else:
        size = _units(opened.root)
    return Place(Point((), size if anchor.assoc >= 0 else 0), False)


def _units(element: Element) -> int:
    return sum(Positions(_flat(child.nodes)).utf16 if isinstance(child, Run) else 1 for child in element.children)


def _place(opened: Opened, anchor: Anchor, seen: _Seen, gone: bool) -> Place:
    if opened.text is not None:
        nodes = opened.texts(opened.text.diff())
        return Place(Point((), _offset(nodes, seen.offset, anchor, gone)), gone)
    assert opened.root is not None
    element: Element | Run = opened.root
    path: list[int] = []
    for index in seen.place:
        assert isinstance(element, Element)
        at = 0
        for child in element.children:
            size = len(child.handles) if isinstance(child, Run) else 1
            if child.place[-1] <= index < child.place[-1] + size:
                if isinstance(child, Run):
                    return _in_text(opened, element, path, seen, anchor, gone)
                break
            at += len(child.nodes) if isinstance(child, Run) else 1
        else:
            raise Malformed("an event's path leads nowhere")
        path.append(at)
        element = child
    assert isinstance(element, Element)
    before = seen.offset - (anchor.item is not None and anchor.assoc >= 0 and not gone)
    if anchor.type is not None and anchor.item is None and anchor.assoc >= 0:
        return Place(Point(tuple(path), _units(element)), gone)
    units = 0
    for child in element.children:
        if child.place[-1] >= before:
            break
        units += Positions(_flat(child.nodes)).utf16 if isinstance(child, Run) else 1
    return Place(Point(tuple(path), units), gone)


def _in_text(opened: Opened, parent: Element, path: Sequence[int], seen: _Seen, anchor: Anchor, gone: bool) -> Place:
    units = 0
    for child in parent.children:
        if not isinstance(child, Run):
            units += 1
            continue
        for at, handle in enumerate(child.handles):
            nodes = opened.texts(handle.diff())
            if child.place[-1] + at == seen.place[-1]:
                return Place(Point(tuple(path), units + _offset(nodes, seen.offset, anchor, gone)), gone)
            units += Positions(_flat(nodes)).utf16
    raise Malformed("an event's path leads nowhere")


def _offset(nodes: Sequence[Node], offset: int, anchor: Anchor, gone: bool) -> int:
    """In UTF-16 units, from where the marker stood: behind the character named, or first in the type named."""
    flat = "".join(node["text"] if node["type"] == "text" else "\0" for node in nodes)
    positions = Positions(flat.replace("\0", "\ufffc"))
    if anchor.item is None:
        return positions.utf16 if anchor.assoc >= 0 else 0
    point = Positions(flat).from_utf8(offset)  # an embed is one byte to yrs
    if anchor.assoc >= 0 and not gone:
        point -= 1
    return positions.to_utf16(max(point, 0))
