"""Offsets in UTF-8, UTF-16 and code points."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.yjs.positions import (
    points_to_units,
    points_to_utf8,
    units_to_points,
    units_to_utf8,
    utf8_to_points,
    utf8_to_units,
)

TEXT = st.text(st.sampled_from("ab é日😀👩‍👧"), max_size=12)


@given(TEXT)
def test_places_between_characters_convert_both_ways(text: str) -> None:
    """Each code point begins at the same place however it is counted."""
    for points in range(len(text) + 1):
        units = len(text[:points].encode("utf-16-le")) // 2
        utf8 = len(text[:points].encode())
        assert points_to_units(text, points) == units
        assert points_to_utf8(text, points) == utf8
        assert units_to_points(text, units) == utf8_to_points(text, utf8) == points
        assert utf8_to_units(text, utf8) == units
        assert units_to_utf8(text, units) == utf8


@given(TEXT)
def test_places_inside_characters_move_to_their_beginning(text: str) -> None:
    """No offset cuts a character in two."""
    begins = [len(text[:points].encode()) for points in range(len(text) + 1)]
    for utf8 in range(begins[-1] + 1):
        assert utf8_to_points(text, utf8) == max(i for i, begin in enumerate(begins) if begin <= utf8)
    begins = [len(text[:points].encode("utf-16-le")) // 2 for points in range(len(text) + 1)]
    for units in range(begins[-1] + 1):
        assert units_to_points(text, units) == max(i for i, begin in enumerate(begins) if begin <= units)


@pytest.mark.parametrize(
    "convert", [points_to_units, points_to_utf8, units_to_points, units_to_utf8, utf8_to_points, utf8_to_units]
)
@pytest.mark.parametrize(("text", "place"), [("", 1), ("abc", 4), ("abc", -1), ("é😀", 7), ("é😀", -1)])
def test_places_outside_the_text_are_refused(convert: Callable[[str, int], int], text: str, place: int) -> None:
    """Before the beginning and past the end there is nothing to point at."""
    with pytest.raises(IndexError):
        convert(text, place)
