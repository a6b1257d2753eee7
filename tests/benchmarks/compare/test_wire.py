"""benchmarks/compare/wire.py"""

import pytest
from websockets.frames import Opcode
from websockets.server import ServerProtocol

from benchmarks.compare.updates import FIRST, keystroke, uint
from benchmarks.compare.wire import PING, STEP1, SYNCED, Codec, framed, opening
from relay.protocol.frames import frame


@pytest.mark.parametrize("size", [0, 1, 5, 125, 126, 65535, 65536])
def test_frames_are_what_a_server_reads(size: int) -> None:
    """Masked, of every length."""
    payload = bytes(n % 251 for n in range(size))
    server = ServerProtocol(max_size=None)
    server.receive_data(opening("h", "/x"))
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    server.receive_data(framed(payload))
    (read,) = server.events_received()
    assert (read.opcode, read.data) == (Opcode.BINARY, payload)  # type: ignore[union-attr]


@pytest.mark.parametrize("hocuspocus", [False, True])
def test_what_a_connection_says(hocuspocus: bool) -> None:
    """Edits that touch are one range, others' are apart, calls are kept, and half a message waits for the rest."""
    codec = Codec(hocuspocus, writers=2)
    prefix = codec.prefix("room")
    said = [
        prefix + b"\0\0\1\0",
        prefix + codec.edit(keystroke(FIRST, 0)),
        prefix + codec.edit(keystroke(FIRST, 1)),
        prefix + codec.edit(keystroke(FIRST + 1, 4)),
        prefix + codec.edit(keystroke(FIRST, 1)),
        prefix + codec.edit(keystroke(9, 0)),
        prefix + codec.cursor(1, 5),
        prefix + b"\0\1\2\0\0",
    ]
    data = b"".join(map(frame, said)) + b"\x89\x01p" + frame(said[0])[:-2]
    chunk = codec.read(data)
    assert chunk.ranges == ((0, 0, 2), (1, 4, 5), (0, 1, 2))
    assert chunk.others == ((9, 0, 1),)
    assert chunk.states == ((1, 5, 6),)
    assert [call for call, _ in chunk.calls] == [STEP1, SYNCED, PING]
    assert data[chunk.used :] == frame(said[0])[:-2]
    assert (chunk.lacks, chunk.unreadable) == (2, 0)


def test_what_was_read_before_is_read_the_same() -> None:
    """The second reader of a message gets what the first one got."""
    codec = Codec(False, writers=1)
    data = frame(codec.edit(keystroke(FIRST, 0)))
    assert codec.read(data) is codec.read(bytes(bytearray(data)))


def test_a_message_that_is_none() -> None:
    """It is counted, and what follows is read."""
    codec = Codec(False, writers=1)
    chunk = codec.read(frame(b"\0\2" + uint(50) + b"\1\1") + frame(codec.edit(keystroke(FIRST, 0))))
    assert (chunk.unreadable, chunk.ranges) == (1, ((0, 0, 1),))
