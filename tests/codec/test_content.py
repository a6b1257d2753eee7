"""Documents that Yjs made (documents.mjs) and some that pycrdt makes, read as JSON and as text."""

import json
from pathlib import Path
from typing import Any

import pycrdt
import pytest

from relay.codec.content import read
from relay.codec.pool import CodecPool
from relay.errors import Malformed
from relay.metrics import Metrics

DOCUMENTS = {
    name: bytes.fromhex(update)
    for name, update in json.loads((Path(__file__).parent / "documents.json").read_text()).items()
}


def content(*updates: bytes) -> Any:
    return json.loads(read(updates, "json"))


def text(*updates: bytes) -> str:
    return read(updates, "text").decode()


def typed(root: str, *words: str) -> list[bytes]:
    """An update for each word appended to a text."""
    doc, updates = pycrdt.Doc[Any](client_id=9), []
    shared = doc.get(root, type=pycrdt.Text)
    for word in words:
        before = doc.get_state()
        shared += word
        updates.append(doc.get_update(before))
    return updates


def test_texts_are_strings_or_deltas() -> None:
    """A plain text is a string, a formatted one a delta; what was deleted is not there, whatever came first."""
    assert content(DOCUMENTS["texts"]) == {
        "again": {"type": "text", "value": "def"},
        "formatted": {
            "type": "text",
            "value": [
                {"insert": "bold", "attributes": {"bold": True}},
                {"insert": {"image": "x.png"}},
                {"insert": " plain"},
            ],
        },
        "gone": {"type": "unknown", "value": None},
        "half": {"type": "text", "value": "a\N{REPLACEMENT CHARACTER}b"},
        "plain": {"type": "text", "value": "hllo 😀 wörld"},
    }


def test_every_kind_of_value_has_its_json() -> None:
    """Numbers, bytes, nested types and subdocuments come out as documented, keys in order."""
    found = content(DOCUMENTS["values"])
    assert found["map"] == {
        "type": "map",
        "value": {
            "bigint": 5,
            "bytes": "AQL/",
            "document": {"guid": "sub-1"},
            "float": 1.5,
            "fragment": [{"text": "in a map"}],
            "huge": 2**60,
            "infinity": None,
            "int": 1,
            "large": 2**50,
            "list": [1, {"k": "v"}],
            "nan": None,
            "negativeZero": 0,
            "null": None,
            "object": {"a": "<", "b": [1, {"c": None}]},
            "overwritten": "kept",
            "text": "a text",
            "text type": [{"insert": "nes", "attributes": {"i": True}}, {"insert": "ted"}],
            "true": True,
            "undefined": None,
        },
    }
    assert found["array"] == {
        "type": "array",
        "value": ["one", None, [2], {"three": 3}, "CQ==", "six", {"tag": "hr", "attributes": {}, "children": []}],
    }
    assert b'"int": 1,' in read([DOCUMENTS["values"]], "json")


def test_xml_is_a_tree() -> None:
    """Elements have tag, attributes and children, texts their string or delta, unescaped."""
    heading, paragraph, bullets, rule = content(DOCUMENTS["xml"])["page"]["value"]
    assert heading["attributes"] == {"class": 'a"b<c', "level": 2}
    assert heading["children"][0]["text"][1] == {"insert": "<world>", "attributes": {"bold": {}}}
    assert [child.get("tag", child.get("text")) for child in paragraph["children"]] == [
        "Hi ",
        "mention",
        ", one",
        "hardBreak",
        "two",
    ]
    assert (bullets["tag"], len(bullets["children"])) == ("list", 2)
    assert rule == {"tag": "rule", "attributes": {}, "children": []}


def test_text_form_has_a_line_for_each_block() -> None:
    """Blocks are lines, what stands beside text is not; an empty line parts roots."""
    assert text(DOCUMENTS["xml"]).split("\n") == [
        "Hello <world> & all",
        "Hi , one",
        "two",
        "first",
        "second",
        "",
    ]
    assert text(DOCUMENTS["lexical"]) == "first line\nsecond line"
    assert text(DOCUMENTS["texts"]) == "def\n\nbold plain\n\na\N{REPLACEMENT CHARACTER}b\n\nhllo 😀 wörld"
    assert "text type: nested\n" in text(DOCUMENTS["values"])


def test_map_entries_named_like_nodes_are_no_nodes() -> None:
    """A map's entries `text`, `tag`, `children` and `insert` are data."""
    doc = pycrdt.Doc[Any]()
    doc["m"] = pycrdt.Map({"a": {"text": 5}, "b": {"tag": 1, "children": 2}, "c": [{"insert": None}]})
    assert text(doc.get_update()) == "a: text: 5\nb: children: 2\nb: tag: 1"


def test_hooks_are_read_as_elements() -> None:
    """An XmlHook, which yrs refuses, has its name as tag and its entries as attributes."""
    assert content(DOCUMENTS["hook"])["page"]["value"] == [
        {"tag": "chart", "attributes": {"data": {"x": 1}}, "children": []}
    ]


def test_root_with_keys_has_attributes() -> None:
    """A root text's own attributes stand beside its value."""
    root = content(DOCUMENTS["lexical"])["root"]
    assert root["attributes"] == {"__dir": "ltr"}
    assert [paragraph["text"] for paragraph in root["value"]] == ["first line", "second line"]


def test_type_inside_a_text_is_an_embed() -> None:
    """A map embedded in a text is an insert with its value."""
    assert content(DOCUMENTS["embedded"])["text"]["value"] == [
        {"insert": "a"},
        {"insert": {"k": "v"}},
        {"insert": "b"},
    ]


def test_updates_in_any_number_and_order() -> None:
    """Many updates, some twice, one of them late, are one document."""
    updates = typed("t", *(f"{n} " for n in range(300)))
    expected = "".join(f"{n} " for n in range(300))
    assert content(*updates[100:], *updates[:150])["t"]["value"] == expected


def test_pending_edits_are_no_content() -> None:
    """What waits for an edit that is missing shows in no editor, and not here."""
    first, _, third = typed("t", "one", "two", "three")
    assert content(first, third) == {"t": {"type": "text", "value": "one"}}


def test_nothing_is_an_empty_document() -> None:
    """No update and the empty update have no roots."""
    assert content() == content(b"\0\0") == {}
    assert text() == ""


def test_deep_nesting_is_refused() -> None:
    """Content that no JSON reader would take is an error, not a crash."""
    doc = pycrdt.Doc[Any]()
    outer = doc.get("deep", type=pycrdt.Array)
    for _ in range(1500):
        outer.append(pycrdt.Array())
        outer = outer[0]
    with pytest.raises(Malformed, match="too deeply"):
        read([doc.get_update()], "json")


@pytest.mark.parametrize("update", [b"", b"\x01", b"\x01\x01\x05\x00\x04\x01\x01t\x05ab\x00"])
def test_malformed_updates_are_named_so(update: bytes) -> None:
    """Bytes that are no update raise Malformed."""
    with pytest.raises(Malformed):
        read([update], "json")


async def test_pool_reads_in_its_own_process() -> None:
    """The pool's `read` gives the same bytes, and its errors."""
    pool = CodecPool(1, Metrics().counters)
    try:
        assert await pool.read([DOCUMENTS["xml"]], "text") == read([DOCUMENTS["xml"]], "text")
        with pytest.raises(Malformed):
            await pool.read([b"\x01"], "json")
    finally:
        await pool.close()
