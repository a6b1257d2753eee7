"""Hocuspocus's messages, to the byte, as recorded from the real pair."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.protocol import hocuspocus as protocol
from relay.protocol.hocuspocus import Broadcast, Close, Stateless, Token
from relay.protocol.messages import Presence, QueryPresence, Step1, Update
from relay.yjs.lib0 import write_bytes

D = b"\1d"


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        ("01640200015405342e372e30", Token("T", "4.7.0")),
        ("016402000154", Token("T", "")),
        ("016400000100", Step1(b"\0")),
        ("01640106010100027b7d", Presence(bytes.fromhex("010100027b7d"))),
        ("01640001020000", Update(b"\0\0", True)),
        ("01640002020000", Update(b"\0\0", False)),
        ("01640401020000", Update(b"\0\0", True)),
        ("016403", QueryPresence()),
        ("01640502" + b"hi".hex(), Stateless("hi")),
        ("01640601" + b"x".hex(), Broadcast()),
        ("016407", Close()),
    ],
)
def test_decode(recorded: str, message: object) -> None:
    """What providers say."""
    assert protocol.decode(bytes.fromhex(recorded)) == ("d", D, message)


def test_what_the_server_says() -> None:
    """Our side of the recording."""
    assert protocol.authenticated(D, False).hex() == "016402020a726561642d7772697465"
    assert protocol.authenticated(D, True) == D + b"\2\2\x08readonly"
    assert protocol.denied(D, "no") == D + b"\2\1\2no"
    assert protocol.ask_token(D) == D + b"\2\0"
    assert protocol.sync_status(D, True).hex() == "01640801"
    assert protocol.sync_status(D, False).hex() == "01640800"
    assert protocol.closed(D, "provider_initiated").hex() == "01640712" + b"provider_initiated".hex()
    assert protocol.stateless(D, "hi") == D + b"\5\2hi"


def test_session_address() -> None:
    """`room NUL session` is the room; its frames carry the whole address."""
    address, prefix, _ = protocol.decode(b"\5doc\0s\x07")
    assert (address, prefix) == ("doc\0s", b"\5doc\0s")
    assert protocol.room_of(address) == "doc"
    assert protocol.room_of("doc") == "doc"


@given(st.data())
def test_truncated(data: st.DataObject) -> None:
    """No part of a sync, awareness or stateless message passes for one."""
    value = write_bytes(data.draw(st.binary(min_size=1, max_size=200)))
    kind = data.draw(st.sampled_from([b"\0\0", b"\0\1", b"\0\2", b"\4\2", b"\1", b"\5"]))
    whole = D + kind + value
    if kind == b"\5":
        whole = D + kind + write_bytes(b"text")
    with pytest.raises(Malformed):
        protocol.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a frame or Malformed, nothing else."""
    try:
        protocol.decode(data)
    except Malformed:
        pass


@pytest.mark.parametrize(
    "data", [b"", D, D + b"\x08\1", D + b"\x09", D + b"\x63", D + b"\2\1\1x", b"\1\xff\7", D + b"\2"]
)
def test_malformed(data: bytes) -> None:
    """What only servers say, unknown types, broken names."""
    with pytest.raises(Malformed):
        protocol.decode(data)
