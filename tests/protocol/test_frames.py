"""WebSocket frames: the same messages however the bytes arrive, and an end with a code for what breaks the rules."""

import zlib
from itertools import pairwise

import pytest
from fakes import masked, payloads
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate

from relay.protocol.frames import MAX_FRAGMENTS, Inbox, close_frame, frame, header

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


def read(
    *chunks: bytes, max_size: int = 1 << 20, extension: PerMessageDeflate | None = None
) -> tuple[list[bytes], Inbox]:
    inbox = Inbox(max_size, extension)
    messages: list[bytes] = []
    for chunk in chunks:
        messages += inbox.receive(chunk)
    return messages, inbox


def close_code(inbox: Inbox) -> int:
    """The code of the close frame in a reply."""
    (said,) = [said for said in payloads(inbox.reply) if len(said) >= 2]
    return int.from_bytes(said[:2], "big")


def deflated(payload: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_sizes(size: int) -> None:
    """Every form of a length, in both directions."""
    payload = b"x" * size
    assert read(masked(payload))[0] == [payload]
    assert payloads(frame(payload)) == [payload]
    assert frame(payload) == header(size) + payload


STREAM = (
    masked(b"one")
    + masked(b"x" * 300)
    + masked(b"hi", PING)
    + masked(b"fr", 0x02)
    + masked(b"", PING)
    + masked(b"ag", 0x00)
    + masked(b"", 0x80)
    + masked(b"", PONG)
    + masked(b"")
    + masked(b"last")
)
MESSAGES = [b"one", b"x" * 300, b"frag", b"", b"last"]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_every_split(cut: int) -> None:
    """Wherever the stream is cut in two, the messages and the pongs are the same."""
    messages, inbox = read(STREAM[:cut], STREAM[cut:])
    assert messages == MESSAGES
    assert payloads(inbox.reply) == [b"hi", b""]
    assert inbox.ended is None


def test_byte_by_byte() -> None:
    """Likewise when it comes byte by byte."""
    assert read(*(STREAM[n : n + 1] for n in range(len(STREAM))))[0] == MESSAGES


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=200), max_size=6), st.lists(st.integers(0, 1000), max_size=6))
def test_any_split(sent: list[bytes], cuts: list[int]) -> None:
    """Any messages in any pieces."""
    stream = b"".join(map(masked, sent))
    marks = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    assert read(*(stream[a:b] for a, b in pairwise(marks)))[0] == sent


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes(chunks: list[bytes]) -> None:
    """Any bytes are messages or an end, never an error."""
    read(*chunks)


def test_close() -> None:
    """A client's close is answered with its code; nothing after it is read."""
    messages, inbox = read(masked(b"one") + masked((4000).to_bytes(2, "big") + b"bye", CLOSE) + masked(b"two"))
    assert messages == [b"one"]
    assert inbox.ended == 4000
    assert inbox.agreed
    assert close_code(inbox) == 4000
    assert inbox.receive(masked(b"three")) == []


def test_close_without_a_code() -> None:
    """A close may have no code (1005)."""
    assert read(masked(b"", CLOSE))[1].ended == 1005


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(b"text", TEXT), 1003),
        (masked(b"te", 0x01), 1003),
        (b"\x82\x03abc", 1002),
        (masked(b"", 0x80), 1002),
        (masked(b"a", 0x02) + masked(b"b"), 1002),
        (masked(b"x", 0x83), 1002),
        (masked(b"x", 0xC2), 1002),
        (masked(b"x" * 126, PING), 1002),
        (masked(b"", 0x09), 1002),
        (masked(b"\1", CLOSE), 1002),
        (masked(b"x" * 1001), 1009),
        (masked(b"x" * 600, 0x02) + masked(b"x" * 600, 0x80), 1009),
    ],
)
def test_broken_rules(data: bytes, code: int) -> None:
    """Text, frames without a mask, out of order, reserved, too long: closed, with the code that says so."""
    messages, inbox = read(masked(b"before") + data + masked(b"after"), max_size=1000)
    assert messages == [b"before"]
    assert inbox.ended == code
    assert close_code(inbox) == code


def test_too_many_fragments() -> None:
    """A message may not come in any number of pieces."""
    _, inbox = read(masked(b"", 0x02) + masked(b"", 0x00) * MAX_FRAGMENTS)
    assert inbox.ended == 1009


def test_compressed() -> None:
    """Compressed messages are read when compression was negotiated, whole, in fragments, between others."""
    body = b"hello " * 100
    packed = deflated(body)
    stream = masked(packed, 0xC2) + masked(b"plain") + masked(packed[:5], 0x42) + masked(packed[5:], 0x80)
    extension = PerMessageDeflate(True, True, 15, 15)
    assert read(stream, extension=extension)[0] == [body, b"plain", body]


def test_compressed_bomb() -> None:
    """A compressed message is bounded by what it becomes."""
    extension = PerMessageDeflate(True, True, 15, 15)
    _, inbox = read(masked(deflated(b"x" * 100_000), 0xC2), max_size=1000, extension=extension)
    assert inbox.ended == 1009


def test_reason_is_cut() -> None:
    """A close frame holds 123 bytes of reason, whole characters."""
    data = close_frame(4400, "é" * 100)
    assert data[0] == CLOSE
    assert data[1] <= 125
    assert data[4:].decode() == "é" * 61
