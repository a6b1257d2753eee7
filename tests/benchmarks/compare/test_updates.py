"""benchmarks/compare/updates.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from benchmarks.compare.updates import FIRST, LINE, Unreadable, keystroke, ranges_in, states_in, uint


@pytest.mark.parametrize("length", [1, 5])
def test_typing_is_a_document(length: int) -> None:
    """A document takes every keystroke as it comes, none waits for another, and it names the same characters."""
    doc: Doc = Doc()
    text = doc.get("t", type=Text)
    for turn in range(3 * LINE + 5):
        update = keystroke(FIRST, turn * length, length)
        assert ranges_in(update) == [(FIRST, turn * length, (turn + 1) * length)]
        doc.apply_update(update)
        assert len(text) == (turn + 1) * length
    assert ranges_in(doc.get_update()) == [(FIRST, 0, (3 * LINE + 5) * length)]


def test_what_a_server_merged() -> None:
    """Two writers' edits in one update are both found."""
    doc: Doc = Doc()
    for writer in (FIRST, FIRST + 1):
        for clock in range(3):
            doc.apply_update(keystroke(writer, clock))
    assert sorted(ranges_in(doc.get_update())) == [(FIRST, 0, 3), (FIRST + 1, 0, 3)]


@given(st.binary(max_size=40), st.integers(0, 40))
def test_what_is_no_update(noise: bytes, cut: int) -> None:
    """Whatever the bytes, they are read or refused."""
    for data in (noise, keystroke(FIRST, 3)[:cut]):
        for read in (ranges_in, states_in):
            try:
                read(data)
            except Unreadable:
                pass


def test_an_update_cut_short() -> None:
    """Half an update is refused."""
    with pytest.raises(Unreadable):
        ranges_in(keystroke(FIRST, 3, 9)[:-5])


def test_cursors() -> None:
    """Client and clock of every state."""
    state = uint(4) + b"null"
    assert states_in(uint(2) + uint(7) + uint(300) + state + uint(900) + uint(1) + state) == [(7, 300), (900, 1)]
