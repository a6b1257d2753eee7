"""Content of documents against Tiptap itself: its schema, and its binding to Yjs."""

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.documents.content import Anchor, Point, mint, read, rebase, resolve, write
from plugins.documents.content.tree import normal

HERE = Path(__file__).parent
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def tiptap(node: None) -> Iterator[Ask]:
    """`tiptap(question, **given)`: an answer of content.mjs."""
    process = subprocess.Popen(["node", "content.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(question: str, **given: Any) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([question, given]).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or b'{"error": "node is gone"}')
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    yield ask
    process.stdin.close()
    process.stdout.close()
    process.wait(10)


def paragraph(*content: Any) -> dict[str, Any]:
    nodes = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    return {"type": "paragraph", "content": nodes} if nodes else {"type": "paragraph"}


def marked(text: str, *marks: Any) -> dict[str, Any]:
    named = [mark if isinstance(mark, dict) else {"type": mark} for mark in marks]
    return {"type": "text", "text": text, "marks": named}


def doc(*blocks: Any) -> dict[str, Any]:
    return {"type": "doc", "content": list(blocks)}


def item(*blocks: Any, **attrs: Any) -> dict[str, Any]:
    made = {"type": "taskItem" if attrs else "listItem", "content": list(blocks)}
    return {**made, "attrs": attrs} if attrs else made


def comment(name: str) -> dict[str, Any]:
    return {"type": "comment", "attrs": {"id": name}}


LINK = {"type": "link", "attrs": {"href": "https://a.example/?x=1&y=2"}}
DOCUMENTS = {
    "paragraphs": doc(paragraph("Hello"), paragraph(), paragraph("héllo 👩‍🚀 שלום 日本語 \t two  spaces ")),
    "headings": doc(
        *({"type": "heading", "attrs": {"level": n}, "content": [marked("H", "bold")]} for n in range(1, 7))
    ),
    "marks": doc(
        paragraph(
            "a ", marked("b", "bold"), marked("bi", "bold", "italic"), marked("s", "strike"), marked("c", "code")
        ),
        paragraph(marked("u", "underline"), marked("link", LINK), marked("bold link", LINK, "bold"), " end"),
    ),
    "overlapping": doc(paragraph(marked("one", comment("a")), marked("both", comment("a"), comment("b")), "none")),
    "inline": doc(
        paragraph("a", {"type": "hardBreak"}, "b", {"type": "mention", "attrs": {"id": "7", "label": "Ada"}})
    ),
    "lists": doc(
        {
            "type": "bulletList",
            "content": [
                item(paragraph("a"), {"type": "orderedList", "attrs": {"start": 3}, "content": [item(paragraph("b"))]})
            ],
        },
        {"type": "taskList", "content": [item(paragraph("done"), checked=True), item(paragraph(), checked=False)]},
    ),
    "blocks": doc(
        {"type": "blockquote", "content": [paragraph("quoted"), {"type": "horizontalRule"}]},
        {"type": "codeBlock", "attrs": {"language": "py"}, "content": [{"type": "text", "text": "x = 1\n\n\ty"}]},
        {"type": "image", "attrs": {"src": "https://a.example/i.png", "width": 120}},
    ),
    "attributes": doc(
        {
            "type": "callout",
            "attrs": {"kind": "warn", "n": 1.5, "deep": {"a": [1, True, None, "x"]}},
            "content": [paragraph("inside")],
        }
    ),
}


def stored(content: Any) -> bytes:
    return write(b"\0\0", json.dumps(content).encode(), "json", "default").update


@pytest.mark.parametrize("name", DOCUMENTS)
def test_tiptap_reads_what_is_written(tiptap: Ask, name: str) -> None:
    """A tree that is written is what Tiptap reads, and it takes all of it."""
    complete = tiptap("store", json=DOCUMENTS[name])["json"]
    found = tiptap("read", state=base64.b64encode(stored(complete)).decode())
    assert found == {"json": found["json"], "changed": False}
    assert normal(found["json"]) == normal(complete)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_tiptap_wrote_is_read(tiptap: Ask, name: str) -> None:
    """A tree that Tiptap stored is read as it is, and writing it again changes nothing."""
    theirs = tiptap("store", json=DOCUMENTS[name])
    state = base64.b64decode(theirs["state"])
    assert json.loads(read(state, "json")) == normal(theirs["json"])
    assert write(state, json.dumps(theirs["json"]).encode(), "json").update == b""


@pytest.mark.parametrize("form", ["md", "html"])
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "overlapping"])
def test_tiptap_takes_what_was_read_from_a_format(tiptap: Ask, name: str, form: str) -> None:
    """A document written from Markdown or HTML holds nothing that Tiptap's schema would delete."""
    body = read(stored(tiptap("store", json=DOCUMENTS[name])["json"]), form, "default")
    state = write(b"\0\0", body, form, "default").update
    found = tiptap("read", state=base64.b64encode(state).decode())
    assert found["changed"] is False
    assert read(stored(found["json"]), form, "default") == body


def test_overlapping_marks_are_named_as_tiptap_names_them(tiptap: Ask) -> None:
    """Two comments on one text are two attributes, with the hashes that y-prosemirror gives them."""
    theirs = base64.b64decode(tiptap("store", json=doc(paragraph(marked("x", comment("a"), comment("b")))))["state"])
    ours = stored(doc(paragraph(marked("x", comment("a"), comment("b")))))
    assert formats(theirs) == formats(ours) != set()


def formats(state: bytes) -> set[str]:
    """Names of the formatting attributes that stand in an update."""
    return {name.decode() for name in re.findall(rb"comment--[\w+/=]{8}", state)}


def test_a_stale_body_meets_tiptap(tiptap: Ask) -> None:
    """What an editor typed since, and what a body made of the version before changed, are both in the result."""
    base = stored(doc(paragraph("The quick fox"), paragraph("second")))
    live = tiptap(
        "edit",
        state=base64.b64encode(base).decode(),
        json=doc(paragraph("The very quick fox"), paragraph("second"), paragraph("third")),
    )["state"]
    live = base64.b64decode(live)
    body = json.dumps(doc(paragraph("The quick dog"), paragraph("second!"))).encode()
    merged = write(live, rebase(base, body, "json", live).update, "yjs")
    found = tiptap("read", state=base64.b64encode(joined(live, merged.update)).decode())["json"]
    assert normal(found) == doc(paragraph("The very quick dog"), paragraph("second!"), paragraph("third"))


def joined(state: bytes, update: bytes) -> bytes:
    from relay.yjs.compact import compact

    return compact([state, update]).state


def test_relative_positions(tiptap: Ask) -> None:
    """Anchors minted here point in Yjs where they do here, and Yjs's own are resolved to where Yjs does."""
    text = "héllo 👩‍🚀 wörld"
    state = stored(doc(paragraph("first"), paragraph(text), paragraph()))
    given = base64.b64encode(state).decode()
    units = len(text.encode("utf-16-le")) // 2
    inside = [at for at in range(units + 1) if at not in (7, 10)]  # halves of surrogate pairs are no places
    points = [(Point((1,), at), assoc) for at in inside for assoc in (0, -1)]
    anchors = mint(state, points)
    encoded = [[anchor.to_json(), base64.b64encode(anchor.encode()).decode()] for anchor in anchors]
    assert tiptap("resolve", state=given, positions=encoded) == [[[1, 0], point.offset] for point, _ in points]
    theirs = tiptap("mint", state=given, points=[([1, 0], point.offset, assoc) for point, assoc in points])
    places = resolve(state, [Anchor.from_json(position) for position in theirs])
    assert [place and place.point for place in places] == [point for point, _ in points]
    (empty,) = mint(state, [(Point((2,), 0), 0)])
    assert tiptap("resolve", state=given, positions=[[empty.to_json(), base64.b64encode(empty.encode()).decode()]]) == [
        [[2], 0]
    ]
