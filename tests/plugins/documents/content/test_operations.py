"""PATCH operations."""

import json
from typing import Any

import pytest
from content_people import applied, stored
from content_trees import node, text
from pycrdt import Doc, Text

from plugins.documents.content import BadContent, Point, mint, patch, read
from plugins.documents.content.operations import parse
from plugins.documents.content.tree import Node

BOLD = {"type": "bold"}


def paragraph(*parts: Any) -> Node:
    return node("paragraph", [text(part, []) if isinstance(part, str) else part for part in parts])


DOC = node("doc", [
    node("heading", [text("Title", [])], level=1),
    paragraph("The quick ", text("brown fox", [BOLD]), " jumps 😀 high"),
    node("bulletList", [node("listItem", [paragraph("fox one")]), node("listItem", [paragraph("two")])]),
])  # fmt: skip


def done(*operations: Any, doc: Node = DOC) -> list[Node]:
    state = stored(doc)
    written = patch(state, parse(json.dumps({"operations": list(operations)}).encode()).operations)
    content: list[Node] = json.loads(read(applied(state, written.update), "json", "default")).get("content", [])
    return content


def test_blocks() -> None:
    """Inserted, replaced, deleted and appended, each in what the ones before left."""
    content = done(
        {"op": "insert", "at": {"block": 0}, "side": "before", "text": "a\nb"},
        {"op": "delete", "at": {"block": [4, 0]}},
        {"op": "replace", "at": {"block": 3}, "markdown": "> quoted"},
        {"op": "append", "content": [paragraph("end")]},
        {"op": "set_attributes", "at": {"block": 2}, "attributes": {"level": 2, "id": "t"}},
    )
    assert content == [
        paragraph("a"),
        paragraph("b"),
        node("heading", [text("Title", [])], id="t", level=2),
        node("blockquote", [paragraph("quoted")]),
        node("bulletList", [node("listItem", [paragraph("two")])]),
        paragraph("end"),
    ]


def test_quotations() -> None:
    """Text by what it says, formatting kept; inserted text takes that of what it follows."""
    content = done(
        {"op": "replace", "at": {"quote": "fox", "prefix": "brown "}, "text": "dog"},
        {"op": "delete", "at": {"quote": " high"}},
        {"op": "insert", "at": {"quote": "😀"}, "text": "😀"},
        {"op": "replace", "at": {"quote": "quick"}, "markdown": "*slow*"},
    )
    italic = text("slow", [{"type": "italic"}])
    assert content[1] == paragraph("The ", italic, " ", text("brown dog", [BOLD]), " jumps 😀😀")


def test_find_replace() -> None:
    """Everywhere, or at the first places; case as asked for."""
    everywhere = done({"op": "find_replace", "find": "FOX", "replace": "cat", "match_case": False})
    assert "fox" not in json.dumps(everywhere)
    assert everywhere[1]["content"][1] == text("brown cat", [BOLD])
    once = done({"op": "find_replace", "find": "fox", "replace": "", "limit": 1})
    assert once[1]["content"][1] == text("brown ", [BOLD])
    assert once[2] == DOC["content"][2]


def test_anchors() -> None:
    """Between two anchors, or the block that one stands in."""
    state = stored(DOC)
    start, end = mint(state, [(Point((1,), 4), 0), (Point((1,), 9), -1)])
    target = {"anchor": start.to_json(), "to": end.to_json()}
    operations = parse(
        json.dumps({"operations": [{"op": "replace", "at": target, "text": "slow"}]}).encode()
    ).operations
    assert "The slow brown" in read(applied(state, patch(state, operations).update), "text").decode()
    operations = parse(
        json.dumps({"operations": [{"op": "delete", "at": {"anchor": start.to_json()}}]}).encode()
    ).operations
    assert "brown" not in read(applied(state, patch(state, operations).update), "text").decode()


def test_a_plain_text() -> None:
    """Quotations, find and replace, and appending work on a text too; blocks do not."""
    doc: Doc[Any] = Doc()
    doc.get("text", type=Text).insert(0, "héllo world")
    given = [
        {"op": "replace", "at": {"quote": "world"}, "text": "there"},
        {"op": "append", "text": "!"},
        {"op": "find_replace", "find": "é", "replace": "e"},
    ]
    written = patch(doc.get_update(), parse(json.dumps({"operations": given}).encode()).operations)
    assert read(applied(doc.get_update(), written.update), "text") == b"hello there!"
    with pytest.raises(BadContent, match="no nodes"):
        patch(doc.get_update(), parse(b'{"operations": [{"op": "append", "content": []}]}').operations)


@pytest.mark.parametrize(
    ("operation", "pointer"),
    [
        ({"op": "delete", "at": {"quote": "nowhere"}}, "/operations/0/at/quote"),
        ({"op": "delete", "at": {"quote": "fox"}}, "/operations/0/at/quote"),
        ({"op": "delete", "at": {"block": 9}}, "/operations/0/at/block"),
        ({"op": "delete", "at": {"block": [2, 5]}}, "/operations/0/at/block/1"),
        ({"op": "append", "content": [{"type": "paragraph", "x": 1}]}, "/operations/0/content/0/x"),
        ({"op": "delete", "at": {"anchor": {"item": {"client": 1, "clock": 1}}}}, "/operations/0/at/anchor"),
    ],
)
def test_what_cannot_be_done_is_located(operation: Any, pointer: str) -> None:
    """Nothing is done, and the fault names the operation."""
    with pytest.raises(BadContent) as caught:
        done(operation)
    assert caught.value.faults[0].pointer == pointer


@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"operations": []}', b'{"operations": [{"op": "fly"}]}', b'{"operations": [{"op": "delete", "at": {}}]}'],
)
def test_bodies_of_the_wrong_shape(body: bytes) -> None:
    """Every error is located."""
    with pytest.raises(BadContent) as caught:
        parse(body)
    assert caught.value.faults
