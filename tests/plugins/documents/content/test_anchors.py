"""Relative positions, minted and resolved."""

import json
import random
from typing import Any

import pytest
from content_people import People, applied, document, stored
from content_trees import node, text
from pycrdt import Doc, Text

from plugins.documents.content import Anchor, BadContent, Place, Point, mint, read, resolve, write
from plugins.documents.content.positions import Positions
from plugins.documents.content.text import is_leaf
from plugins.documents.content.tree import Node
from relay.errors import Malformed


def leaves(parent: Node, path: tuple[int, ...] = ()) -> dict[tuple[int, ...], str]:
    """The text of each block of text, by path; an inline node is one character."""
    if path and is_leaf(parent):
        return {path: "".join(child.get("text", "\ufffc") for child in parent.get("content", ()))}
    found: dict[tuple[int, ...], str] = {}
    for at, child in enumerate(parent.get("content", ())):
        found |= leaves(child, (*path, at))
    return found


def near(texts: dict[tuple[int, ...], str], point: Point, assoc: int) -> str:
    """The character that an anchor at the point is bound to."""
    line = texts[point.path]
    return line[Positions(line).from_utf16(point.offset) - (assoc < 0) :][:1]


@pytest.mark.parametrize("part", range(3))
def test_anchors_stay_at_their_characters(part: int) -> None:
    """An anchor resolves to its point, and after others' edits to where its character is, unless that was deleted."""
    for seed in range(part * 40, part * 40 + 40):
        chance = random.Random(seed)
        people = People(chance, stored(document(chance)))
        people.edit(chance.randint(0, 6))
        state = people.state()
        texts = leaves(json.loads(read(state, "json", "default")))
        points = []
        for path, line in texts.items():
            at = Positions(line).to_utf16(chance.randint(0, len(line)))
            points += [(Point(path, at), 0), (Point(path, at), -1)]
        anchors = mint(state, points, "default")
        assert resolve(state, anchors, "default") == [Place(point, False) for point, _ in points], seed
        people.edit(6)
        after = leaves(json.loads(read(people.state(), "json", "default")))
        for (point, _), anchor, place in zip(points, anchors, resolve(people.state(), anchors, "default"), strict=True):
            if place is not None and not place.deleted and anchor.item is not None:
                assert near(after, place.point, anchor.assoc) == near(texts, point, anchor.assoc), seed


def test_what_was_deleted_leaves_its_place() -> None:
    """An anchor in deleted text says so, and where that was; one in a deleted block is nowhere."""
    state = stored(node("doc", [node("paragraph", [text("one two three", [])]), node("paragraph", [text("x", [])])]))
    anchors = mint(state, [(Point((0,), 5), 0), (Point((1,), 0), 0)])
    less = json.dumps(node("doc", [node("paragraph", [text("one three", [])])])).encode()
    found = resolve(applied(state, write(state, less, "json").update), anchors)
    assert found == [Place(Point((0,), 4), True), None]


def test_in_a_text_root() -> None:
    """A plain text has anchors too."""
    doc: Doc[Any] = Doc()
    doc.get("text", type=Text).insert(0, "a😀b")
    anchors = mint(doc.get_update(), [(Point((), at), 0) for at in (0, 1, 3, 4)], "text")
    doc.get("text", type=Text).insert(0, "é")
    assert [place and place.point.offset for place in resolve(doc.get_update(), anchors, "text")] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    "anchor",
    [Anchor(item=(2**40, 7)), Anchor(item=(1, 2), assoc=-1), Anchor(type=(3, 0)), Anchor(tname="défault", assoc=-1)],
)
def test_forms(anchor: Anchor) -> None:
    """In JSON and in bytes, as Yjs writes them."""
    assert Anchor.decode(anchor.encode()) == anchor
    assert Anchor.from_json(anchor.to_json()) == anchor
    with pytest.raises(Malformed):
        Anchor.decode(anchor.encode()[:1])


@pytest.mark.parametrize("value", [None, {}, {"item": {"client": -1, "clock": 0}}, {"item": 1}, {"tname": 1}])
def test_bad_json(value: Any) -> None:
    """What is no relative position is refused, located."""
    with pytest.raises(BadContent):
        Anchor.from_json(value, "/at")


def test_points_outside_are_refused() -> None:
    """A point must be in a block's text."""
    state = stored(node("doc", [node("paragraph", [text("one", [])])]))
    for point in (Point((0,), 4), Point((1,), 0), Point((0, 0), 0), Point((), 9)):
        with pytest.raises(BadContent):
            mint(state, [(point, 0)])
    assert resolve(state, [Anchor(item=(12345, 6)), Anchor(type=(12345, 6)), Anchor(tname="other")]) == [None] * 3
