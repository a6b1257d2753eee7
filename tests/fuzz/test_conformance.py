"""RFC 6455 on a live relay, section by section: what a client may do is taken, what it may not do ends with 1002.

The Autobahn suite says the same and more, by way of echo.py; it needs Python 2.
"""

import asyncio
import base64
import os
import zlib

import pytest
from relay_process import Relay
from typists import framed

PING, QUESTION, ANSWER = b"\x09", b"\x09", b"\x82\x01\x0a"
"""A Hocuspocus ping and its pong: binary messages that need no document."""
KEY = base64.b64encode(os.urandom(16))


async def converse(relay: Relay, said: bytes | list[bytes], extension: str = "") -> bytes:
    """All that the relay says to the bytes of a client, which then stops sending; `said` may come in pieces."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    extra = f"Sec-WebSocket-Extensions: {extension}\r\n" if extension else ""
    head = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(f"{head}Sec-WebSocket-Key: {KEY.decode()}\r\n{extra}\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert (b"permessage-deflate" in answer) == bool(extension)
    for piece in [said] if isinstance(said, bytes) else said:
        writer.write(piece)
        await asyncio.sleep(0.002)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


def closed(data: bytes) -> int:
    """The code of the close frame, which must be the last thing said; 0 without one."""
    at = data.find(b"\x88")
    assert at < 0 or len(data) == at + 2 + data[at + 1]
    return int.from_bytes(data[at + 2 : at + 4], "big") if at >= 0 else 0


def fragments(message: bytes, between: bytes = b"") -> bytes:
    first, rest = message[:0], message
    return framed(first, 0x02) + between + framed(rest, 0x80)


TAKEN = {
    "a message": (framed(QUESTION), ANSWER),
    "a length in more bytes": (b"\x82\xfe\x00\x01" + b"\0\0\0\0\x09", ANSWER),
    "fragments, the first empty": (fragments(QUESTION), ANSWER),
    "many fragments": (framed(b"", 0x02) + framed(b"", 0) * 100 + framed(QUESTION, 0x80), ANSWER),
    "a ping among fragments": (fragments(QUESTION, framed(b"hi", 0x89)), b"\x8a\x02hi" + ANSWER),
    "a ping of 125 bytes": (framed(b"p" * 125, 0x89), b"\x8a\x7d" + b"p" * 125),
    "an empty ping": (framed(b"", 0x89), b"\x8a\0"),
    "ten pings in order": (
        b"".join(framed(bytes((n,)), 0x89) for n in range(10)),
        b"".join(b"\x8a\1" + bytes((n,)) for n in range(10)),
    ),
    "a pong that nobody asked for": (framed(b"hello", 0x8A) + framed(QUESTION), ANSWER),
    "messages around a ping": (framed(QUESTION) + framed(b"", 0x89) + framed(QUESTION), ANSWER + b"\x8a\0" + ANSWER),
}


@pytest.mark.parametrize("chopped", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", TAKEN)
async def test_allowed(relay: Relay, name: str, chopped: bool) -> None:
    """5.2, 5.4, 5.5: answered, in order, however the bytes arrive."""
    said, answer = TAKEN[name]
    pieces = [said[n : n + 1] for n in range(len(said))] if chopped and len(said) < 60 else [said]
    assert await converse(relay, pieces) == answer


BROKEN = {
    **{f"reserved bits {bits:03b}": framed(QUESTION, 0x82 | bits << 4) for bits in range(1, 8)},
    **{f"opcode {code}": framed(QUESTION, 0x80 | code) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a frame without a mask": b"\x82\x01\x09",
    "a ping in fragments": framed(b"", 0x09) + framed(b"", 0x80),
    "a ping of 126 bytes": framed(b"p" * 126, 0x89),
    "a close of 126 bytes": framed(b"\x03\xe8" + b"p" * 124, 0x88),
    "a close in fragments": framed(b"\x03\xe8", 0x08),
    "a close of one byte": framed(b"\x03", 0x88),
    "a continuation of nothing": framed(QUESTION, 0x80),
    "a message inside a fragmented one": framed(b"", 0x02) + framed(QUESTION),
    "compression that was not agreed": framed(QUESTION, 0xC2),
    **{f"close code {code}": framed(code.to_bytes(2, "big"), 0x88) for code in (0, 999, 1004, 1005, 1006, 1015, 2999)},
}


@pytest.mark.parametrize("name", BROKEN)
async def test_forbidden(relay: Relay, name: str) -> None:
    """5.1, 5.2, 5.4, 5.5, 7.4: the relay fails the connection with 1002, and does not read on."""
    answer = await converse(relay, BROKEN[name] + framed(QUESTION))
    assert closed(answer) == 1002
    assert ANSWER not in answer


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 4999])
async def test_close_is_answered_in_kind(relay: Relay, code: int) -> None:
    """5.5.1, 7.4: a close with a code that clients may use is echoed, also in the middle of a message."""
    said = framed(code.to_bytes(2, "big") + b"bye", 0x88)
    assert closed(await converse(relay, said)) == code
    assert closed(await converse(relay, framed(b"", 0x02) + said)) == code
    assert await converse(relay, framed(b"", 0x88)) == b"\x88\0"


async def test_text(relay: Relay) -> None:
    """The protocols are binary: a text frame ends with 1003, a close reason that is not UTF-8 with 1007."""
    assert closed(await converse(relay, framed(b"hello", 0x81))) == 1003
    assert closed(await converse(relay, framed(b"\x03\xe8\xff", 0x88))) in (1002, 1007)


async def test_length_beyond_all_limits(relay: Relay) -> None:
    """10.4: a frame longer than any message may be is refused at its header, before a byte of it is kept."""
    for length in ((64 << 20) + 1, 2**63 - 1, 2**63, 2**64 - 1):
        answer = await converse(relay, b"\x82\xff" + length.to_bytes(8, "big") + b"\0\0\0\0")
        assert closed(answer) in (1002, 1009)


def deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


async def test_compressed_messages(relay: Relay) -> None:
    """RFC 7692: compressed messages are read, each by itself, in fragments too; what does not inflate fails."""
    packed = deflated(QUESTION)
    whole, parts = framed(packed, 0xC2), framed(packed[:1], 0x42) + framed(packed[1:], 0x80)
    assert await converse(relay, whole + parts + framed(QUESTION), "permessage-deflate") == ANSWER * 3
    assert closed(await converse(relay, framed(b"\xff" * 20, 0xC2), "permessage-deflate")) in (1002, 1007)
    assert closed(await converse(relay, framed(packed, 0x42) + framed(b"", 0xC0), "permessage-deflate")) == 1002


async def test_inflation_is_bounded(relay: Relay) -> None:
    """A small frame that inflates beyond the limit of a message is refused, and costs no memory to speak of."""
    bomb = deflated(bytes(65 << 20))
    before = relay.rss()
    answer = await converse(relay, framed(bomb, 0xC2), "permessage-deflate")
    assert closed(answer) == 1009
    assert relay.rss() - before < 160 << 20


@pytest.mark.parametrize("key", [b"short", "é".encode() * 11, b"MDEyMzQ1Njc4OWFiY2RlZg=!", b""], ids=repr)
async def test_handshake_with_a_wrong_key(relay: Relay, unharmed: None, key: bytes) -> None:
    """4.2.1: a key that is not 16 bytes of base64 is answered with 400."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    head = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(head + b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 400 ")
    writer.close()
