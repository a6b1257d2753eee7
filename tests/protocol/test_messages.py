"""The sync sub-protocol and lib0's strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.protocol.messages import Step1, Update, read_string, read_sync, take_bytes
from relay.yjs.lib0 import write_bytes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\1\0", Step1(b"\0")),
        (b"\1\2\0\0", Update(b"\0\0", True)),
        (b"\2\2\0\0", Update(b"\0\0", False)),
        (b"\2\0", Update(b"", False)),
    ],
)
def test_sync(data: bytes, message: object) -> None:
    """Step1, Step2 and Update."""
    assert read_sync(data, 0) == message


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\2\0", b"\3\0", b"\2\1\0\0", b"\2\x80"])
def test_malformed_sync(data: bytes) -> None:
    """Unknown kinds, bytes that are missing, bytes that are left over."""
    with pytest.raises(Malformed):
        read_sync(data, 0)


@given(st.text(), st.binary(max_size=5), st.binary(max_size=5))
def test_string(text: str, before: bytes, after: bytes) -> None:
    """A string is read from where it is, and says where it ends."""
    raw = write_bytes(text.encode())
    assert read_string(before + raw + after, len(before)) == (text, len(before) + len(raw))


@given(st.binary(min_size=1, max_size=300), st.data())
def test_truncated(value: bytes, data: st.DataObject) -> None:
    """Any part of a length-prefixed value is refused."""
    raw = write_bytes(value)
    with pytest.raises(Malformed):
        take_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))], 0)


def test_string_that_is_not_utf8() -> None:
    """A string that is no UTF-8 is refused."""
    with pytest.raises(Malformed):
        read_string(b"\1\xff", 0)
