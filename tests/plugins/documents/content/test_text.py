"""Plain text."""

import pytest
from content_trees import documents, node, text
from hypothesis import given, settings

from plugins.documents.content.text import dumps, loads, merge
from plugins.documents.content.tree import BadContent, Node, normal

BOLD = {"type": "bold"}
DOC = node("doc", [
    node("heading", [text("Title", [])], level=1),
    node("bulletList", [node("listItem", [node("paragraph", [text("one ", []), text("two", [BOLD])])])]),
    node("paragraph", [text("a", []), node("hardBreak"), text("b ", []), node("mention", id="7", label="Ada")]),
    node("horizontalRule"),
])  # fmt: skip


def test_text_of_blocks() -> None:
    """An empty line between blocks, a line break for a hard break."""
    assert dumps(DOC) == "Title\n\none two\n\na\nb @Ada"


def test_changes_of_text_keep_the_rest() -> None:
    """A changed line keeps its block, marks and mentions; a new one is a paragraph; a missing one is deleted."""
    merged = merge(DOC, "Titles\n\none 2 two\n\nnew\n\na\nb and @Ada\n")
    paragraph = node("paragraph", [text("one 2 ", []), text("two", [BOLD])])
    assert merged["content"][0] == node("heading", [text("Titles", [])], level=1)
    assert merged["content"][1]["content"][0]["content"][0] == paragraph
    assert "new" in str(merged)
    assert merged["content"][-2]["content"][-1] == node("mention", id="7", label="Ada")
    assert merged["content"][-1] == node("horizontalRule")
    assert merge(DOC, "Title") == node("doc", [DOC["content"][0], DOC["content"][-1]])


@settings(max_examples=60, deadline=None)
@given(documents(), documents())
def test_merged_text_is_the_text(one: Node, other: Node) -> None:
    """Whatever a document said, it says what is merged into it."""
    wanted = dumps(normal(other)).removesuffix("\n")
    assert dumps(merge(normal(one), wanted)).split() == wanted.split()  # cells of tables stay, empty


@pytest.mark.parametrize("body", [b"\xff", b"a\0b"])
def test_bad_bodies(body: bytes) -> None:
    """Text is UTF-8 without NUL."""
    with pytest.raises(BadContent):
        loads(body)
