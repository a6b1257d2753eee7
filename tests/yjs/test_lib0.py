"""lib0's variable-length encodings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.yjs.lib0 import (
    MAX_DEPTH,
    MAX_UINT,
    read_bytes,
    read_uint,
    skip_any,
    write_bytes,
    write_client,
    write_uint,
)


@given(st.integers(0, MAX_UINT), st.binary(max_size=3))
def test_uint_round_trips(value: int, after: bytes) -> None:
    """A varUint is read back whatever follows it, and cut short it is refused."""
    encoded = write_uint(value)
    assert read_uint(encoded + after, 0) == (value, len(encoded))
    assert write_client(value) == encoded
    for size in range(len(encoded)):
        with pytest.raises(Malformed):
            read_uint(encoded[:size], 0)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16383, "ff7f"), (16384, "808001"), (2097152, "80808001")],
)
def test_uint_is_what_lib0_writes(value: int, encoded: str) -> None:
    """Low group first, seven bits a byte."""
    assert write_uint(value).hex() == encoded


@pytest.mark.parametrize("encoded", ["8080808080808010", "ffffffffffffffff7f", "80" * 40 + "00"])
def test_uint_beyond_javascript_is_refused(encoded: str) -> None:
    """2**53 and more, and endless zeros, are malformed."""
    with pytest.raises(Malformed):
        read_uint(bytes.fromhex(encoded), 0)


def test_bytes_longer_than_the_data_are_refused() -> None:
    """A length is checked against what is left."""
    assert read_bytes(write_bytes(b"abc") + b"x", 0) == (b"abc", 4)
    with pytest.raises(Malformed):
        read_bytes(b"\x04abc", 0)


@pytest.mark.parametrize(
    "encoded",
    [
        "7f",
        "7e",
        "79",
        "78",
        "7d05",
        "7dbf7f",
        "7c00000000",
        "7b0000000000000000",
        "7a0000000000000005",
        "7703616263",
        "7402ffff",
        "7500",
        "75027d017e",
        "7600",
        "7602016175017600" + "01627e",
    ],
)
def test_any_is_skipped_whole_and_refused_cut(encoded: str) -> None:
    """Each kind of value ends where it should, and every shorter prefix is malformed."""
    data = bytes.fromhex(encoded)
    assert skip_any(data + b"\xff", 0) == len(data)
    for size in range(len(data)):
        with pytest.raises(Malformed):
            skip_any(data[:size], 0)


@pytest.mark.parametrize("encoded", ["73", "00", "7702c328", "760101ff7e", "7dffffffffffffffffff01", "75ffff03"])
def test_any_that_lib0_refuses_is_malformed(encoded: str) -> None:
    """Unknown tags, strings that are not UTF-8, endless integers and counts beyond the data."""
    with pytest.raises(Malformed):
        skip_any(bytes.fromhex(encoded), 0)


@pytest.mark.parametrize("opening", [b"\x75\x01", b"\x76\x01\x00"])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    """Values nested deeper than the bound are malformed, however deep; at the bound they pass."""
    assert skip_any(opening * MAX_DEPTH + b"\x7e", 0) == len(opening) * MAX_DEPTH + 1
    for depth in (MAX_DEPTH + 1, 200_000):
        with pytest.raises(Malformed):
            skip_any(opening * depth + b"\x7e", 0)


@given(st.binary(max_size=40))
def test_any_of_arbitrary_bytes_ends_inside_or_is_malformed(data: bytes) -> None:
    """No input makes another error, or an end past the data."""
    try:
        assert 0 < skip_any(data, 0) <= len(data)
    except Malformed:
        pass
