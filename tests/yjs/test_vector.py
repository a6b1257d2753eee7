"""State vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.yjs.lib0 import MAX_UINT
from relay.yjs.vector import decode_vector, encode_vector

CLOCKS = st.integers(1, MAX_UINT)


@given(st.dictionaries(st.integers(0, MAX_UINT), CLOCKS, max_size=8))
def test_vector_round_trips(vector: dict[int, int]) -> None:
    """A vector is read back, and any shorter or longer encoding is malformed."""
    encoded = encode_vector(vector)
    assert decode_vector(encoded) == vector
    for bad in (*(encoded[:size] for size in range(len(encoded))), encoded + b"\0"):
        with pytest.raises(Malformed):
            decode_vector(bad)


def test_vector_is_ordered_as_yjs_writes_it() -> None:
    """Greatest client first; a clock of 0 says nothing and is left out."""
    assert encode_vector({1: 5, 300: 2, 7: 0}).hex() == "02ac0202" + "0105"


@given(st.binary(max_size=30))
def test_arbitrary_bytes_are_a_vector_or_malformed(data: bytes) -> None:
    """No input makes another error or more entries than bytes."""
    try:
        assert len(decode_vector(data)) <= len(data)
    except Malformed:
        pass


def test_huge_count_is_refused_before_reading() -> None:
    """A count is checked against the bytes left."""
    with pytest.raises(Malformed):
        decode_vector(bytes.fromhex("ffffffffffffff0f0000"))
