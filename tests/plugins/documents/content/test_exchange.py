"""Content written into documents, and rebased onto what people typed meanwhile."""

import json
import random
import time
from typing import Any

import pytest
from content_people import People, applied, document, edited, stored
from content_trees import any_texts, documents, node, text
from hypothesis import given, settings
from pycrdt import Doc, Text, XmlFragment

from plugins.documents.content import BadContent, Conflict, Hunk, NotABase, read, rebase, write
from plugins.documents.content.tree import Node, normal
from relay.errors import Malformed

BOLD = {"type": "bold"}


def tree(state: bytes, root: str | None = None) -> Any:
    return json.loads(read(state, "json", root))


def paragraph(*parts: Any) -> Node:
    return node("paragraph", [text(part, []) if isinstance(part, str) else part for part in parts])


def doc(*blocks: Node) -> Node:
    return node("doc", list(blocks))


def body(*blocks: Node) -> bytes:
    return json.dumps(doc(*blocks)).encode()


# -- write --


@settings(max_examples=100, deadline=None)
@given(documents(any_texts), documents(any_texts))
def test_what_is_written_is_read(one: Node, other: Node) -> None:
    """Of any two documents the second can be written over the first, and is then read; once more changes nothing."""
    state = stored(one)
    assert tree(state, "default") == normal(one)
    state = applied(state, write(state, json.dumps(other).encode(), "json", "default").update)
    assert tree(state, "default") == normal(other)
    assert write(state, json.dumps(other).encode(), "json", "default").update == b""


@settings(max_examples=60, deadline=None)
@given(documents())
def test_what_was_read_changes_nothing(one: Node) -> None:
    """A body that is what was read is no change, in every format, whatever the format can't say."""
    state = stored(one)
    for form in ("json", "md", "html", "text"):
        written = write(state, read(state, form, "default"), form, "default")
        assert (written.update, list(written.hunks)) == (b"", [])


def test_unchanged_blocks_stay_themselves() -> None:
    """An edit of one word costs a few bytes, and says where it is."""
    state = stored(doc(paragraph("The quick fox ", text("jumps", [BOLD])), paragraph("second")))
    written = write(
        state, body(paragraph("The slow fox ", text("jumps", [BOLD])), paragraph("new"), paragraph("second")), "json"
    )
    assert written.hunks == [
        Hunk(kind="replace", path=(0,), offset=4, type="text", before="quick", after="slow"),
        Hunk(kind="insert", path=(1,), type="paragraph", after="new"),
    ]
    assert len(written.update) < 150


def test_markdown_changes_only_what_it_can_say() -> None:
    """Attributes, empty paragraphs and links' targets that Markdown does not have stay, also in a changed block."""
    link = {"type": "link", "attrs": {"href": "/a", "target": "_blank"}}
    heading = node("heading", [text("Old ", []), text("title", [link])], level=2, textAlign="center")
    state = stored(doc(heading, node("paragraph"), node("paragraph", [text("same", [])], textAlign="right")))
    markdown = read(state, "md").decode()
    assert markdown == "## Old [title](/a)\n\nsame\n"
    state = applied(state, write(state, markdown.replace("## Old", "# New").encode(), "md").update)
    assert tree(state)["content"] == [
        node("heading", [text("New ", []), text("title", [link])], level=1, textAlign="center"),
        node("paragraph"),
        node("paragraph", [text("same", [])], textAlign="right"),
    ]


def test_the_root_is_found() -> None:
    """Tiptap's, else y-prosemirror's, else the first with content; a text is text in every format."""
    plain: Doc[Any] = Doc()
    plain.get("codemirror", type=Text).insert(0, "# héllo\n\nx")
    state = plain.get_update()
    assert read(state, "md") == read(state, "text") == "# héllo\n\nx".encode()
    assert tree(state) == {"type": "text", "value": "# héllo\n\nx"}
    written = write(state, "# héllo 😀\n\ny".encode(), "md")
    assert written.root == "codemirror"
    assert read(applied(state, written.update), "text") == "# héllo 😀\n\ny".encode()
    both = applied(state, write(b"\0\0", body(paragraph("p")), "json", "prosemirror").update)
    assert tree(both) == doc(paragraph("p"))
    assert tree(both, "codemirror")["type"] == "text"


def test_a_formatted_text_as_delta() -> None:
    """A text root's formats and embeds are a delta, in and out; words that stay keep theirs when text is written."""
    delta = [
        {"insert": "plain "},
        {"insert": "bold", "attributes": {"bold": True, "size": 2}},
        {"insert": {"image": "x"}},
    ]
    state = write(b"\0\0", json.dumps({"type": "text", "value": delta}).encode(), "json", "quill").update
    assert tree(state, "quill") == {"type": "text", "value": delta}
    state = applied(state, write(state, b"very plain bold", "text", "quill").update)
    assert tree(state, "quill")["value"] == [{"insert": "very plain "}, *delta[1:]]


@pytest.mark.parametrize(
    ("given", "form", "pointer"),
    [
        (b"{", "json", ""),
        (b'{"type": "text", "value": "x"}', "json", "/type"),
        (b'{"type": "doc", "content": [{"type": "paragraph", "content": 1}]}', "json", "/content/0/content"),
        (b"\xff", "md", ""),
        (b"a\nb\0", "html", "line 2"),
    ],
)
def test_bad_bodies_are_located(given: bytes, form: str, pointer: str) -> None:
    """What is no content in its format is refused with where it is wrong."""
    with pytest.raises(BadContent) as caught:
        write(stored(doc(paragraph("a"))), given, form)
    assert caught.value.faults[0].pointer == pointer


def test_yjs_is_taken_as_it_comes() -> None:
    """An update of Yjs's own is passed on byte for byte; bytes that are none are refused."""
    update = stored(doc(paragraph("a")))
    assert write(b"\0\0", update, "yjs").update == update
    for bad in (b"", b"\1", b"hello"):
        with pytest.raises(Malformed):
            write(update, bad, "yjs")
        with pytest.raises(Malformed):
            read(bad, "json")
    with pytest.raises(ValueError, match="unknown format"):
        read(update, "docx")


# -- rebase --


def test_a_stale_body_is_merged() -> None:
    """What was typed since the base and what the body changed of it are both there."""
    base = stored(doc(paragraph("The quick fox"), paragraph("end")))
    live = applied(base, write(base, body(paragraph("The very quick fox"), paragraph("the end")), "json").update)
    rebased = rebase(base, body(paragraph("The quick dog"), paragraph("end")), "json", live)
    assert tree(applied(live, rebased.update)) == doc(paragraph("The very quick dog"), paragraph("the end"))
    assert rebased.hunks == [Hunk(kind="replace", path=(0,), offset=10, type="text", before="fox", after="dog")]
    assert rebased.conflicts == []


def test_a_deleted_block_keeps_what_was_typed_into_it() -> None:
    """What a body deletes goes, but not what someone typed into it meanwhile; the answer says so."""
    base = stored(doc(paragraph("one"), paragraph("two"), paragraph("three")))
    live = applied(base, write(base, body(paragraph("one"), paragraph("two TYPED"), paragraph("three")), "json").update)
    rebased = rebase(base, body(paragraph("one")), "json", live)
    assert tree(applied(live, rebased.update)) == doc(paragraph("one"), paragraph(" TYPED"))
    assert rebased.conflicts == [Conflict(kind="kept", path=(1,), text="two")]


def test_a_change_of_a_deleted_block_is_reported() -> None:
    """A body's change of a block that someone deleted meanwhile is not seen, and the answer says so."""
    base = stored(doc(paragraph("one"), paragraph("two")))
    live = applied(base, write(base, body(paragraph("one")), "json").update)
    rebased = rebase(base, body(paragraph("one"), paragraph("two!")), "json", live)
    assert tree(applied(live, rebased.update)) == doc(paragraph("one"))
    assert [conflict.kind for conflict in rebased.conflicts] == ["gone"]


def test_a_base_of_another_document_is_refused() -> None:
    """What is to be a base must be an earlier state."""
    with pytest.raises(NotABase):
        rebase(stored(doc(paragraph("a"))), body(paragraph("b")), "json", stored(doc(paragraph("c"))))


def stale_write(seed: int) -> None:
    chance = random.Random(seed)
    before = document(chance)
    base = stored(before)
    after = stored(edited(chance, before))
    people = People(chance, base)
    people.edit(chance.randint(1, 8))
    form = chance.choice(["json", "json", "md", "html", "text"])
    written = read(after, form, "default")
    # Over what it was made of, it is the body.
    alone = rebase(base, written, form, base, "default")
    again = read(applied(base, alone.update), form, "default")
    assert again.rstrip(b"\n") == written.rstrip(b"\n") or form == "text", (seed, form)
    # Over what people typed meanwhile, all of that is there too.
    live = people.state()
    merged = read(applied(live, rebase(base, written, form, live, "default").update), "json", "default").decode()
    assert people.typed - set(merged) == set(), (seed, form)


@pytest.mark.parametrize("part", range(3))
def test_no_typed_character_is_lost(part: int) -> None:
    """Stale bodies in every format against live typing: every character that people typed and kept is there."""
    for seed in range(part * 100, part * 100 + 100):
        stale_write(seed)


@pytest.mark.slow
def test_no_typed_character_is_lost_in_ten_thousand() -> None:
    """The same, 10,000 times."""
    for seed in range(1_000_000, 1_010_000):
        stale_write(seed)


def test_a_megabyte_in_seconds() -> None:
    """Reading, writing and rebasing a document of 1 MB (6,500 paragraphs) take seconds together, in every format."""
    blocks = [paragraph(f"paragraph {n} ", text("lorem ipsum dolor", [BOLD]), " sit amet" * 14) for n in range(6500)]
    started = time.thread_time()
    state = stored(doc(*blocks))
    assert len(state) > 1_000_000
    live = applied(state, write(state, body(*blocks[:4000], *blocks[4001:]), "json").update)
    blocks[3000] = paragraph("changed")
    rebased = rebase(state, body(*blocks), "json", live)
    assert len(rebased.update) < 1000
    for form in ("md", "html", "text"):
        assert write(state, read(state, form), form).update == b""
    assert time.thread_time() - started < 60


def test_xml_that_is_no_tiptap_is_kept() -> None:
    """Elements of other editors, texts in the root: read, and written again, they stay."""
    from pycrdt import XmlElement, XmlText

    made: Doc[Any] = Doc()
    root = made.get("default", type=XmlFragment)
    root.children.append(XmlText("loose"))
    root.children.append(XmlElement("UPPER", {"x": "1"}, [XmlText("in"), XmlText("side")]))
    state = made.get_update()
    found = tree(state)
    assert found["content"] == [text("loose", []), node("UPPER", [text("inside", [])], x="1")]
    assert write(state, json.dumps(found).encode(), "json").update == b""
    found["content"][1]["content"][0]["text"] = "inner side"
    assert tree(applied(state, write(state, json.dumps(found).encode(), "json").update)) == found
