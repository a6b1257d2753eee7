"""Clients on bare sockets: they join a room, type character by character, count what is acknowledged, and read along.

Their updates are written by hand; what they read goes into a pycrdt document, which is not what the relay reads with.
"""

import asyncio
import base64
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self
from weakref import WeakSet

from pycrdt import Doc, Text

__all__ = ["Typist", "framed", "keystroke", "nothing_saved", "percentile", "spelled", "uint", "until"]


def uint(value: int) -> bytes:
    """A lib0 varUint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def framed(payload: bytes, first: int = 0x82) -> bytes:
    """A client's WebSocket frame; a mask of zeros leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        return bytes((first, 128 | size)) + b"\0\0\0\0" + payload
    if size < 65536:
        return bytes((first, 254)) + size.to_bytes(2, "big") + b"\0\0\0\0" + payload
    return bytes((first, 255)) + size.to_bytes(8, "big") + b"\0\0\0\0" + payload


def keystroke(client: int, clock: int, length: int = 1) -> bytes:
    """The update by which `client` appends its next character (or `length` of them) to a root text of its own."""
    root = f"t{client}".encode()
    where = b"\x84" + uint(client) + uint(clock - 1) if clock else b"\x04\1" + uint(len(root)) + root
    return b"\1\1" + uint(client) + uint(clock) + where + uint(length) + spelled(length, clock).encode() + b"\0"


def spelled(count: int, first: int = 0) -> str:
    """What a client types with `count` keystrokes, from its `first` on."""
    return ("abcdefghijklmnopqrstuvwxyz" * (count // 26 + 2))[first % 26 :][:count]


def percentile(samples: Sequence[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * share))]


async def until(true: Callable[[], object], within: float, what: str | Callable[[], object]) -> float:
    """Wait for a condition; the seconds that took. Fails after `within` of them."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > within:
            raise AssertionError(f"not within {within} s: {what() if callable(what) else what}")
        await asyncio.sleep(0.01)
    return time.monotonic() - started


async def nothing_saved(typists: Sequence["Typist"], seconds: float) -> list[int]:
    """Returns when nobody has been told of anything saved for so long: what was on its way may come before that. How
    many of each one's updates have been acknowledged. Fails after 20 s."""
    before: list[int] = []
    kept = 0.0

    def quiet() -> bool:
        nonlocal before, kept
        now = [typist.acknowledged for typist in typists]
        if now != before:
            before, kept = now, time.monotonic()
        return time.monotonic() - kept >= seconds

    await until(quiet, seconds + 20, "nothing is saved any more")
    return before


class Typist(asyncio.Protocol):
    """One client. `hocuspocus`: that protocol rather than y-websocket; `watch`: others whose typing is timed here;
    `keep`: the updates it reads are kept as they come, and not applied."""

    everybody: ClassVar[WeakSet["Typist"]] = WeakSet()
    """So that whoever ends a test can end its clients."""

    def __init__(
        self, room: str, client: int, *, hocuspocus: bool = False, watch: Sequence["Typist"] = (), keep: bool = False
    ) -> None:
        self.room = room
        self.client = client
        self.typed = 0  # characters
        self.updates_sent: list[int] = []  # characters after each
        self.acknowledged = 0  # updates
        self.refused = 0
        self.synced = False
        self.denied = ""
        self.answer = b""  # the head of the HTTP response
        self.closed: tuple[int, str] | None = None  # code and reason; 1006 when the socket ended without
        self.closed_at = 0.0
        self.acknowledged_at = 0.0
        self.received = 0
        self.doc: Doc[Any] = Doc()
        self.updates: list[bytes] | None = [] if keep else None
        self.sent_at: list[float] = []
        self.latencies: list[float] = []
        self._watch = dict.fromkeys(watch, 0)
        self._hocuspocus = hocuspocus
        self._prefix = uint(len(room.encode())) + room.encode() if hocuspocus else b""
        self._buffer = b""
        self.transport: asyncio.Transport
        Typist.everybody.add(self)

    @classmethod
    async def join(
        cls,
        port: int,
        room: str,
        client: int,
        *,
        hocuspocus: bool = False,
        token: str = "",
        watch: Sequence["Typist"] = (),
        keep: bool = False,
        vector: bytes = b"\0",
        wait: float | None = 20.0,
        host: str = "127.0.0.1",
    ) -> Self:
        """Connect and ask for the document past `vector`; return when it is here (`wait` None: at once)."""
        loop = asyncio.get_running_loop()
        typist = cls(room, client, hocuspocus=hocuspocus, watch=watch, keep=keep)
        await loop.create_connection(lambda: typist, host, port)
        path = "/ws" if hocuspocus else f"/ws/{room}?ack=1" + (f"&token={token}" if token else "")
        key = base64.b64encode(os.urandom(16)).decode()
        typist.transport.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        if hocuspocus:
            auth = uint(len(token)) + token.encode()
            typist.say(b"\2\0" + auth + b"\x054.7.0")
        typist.say(b"\0\0" + uint(len(vector)) + vector)
        if wait is not None:
            await until(lambda: typist.synced or typist.closed or typist.denied, wait, f"{client} joined {room}")
            assert typist.synced, (typist.closed, typist.denied, typist.answer[:80])
        return typist

    def say(self, message: bytes) -> None:
        """Send a message about the document."""
        self.transport.write(framed(self._prefix + message))

    def type(self, count: int = 1, length: int = 1) -> None:
        """Send `count` updates, a frame each, of `length` characters."""
        now = time.perf_counter()
        frames = []
        for _ in range(count):
            update = keystroke(self.client, self.typed, length)
            frames.append(framed(self._prefix + b"\0\2" + uint(len(update)) + update))
            self.typed += length
            self.updates_sent.append(self.typed)
            self.sent_at += [now] * length
        self.transport.write(b"".join(frames))

    @property
    def saved(self) -> int:
        """How many of its characters the relay has acknowledged."""
        return self.updates_sent[self.acknowledged - 1] if self.acknowledged else 0

    async def keep_typing(self, per_second: float, seconds: float = 1e9) -> None:
        """Type until told to stop or cut off."""
        ends = time.monotonic() + seconds
        while self.closed is None and time.monotonic() < ends:
            self.type()
            await asyncio.sleep(1 / per_second)

    def text(self, client: int) -> str:
        """What this client has read of another's typing."""
        return str(self.doc.get(f"t{client}", type=Text))

    def leave(self) -> None:
        """Drop the connection without a word."""
        self.transport.abort()

    # -- from the socket --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed is None:
            self.closed = (1006, str(exc or ""))
            self.closed_at = time.monotonic()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        data = self._buffer + data if self._buffer else data
        at = 0
        if not self.answer:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            self.answer, at = data[:end], end + 4
        size = len(data)
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            if length == 126:
                body, length = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
            elif length == 127:
                body, length = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
            if size < body + length:
                break
            self._frame(data[at], data[body : body + length])
            at = body + length
        self._buffer = data[at:]

    def _frame(self, first: int, payload: bytes) -> None:
        if first == 0x82:
            self._message(payload)
        elif first == 0x88:
            if self.closed is None:
                self.closed = (int.from_bytes(payload[:2], "big"), payload[2:].decode())
                self.closed_at = time.monotonic()
            self.transport.write(framed(payload[:2], 0x88))
        elif first == 0x89:
            self.transport.write(framed(payload, 0x8A))

    def _message(self, message: bytes) -> None:
        if message == b"\x09" and self._hocuspocus:
            self.transport.write(framed(b"\x0a"))
            return
        kind, *rest = message[len(self._prefix) :]
        if kind == 0 and rest[0]:
            self._apply(bytes(rest))
        elif (kind == 100 and not self._hocuspocus) or (kind == 8 and self._hocuspocus):
            self.acknowledged += rest[0]
            self.refused += not rest[0]
            self.acknowledged_at = time.monotonic()
        elif kind == 2 and rest[0] == int(self._hocuspocus):
            self.denied = bytes(rest[2:]).decode()

    def _apply(self, sync: bytes) -> None:
        at = 2
        while sync[at - 1] > 127:
            at += 1
        self.synced = self.synced or sync[0] == 1
        if self.updates is not None:
            self.updates.append(sync[at:])
            return
        self.doc.apply_update(sync[at:])
        now = time.perf_counter()
        for other, seen in self._watch.items():
            there = len(self.doc.get(f"t{other.client}", type=Text))
            if there > seen:
                self._watch[other] = there
                self.latencies += [now - sent for sent in other.sent_at[seen:there]]
