"""Which roots a document has and what they are used as."""

from typing import Any

import pycrdt
import pytest

from relay.yjs.compact import compact
from relay.yjs.roots import Root, roots
from relay.yjs.update import parse


def found(update: bytes) -> dict[str, Root]:
    return roots(parse(compact([update]).state))


def test_roots_by_content() -> None:
    """Text, map, array and XML roots are told apart by what is in them, deep or not."""
    doc = pycrdt.Doc[Any]()
    doc["text"] = pycrdt.Text("a")
    doc["map"] = pycrdt.Map({"k": pycrdt.Text("in a map"), "xml": pycrdt.XmlFragment()})
    doc["array"] = pycrdt.Array([pycrdt.Map({"k": 1}), pycrdt.Text("in an array")])
    doc["xml"] = pycrdt.XmlFragment([pycrdt.XmlElement("p", {"a": "b"}, [pycrdt.XmlText("in XML")])])
    assert found(doc.get_update()) == {
        "array": Root("array", False),
        "map": Root("map", True),
        "text": Root("text", False),
        "xml": Root("xml", False),
    }


@pytest.mark.parametrize("again", ["", "later"])
def test_root_whose_first_items_are_deleted(again: str) -> None:
    """An item is followed through deleted ones to its root; with nothing else left its kind is unknown."""
    doc = pycrdt.Doc[Any]()
    text = doc.get("t", type=pycrdt.Text)
    text += "gone"
    text.clear()
    text += again
    assert found(doc.get_update()) == {"t": Root("text" if again else "unknown", False)}


def test_item_whose_neighbour_is_missing_says_nothing() -> None:
    """What follows a struct that is not there belongs to no root yet."""
    doc, updates = pycrdt.Doc[Any](), []
    text = doc.get("t", type=pycrdt.Text)
    for word in ("a", "b", "c"):
        before = doc.get_state()
        text += word
        updates.append(doc.get_update(before))
    assert found(compact([updates[0], updates[2]]).state) == {"t": Root("text", False)}
    assert found(updates[2]) == {}


def test_forged_circle_of_origins_ends() -> None:
    """Two items of two clients that name each other as origin are in no root."""
    item = b"\x01%c\x00\x84%c\x00\x01x"  # one struct of a client at clock 0, after another client's clock 0: "x"
    assert roots(parse(b"\x02" + item % (1, 2) + item % (2, 1) + b"\x00")) == {}
