"""Positions order a log that may have been lost and begun again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.types import Position

positions = st.builds(Position, *[st.integers(0, 2**64 - 1)] * 3)


@given(positions)
def test_position_round_trips(position: Position) -> None:
    """What `str` writes `parse` reads."""
    assert Position.parse(str(position)) == position


@given(positions, positions)
def test_epoch_outranks_the_stream_id(one: Position, other: Position) -> None:
    """A stream that replaced another is ahead of it, however small its ids; within one, the id decides."""
    if one.epoch != other.epoch:
        assert (one < other) == (one.epoch < other.epoch)
    else:
        assert (one < other) == ((one.ms, one.seq) < (other.ms, other.seq))


@pytest.mark.parametrize("text", ["", "1", "1:", "1:2", "1:2-", ":2-3", "a:2-3", "1:2-3-4", "1:2:3"])
def test_parse_refuses(text: str) -> None:
    """Anything else is a ValueError."""
    with pytest.raises(ValueError):
        Position.parse(text)
