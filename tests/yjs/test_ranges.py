"""Sets of clocks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.yjs.ranges import Ranges, decode_ranges, encode_ranges

PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=25)


def model(pairs: list[tuple[int, int]]) -> set[int]:
    return {start + offset for start, length in pairs for offset in range(length)}


@given(PAIRS, st.tuples(st.integers(0, 70), st.integers(0, 15)))
def test_ranges_are_a_set(pairs: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    """Adding says what was missing; what is covered and what is missing are as in a set of integers."""
    ranges = Ranges()
    held: set[int] = set()
    for start, length in pairs:
        added = model([(start, length)])
        assert ranges.add(start, length) is bool(added - held)
        held |= added
    assert model(list(ranges)) == held
    ends = [(start, start + length) for start, length in ranges]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert len(ranges) == len(ends)
    assert ranges.covers(*asked) is (model([asked]) <= held)
    assert model(ranges.missing(*asked)) == model([asked]) - held
    assert Ranges(pairs) == ranges


@given(st.dictionaries(st.integers(0, 2**53 - 1), PAIRS, max_size=4))
def test_encoded_ranges_round_trip(clients: dict[int, list[tuple[int, int]]]) -> None:
    """Ranges by client are read back; empty ones are left out; truncation is malformed."""
    given_ranges = {client: Ranges(pairs) for client, pairs in clients.items()}
    encoded = encode_ranges(given_ranges)
    assert decode_ranges(b"x" + encoded, 1) == (
        {client: ranges for client, ranges in given_ranges.items() if len(ranges)},
        len(encoded) + 1,
    )
    for size in range(len(encoded)):
        with pytest.raises(Malformed):
            decode_ranges(encoded[:size])


@pytest.mark.parametrize("encoded", ["ffffffffffffff0f", "0101ffffff7f", "010101ffffffffffffff0f01"])
def test_ranges_beyond_their_bounds_are_malformed(encoded: str) -> None:
    """Counts beyond the data and clocks beyond 2**53."""
    with pytest.raises(Malformed):
        decode_ranges(bytes.fromhex(encoded))
