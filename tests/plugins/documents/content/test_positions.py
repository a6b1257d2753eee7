"""Positions in UTF-8, UTF-16 and code points."""

from hypothesis import given
from hypothesis import strategies as st

from plugins.documents.content.positions import Positions, utf8_length, utf16_length

texts = st.text(st.sampled_from("aé€日😀👩\u200d🚀\u0301א") | st.characters(exclude_categories=["Cs"]), max_size=12)


@given(texts)
def test_positions_are_those_of_the_encodings(text: str) -> None:
    """Before each character stands what encoding the text before it is long; and back."""
    positions = Positions(text)
    assert (positions.length, positions.utf8, positions.utf16) == (len(text), utf8_length(text), utf16_length(text))
    for at in range(len(text) + 1):
        assert positions.to_utf8(at) == len(text[:at].encode())
        assert positions.to_utf16(at) == len(text[:at].encode("utf-16-le")) // 2
        assert positions.from_utf8(positions.to_utf8(at)) == at
        assert positions.from_utf16(positions.to_utf16(at)) == at
        assert positions.utf8_from_utf16(positions.to_utf16(at)) == positions.to_utf8(at)
        assert positions.utf16_from_utf8(positions.to_utf8(at)) == positions.to_utf16(at)


@given(texts)
def test_inside_of_a_character_is_its_start(text: str) -> None:
    """A position between the bytes or halves of a character is the character's."""
    positions = Positions(text)
    for unit in range(positions.utf8 + 1):
        assert positions.from_utf8(unit) == max(at for at in range(len(text) + 1) if positions.to_utf8(at) <= unit)
    for unit in range(positions.utf16 + 1):
        assert positions.from_utf16(unit) == max(at for at in range(len(text) + 1) if positions.to_utf16(at) <= unit)


def test_beyond_the_text_is_its_end() -> None:
    """Positions outside of the text are its ends."""
    positions = Positions("a😀")
    assert [positions.to_utf16(9), positions.from_utf16(9), positions.from_utf8(99), positions.to_utf8(-1)] == [
        3,
        2,
        2,
        0,
    ]
