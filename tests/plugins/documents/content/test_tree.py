"""Validation of trees, and their normal form."""

import pickle
from typing import Any

import pytest
from content_trees import documents
from hypothesis import given, settings

from plugins.documents.content.tree import MAX_DEPTH, BadContent, Fault, Node, load, normal


@settings(max_examples=50)
@given(documents())
def test_normal_form_is_stable(doc: Node) -> None:
    """What is normal stays as it is."""
    assert normal(normal(doc)) == normal(doc)


def test_normal_form() -> None:
    """Null attributes, ychange and marks of nodes go; texts are joined, marks ordered, numbers whole."""
    marks: list[Node] = [
        {"type": "bold"},
        {"type": "link", "attrs": {"href": "x", "target": None}},
        {"type": "ychange"},
    ]
    doc = {
        "type": "doc",
        "content": [
            {
                "type": "heading",
                "attrs": {"level": 2.0, "id": None, "ychange": {}},
                "marks": [],
                "content": [
                    {"type": "text", "text": "a", "marks": marks},
                    {"type": "text", "text": "b", "marks": marks[::-1]},
                    {"type": "hardBreak", "marks": [{"type": "bold"}], "content": []},
                ],
            }
        ],
    }
    text = {"type": "text", "text": "ab", "marks": [marks[1], marks[0]]}
    heading = {"type": "heading", "attrs": {"level": 2}, "content": [text, {"type": "hardBreak"}]}
    assert normal(doc) == {"type": "doc", "content": [heading]}


BAD: list[tuple[Any, list[tuple[str, str]]]] = [
    ([], [("", "must be an object")]),
    ({"type": "paragraph"}, [("/type", 'must be "doc"')]),
    ({"type": "doc", "attrs": {"a": 1}}, [("/attrs", "a document has no attributes of its own in Yjs")]),
    (
        {"type": "doc", "content": [{"type": "text", "text": ""}, {"type": "p", "content": [{"text": "x"}, 7]}]},
        [
            ("/content/0/text", "must not be empty"),
            ("/content/1/content/0/text", "is not a member that this node may have"),
            ("/content/1/content/0/type", "must be a string"),
            ("/content/1/content/1", "must be an object"),
        ],
    ),
    (
        {"type": "doc", "content": [{"type": "text", "text": "a\0"}, {"type": "text", "text": "\ud83d"}]},
        [("/content/0/text", "holds a NUL character"), ("/content/1/text", "holds half of a surrogate pair")],
    ),
    (
        {"type": "doc", "content": [{"type": "p", "attrs": {"a/b": {"c": [2**60, float("inf")]}}}]},
        [
            ("/content/0/attrs/a~1b/c/0", "is an integer that JavaScript can't hold"),
            ("/content/0/attrs/a~1b/c/1", "must be a finite number"),
        ],
    ),
    (
        {"type": "doc", "content": [{"type": "text", "text": "a", "marks": [{"type": 1}, {"type": "b", "x": 1}]}]},
        [
            ("/content/0/marks/0/type", "must be a string"),
            ("/content/0/marks/1/x", "is not a member that this node may have"),
        ],
    ),
]


@pytest.mark.parametrize(("value", "faults"), BAD)
def test_every_fault_is_located(value: Any, faults: list[tuple[str, str]]) -> None:
    """A body of the wrong shape gets every error at once, by JSON pointer."""
    with pytest.raises(BadContent) as caught:
        normal(value)
    assert list(caught.value.faults) == faults


def test_faults_cross_processes() -> None:
    """What a process of the pool raises arrives whole."""
    error = pickle.loads(pickle.dumps(BadContent([Fault("/a", "b")])))
    assert error.faults == (Fault("/a", "b"),)


def test_deep_nesting_is_a_fault() -> None:
    """A tree that is too deep is refused, however deep it is; nothing recurses without bound."""
    node: Node = {"type": "paragraph"}
    for _ in range(MAX_DEPTH * 50):
        node = {"type": "blockquote", "content": [node]}
    with pytest.raises(BadContent, match="deep"):
        normal({"type": "doc", "content": [node]})
    with pytest.raises(BadContent, match="no JSON"):
        load(b"[" * 100_000)
