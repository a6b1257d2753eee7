"""The client's side of the wire, without a socket: WebSocket frames, y-websocket and Hocuspocus messages, keystrokes.

Made to cost little, so that a thousand clients fit into a process: updates are written by hand, and of an update that
comes in only the id of its first edit is read.
"""

from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import quote

__all__ = [
    "CLOSE",
    "PING",
    "PONG",
    "Dialect",
    "Frames",
    "Kind",
    "Said",
    "first_edit",
    "framed",
    "keystroke",
    "read_uint",
    "request",
    "spelled",
    "text",
    "uint",
]

BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A
"""First bytes of a whole WebSocket frame."""
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def uint(value: int) -> bytes:
    """A lib0 varUint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_uint(data: bytes, at: int) -> tuple[int, int]:
    """A varUint and where it ends. Raises IndexError when `data` ends first."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def text(value: str) -> bytes:
    """A lib0 varString."""
    raw = value.encode()
    return uint(len(raw)) + raw


def framed(payload: bytes, first: int = BINARY) -> bytes:
    """A client's WebSocket frame; a mask of zeros leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        return bytes((first, 128 | size)) + b"\0\0\0\0" + payload
    if size < 65536:
        return bytes((first, 254)) + size.to_bytes(2, "big") + b"\0\0\0\0" + payload
    return bytes((first, 255)) + size.to_bytes(8, "big") + b"\0\0\0\0" + payload


def request(path: str, host: str) -> bytes:
    """The head of a WebSocket handshake."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


class Frames:
    """The server's bytes, taken apart: `answer` is the head of its HTTP response, what follows are frames."""

    __slots__ = ("_buffer", "_wanted", "answer")

    def __init__(self) -> None:
        self.answer = b""
        self._buffer = bytearray()
        self._wanted = 0  # bytes that must be here before it is worth looking again

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """First byte and payload of each frame that is whole now. Abandon the object with the iterator."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        size, at = len(data), 0
        if not self.answer:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer += data
                return
            self.answer, at = data[:end], end + 4
        wanted = 0
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            if length > 125:
                body = at + (4 if length == 126 else 10)
                if size < body:
                    break
                length = int.from_bytes(data[at + 2 : body], "big")
            if size < body + length:
                wanted = body + length - at
                break
            yield data[at], data[body : body + length]
            at = body + length
        self._buffer += data[at:]
        self._wanted = wanted


# -- edits --


def spelled(count: int, first: int = 0) -> str:
    """What an author types with `count` keystrokes, from the `first` on."""
    return (ALPHABET * (count // 26 + 2))[first % 26 :][:count]


def keystroke(client: int, clock: int, length: int = 1) -> bytes:
    """The update by which `client` appends its next characters to the root text `t<client>`, which only it writes to:
    so a reader can check every one of them."""
    root = f"t{client}".encode()
    where = b"\x84" + uint(client) + uint(clock - 1) if clock else b"\x04\1" + uint(len(root)) + root
    return b"\1\1" + uint(client) + uint(clock) + where + uint(length) + spelled(length, clock).encode() + b"\0"


def first_edit(update: bytes) -> tuple[int, int] | None:
    """Client and clock of the first edit in an update; None when it only deletes."""
    if not update[0]:
        return None
    _, at = read_uint(update, 0)
    _, at = read_uint(update, at)
    client, at = read_uint(update, at)
    return client, read_uint(update, at)[0]


# -- messages --


class Kind(Enum):
    """What a server's message is about."""

    STEP1 = auto()
    DOCUMENT = auto()  # Step2: the document is here
    UPDATE = auto()
    SAVED = auto()
    REFUSED = auto()
    DENIED = auto()
    ASKS_TOKEN = auto()
    CLOSED = auto()
    PING = auto()
    OTHER = auto()


class Said(NamedTuple):
    """A message, read as far as a client here needs it. `body`: an update, or a reason."""

    kind: Kind
    body: bytes = b""


_SYNC = (Kind.STEP1, Kind.DOCUMENT, Kind.UPDATE)
_OTHER = Said(Kind.OTHER)


class Dialect:
    """The messages of one client about one room, in one of the two protocols."""

    __slots__ = ("_prefix", "_skip", "hocuspocus", "name", "room")

    def __init__(self, room: str, *, hocuspocus: bool) -> None:
        self.room = room
        self.hocuspocus = hocuspocus
        self.name = "hocuspocus" if hocuspocus else "y-websocket"
        self._prefix = text(room) if hocuspocus else b""
        self._skip = len(self._prefix)

    def path(self, token: str) -> str:
        """Where the client connects; `?room=` is for balancers that hash it."""
        room = quote(self.room, safe="")
        if self.hocuspocus:
            return f"/ws?room={room}"
        return f"/ws/{quote(self.room)}?ack=1" + (f"&token={quote(token)}" if token else "")

    def hello(self, token: str) -> bytes:
        """The frames that ask for the whole document."""
        ask = framed(self._prefix + b"\0\0\1\0")
        return framed(self.token(token)) + ask if self.hocuspocus else ask

    def token(self, token: str) -> bytes:
        """The message with which a Hocuspocus client authenticates."""
        return self._prefix + b"\2\0" + text(token) + text("4.7.0")

    def update(self, update: bytes, *, step2: bool = False) -> bytes:
        return self._prefix + (b"\0\1" if step2 else b"\0\2") + uint(len(update)) + update

    def cursor(self, client: int, clock: int, state: str) -> bytes:
        """An awareness message about one client; `state` is JSON, or `null` when it leaves."""
        states = b"\1" + uint(client) + uint(clock) + text(state)
        return self._prefix + b"\1" + uint(len(states)) + states

    def read(self, message: bytes) -> Said:
        """What a message of the server's says. Raises IndexError when it is cut short."""
        if message == b"\x09" and self.hocuspocus:
            return Said(Kind.PING)
        at = self._skip
        kind = message[at]
        if kind in (0, 4):  # Sync, SyncReply
            return Said(_SYNC[message[at + 1]], _sized(message, at + 2))
        if kind == (8 if self.hocuspocus else 100):
            return Said(Kind.SAVED if message[at + 1] else Kind.REFUSED)
        if kind == 2:
            if message[at + 1] == (1 if self.hocuspocus else 0):
                return Said(Kind.DENIED, _sized(message, at + 2))
            return Said(Kind.ASKS_TOKEN) if message[at + 1] == 0 else _OTHER
        if kind == 7 and self.hocuspocus:
            return Said(Kind.CLOSED, _sized(message, at + 1))
        return _OTHER


def _sized(message: bytes, at: int) -> bytes:
    size, at = read_uint(message, at)
    return message[at : at + size]
