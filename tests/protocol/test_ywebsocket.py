"""y-websocket's messages, to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.protocol import ywebsocket as protocol
from relay.protocol.messages import Presence, QueryPresence, Step1, Update


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\1\0", Step1(b"\0")),
        (b"\0\1\2\0\0", Update(b"\0\0", True)),
        (b"\0\2\2\0\0", Update(b"\0\0", False)),
        (b"\1\1\0", Presence(b"\0")),
        (b"\3", QueryPresence()),
    ],
)
def test_decode(data: bytes, message: object) -> None:
    """What clients say."""
    assert protocol.decode(data) == message


@given(st.binary(max_size=400))
def test_round_trip(value: bytes) -> None:
    """What is written is read again, whatever its length."""
    assert protocol.decode(protocol.step1(value)) == Step1(value)
    assert protocol.decode(protocol.step2(value)) == Update(value, True)
    assert protocol.decode(protocol.update(value)) == Update(value, False)
    assert protocol.decode(protocol.presence(value)) == Presence(value)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_truncated(value: bytes, data: st.DataObject) -> None:
    """No part of a message passes for one."""
    for whole in (protocol.step1(value), protocol.step2(value), protocol.update(value), protocol.presence(value)):
        with pytest.raises(Malformed):
            protocol.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=5))
def test_bytes_behind(value: bytes, more: bytes) -> None:
    """Nor does a message with something behind it."""
    for whole in (protocol.step1(value), protocol.update(value), protocol.presence(value)):
        with pytest.raises(Malformed):
            protocol.decode(whole + more)


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a message or Malformed, nothing else."""
    try:
        protocol.decode(data)
    except Malformed:
        pass


def test_what_the_server_says() -> None:
    """Denials and acknowledgements, to the byte."""
    assert protocol.denied("no") == b"\2\0\2no"
    assert protocol.ACKNOWLEDGED == b"\x64\1"
    assert protocol.REFUSED == b"\x64\0"


@pytest.mark.parametrize("kind", [2, 4, 99, 100, 127])
def test_unknown_type(kind: int) -> None:
    """Types that no client sends are malformed."""
    with pytest.raises(Malformed):
        protocol.decode(bytes((kind, 0)))


@given(st.binary(max_size=200), st.binary(max_size=10), st.sampled_from((0, 1, 2, 9)))
def test_hot_path_agrees(value: bytes, before: bytes, kind: int) -> None:
    """The hot path finds small updates, whatever is before them, and takes nothing else for one."""
    whole = protocol.update(value)
    small = 0 < len(value) < 128
    assert protocol.keystroke(before + whole, len(before)) == (value if small else b"")
    assert protocol.keystroke(before + whole + b"\0", len(before)) == b""
    assert kind == 2 or protocol.keystroke(bytes((0, kind)) + whole[2:], 0) == b""
    for end in range(len(whole)):
        assert protocol.keystroke(before + whole[:end], len(before)) == b""
