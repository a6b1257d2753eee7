"""benchmarks/compare/documents.py"""

from pycrdt import Doc, Text

from benchmarks.compare.documents import typed
from benchmarks.compare.updates import ranges_in


def test_a_paper_as_one_person_types_it() -> None:
    """What was typed and deleted is a document with the text that is left, nothing of it waiting."""
    update, expected = typed(5000, client=77)
    doc: Doc = Doc()
    text = doc.get("text", type=Text)
    doc.apply_update(update)
    assert str(text) == expected
    ((client, first, end),) = ranges_in(update)
    assert (client, first) == (77, 0)
    assert ranges_in(doc.get_update()) == [(77, 0, end)]
    assert len(expected) < end < 5000
