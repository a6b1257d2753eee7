"""States are named by what is in them."""

from typing import Any

import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from plugins.documents.states import lacking, tag
from relay.yjs.compact import compact
from relay.yjs.vector import encode_vector

edits = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.sampled_from(["a", "bc", ""])), max_size=15)


@given(edits)
def test_tag_is_of_what_is_there(edits: list[tuple[int, int, str]]) -> None:
    """However updates are put together, the same content has the same tag; every edit and deletion changes it."""
    docs: list[Any] = [pycrdt.Doc(client_id=n + 1) for n in range(3)]
    updates: list[bytes] = []
    tags = [tag(b"\0\0")]
    for author, at, text in edits:
        doc = docs[author]
        for update in updates:
            doc.apply_update(update)
        body = doc.get("t", type=pycrdt.Text)
        before = len(str(body))
        made: list[bytes] = []
        subscription = doc.observe(lambda event, made=made: made.append(event.update))
        if text:
            body.insert(min(at, before), text)
        elif before:
            del body[min(at, before - 1)]
        doc.unobserve(subscription)
        updates += made
        if made:
            tags.append(tag(compact(updates).state))
    assert len(set(tags)) == len(tags)
    whole: Any = pycrdt.Doc()
    for update in reversed(updates):
        whole.apply_update(update)
    assert tag(whole.get_update()) == tags[-1]


def test_lacking() -> None:
    """A peer gets what it has not."""
    doc: Any = pycrdt.Doc(client_id=7)
    doc["t"] = pycrdt.Text("hello")
    assert lacking(doc.get_update(), encode_vector({7: 5})) == b"\0\0"
