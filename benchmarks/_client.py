"""A y-websocket client that does as little as it can, so that what is measured is the server.

Its edits are Yjs updates written by hand. Of what it gets it looks at a message's first bytes, and skips the rest
unless it was asked to keep it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Self

__all__ = ["Client", "backspace", "edits_in", "framed", "keystroke", "percentile", "uint"]

HEAD = 32
"""Bytes of a message that are looked at."""


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


def keystroke(client: int, clock: int, root: bytes = b"body") -> bytes:
    """The update by which `client` types its next character behind its last one, the first at the start of `root`."""
    where = b"\x84" + uint(client) + uint(clock - 1) if clock else b"\x04\1" + uint(len(root)) + root
    return b"\1\1" + uint(client) + uint(clock) + where + b"\1x\0"


def backspace(client: int, clock: int) -> bytes:
    """The update by which `client` deletes the character that it typed at `clock`."""
    return b"\0\1" + uint(client) + b"\1" + uint(clock) + b"\1"


def edits_in(head: bytes) -> int:
    """How many keystrokes of one client a sync update holds, by its first bytes."""
    at = 2
    while head[at] > 127:
        at += 1
    return head[at + 2] if head[at + 1] else 1


def percentile(samples: list[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * share))]


class Client(asyncio.Protocol):
    """One connection. `on_update` is called with the head of each sync update that comes after the document."""

    def __init__(self) -> None:
        self.synced: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """When the document was here (`perf_counter`)."""
        self.received = 0
        self.acknowledged = 0
        self.sent = 0
        self.on_update: Callable[[bytes], None] | None = None
        self.on_pong: Callable[[bytes], None] | None = None
        self.on_acknowledged: Callable[[], None] | None = None
        self.transport: asyncio.Transport
        self._answered = False
        self._buffer = b""
        self._skip = 0  # bytes of a message that are still to come
        self._syncing = False

    @classmethod
    async def connect(cls, port: int, room: str, *, join: bool = True, vector: bytes = b"\0", token: str = "") -> Self:
        """Connect; `join`: ask for the document past `vector`, without waiting for it."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(cls, "127.0.0.1", port)
        named = f"&token={token}" if token else ""
        client.transport.write(
            f"GET /ws/{room}?ack=1{named} HTTP/1.1\r\n"
            "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        if join:
            client.ask(vector)
        return client

    def ask(self, vector: bytes = b"\0") -> None:
        """Ask for the document past `vector`."""
        self.transport.write(framed(b"\0\0" + uint(len(vector)) + vector))

    def update(self, update: bytes) -> None:
        """Send an update."""
        self.sent += 1
        self.transport.write(framed(b"\0\2" + uint(len(update)) + update))

    def ping(self, payload: bytes) -> None:
        """Send a WebSocket ping, which the server's loop answers by itself."""
        self.transport.write(framed(payload, 0x89))

    async def saved(self, within: float = 60.0) -> None:
        """Wait until all that it sent is acknowledged."""
        deadline = time.monotonic() + within
        while self.acknowledged < self.sent:
            if time.monotonic() > deadline or self.transport.is_closing():
                raise SystemExit(f"{self.acknowledged} of {self.sent} updates were acknowledged")
            await asyncio.sleep(0.005)

    def leave(self) -> None:
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.synced.done():
            self.synced.set_exception(ConnectionError("the connection ended before the document was here"))
            self.synced.exception()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._skip:
            if self._skip > len(data):
                self._skip -= len(data)
                return
            at, self._skip = self._skip, 0
            self._ended()
        else:
            at = 0
            if self._buffer:
                data = self._buffer + data
                self._buffer = b""
        if not self._answered:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            self._answered = True
            at = end + 4
        size = len(data)
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            if length == 126:
                body, length = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
            elif length == 127:
                body, length = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
            if size < body + min(length, HEAD):
                break
            self._message(data[at], data[body : body + min(length, HEAD)])
            at = body + length
            if at > size:
                self._skip = at - size
                return
            self._ended()
        self._buffer = data[at:]

    def _message(self, first: int, head: bytes) -> None:
        if first == 0x8A:
            if self.on_pong is not None:
                self.on_pong(head)
        elif first == 0x89:
            self.transport.write(framed(head, 0x8A))
        elif head[0] == 100:
            self.acknowledged += head[1]
            if self.on_acknowledged is not None:
                self.on_acknowledged()
        elif head[:2] == b"\0\1":
            self._syncing = True
        elif head[:2] == b"\0\2" and self.on_update is not None and self.synced.done():
            self.on_update(head)

    def _ended(self) -> None:
        """A message has come whole."""
        if self._syncing:
            self._syncing = False
            if not self.synced.done():
                self.synced.set_result(time.perf_counter())
