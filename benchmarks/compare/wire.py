"""The two protocols as a client speaks them, down to WebSocket frames."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.compare.attribution import Attribution
from benchmarks.compare.updates import FIRST, Unreadable, changes_in, states_in, uint

__all__ = ["CLOSED", "DENIED", "OPENED", "PING", "STEP1", "SYNCED", "Chunk", "Codec", "framed", "opening"]

PING, CLOSED, STEP1, SYNCED, DENIED, OPENED = range(6)
"""What a message calls for, other than noting down the edits in it."""
MASK = b"\x37\xfa\x21\x3d"
_MASK = int.from_bytes(MASK * 64)
MEMORY = 1 << 24
"""Bytes of messages that a codec remembers having read."""


class Chunk(NamedTuple):
    """What some bytes of a connection say.

    ranges, states: (writer, first clock, clock behind the last); others: likewise, of clients that are no writers, by
    client id; used: bytes; lacks: bytes that the message begun behind them lacks, where known.
    """

    ranges: tuple[tuple[int, int, int], ...]
    states: tuple[tuple[int, int, int], ...]
    others: tuple[tuple[int, int, int], ...]
    used: int
    lacks: int
    calls: tuple[tuple[int, bytes], ...]
    unreadable: int


def framed(payload: bytes, first: int = 0x82) -> bytes:
    """A client's WebSocket frame."""
    size = len(payload)
    if size < 126:
        mask = _MASK >> (256 - size) * 8 if size else 0
        return bytes((first, 128 | size)) + MASK + (int.from_bytes(payload) ^ mask).to_bytes(size)
    head = bytes((first, 254)) + size.to_bytes(2) if size < 65536 else bytes((first, 255)) + size.to_bytes(8)
    mask = int.from_bytes((MASK * (size // 4 + 1))[:size])
    return head + MASK + (int.from_bytes(payload) ^ mask).to_bytes(size)


def opening(host: str, path: str) -> bytes:
    """The request that opens a connection."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


class Codec:
    """One protocol. `hocuspocus`: that rather than y-websocket; `writers`: of a room; `attribution`: what their edits
    are, where they are no letters; then `writers` are those of all rooms, and no two have the same client id.

    A server sends most messages to many, so what they say is remembered: the second reader costs a look-up.
    """

    def __init__(self, hocuspocus: bool, writers: int, attribution: Attribution | None = None) -> None:
        self.hocuspocus = hocuspocus
        self._attribution = attribution
        self._writers = writers
        self._chunks: dict[bytes, Chunk] = {}
        self._messages: dict[bytes, Any] = {}
        self._kept = 0

    def prefix(self, room: str) -> bytes:
        """What every message about a room begins with."""
        return uint(len(room.encode())) + room.encode() if self.hocuspocus else b""

    def hello(self, prefix: bytes, token: str) -> list[bytes]:
        """A client's first messages: who it is, and that it has nothing yet."""
        said = [b"\2\0" + uint(len(token)) + token.encode() + b"\x054.7.0"] if self.hocuspocus else []
        return [prefix + message for message in (*said, b"\0\0\1\0")]

    @staticmethod
    def edit(update: bytes) -> bytes:
        """The message with an update, behind the prefix."""
        return b"\0\2" + uint(len(update)) + update

    @staticmethod
    def cursor(writer: int, clock: int) -> bytes:
        """The message with a writer's cursor, as editors' bindings write it."""
        client = FIRST + writer
        place = f'{{"type":null,"tname":"t","item":{{"client":{client},"clock":{clock}}},"assoc":0}}'
        user = f'{{"name":"User {writer}","color":"#30bced","colorLight":"#30bced33"}}'
        state = f'{{"user":{user},"cursor":{{"anchor":{place},"head":{place}}}}}'.encode()
        update = b"\1" + uint(client) + uint(clock) + uint(len(state)) + state
        return b"\1" + uint(len(update)) + update

    def read(self, data: bytes) -> Chunk:
        """What the bytes of a connection say."""
        chunk = self._chunks.get(data)
        if chunk is None:
            chunk = self._read(data)
            if not chunk.calls:
                self._keep(self._chunks, data, chunk)
        return chunk

    def _keep(self, where: dict[bytes, Any], data: bytes, said: Any) -> None:
        if self._kept > MEMORY:
            self._chunks.clear()
            self._messages.clear()
            self._kept = 0
        self._kept += len(data) + 300
        where[data] = said

    def _read(self, data: bytes) -> Chunk:
        ranges: list[tuple[int, int, int]] = []
        states: list[tuple[int, int, int]] = []
        others: list[tuple[int, int, int]] = []
        calls: list[tuple[int, bytes]] = []
        unreadable = 0
        frames, at, lacks = _frames(data)
        for first, payload in frames:
            if first == 0x82:
                message = self._messages.get(payload)
                if message is None:
                    try:
                        message = self._message(payload)
                    except (Unreadable, IndexError):
                        unreadable += 1
                        continue
                    self._keep(self._messages, payload, message)
                for found, all_of_them in zip(message[:3], (ranges, states, others), strict=True):
                    for writer, clock, end in found:
                        if all_of_them and all_of_them[-1][0] == writer and all_of_them[-1][2] == clock:
                            clock = all_of_them.pop()[1]
                        all_of_them.append((writer, clock, end))
                if message[3] is not None:
                    calls.append((message[3], payload))
            elif first in (0x88, 0x89):
                calls.append((CLOSED if first == 0x88 else PING, payload))
            elif first != 0x8A:
                unreadable += 1
        return Chunk(tuple(ranges), tuple(states), tuple(others), at, lacks, tuple(calls), unreadable)

    def updates(self, data: bytes) -> Iterator[bytes]:
        """The updates that a connection brought, the answer to what one had first among them."""
        for first, payload in _frames(data)[0]:
            at = self._begins(payload)
            if first == 0x82 and payload[at : at + 1] in ((b"\0", b"\4") if self.hocuspocus else (b"\0",)):
                size, body = _uint(payload, at + 2)
                if payload[at + 1]:
                    yield payload[body : body + size]

    def _begins(self, payload: bytes) -> int:
        """Where a message begins, behind its room's name; its end where it is about no room."""
        if not self.hocuspocus:
            return 0
        if len(payload) == 1:  # a ping or a pong
            return 1
        size, at = _uint(payload, 0)
        return at + size

    def _message(self, payload: bytes) -> tuple[list[Any], list[Any], list[Any], int | None]:
        at = self._begins(payload)
        if self.hocuspocus and at == 1 == len(payload):
            return [], [], [], None
        kind, at = payload[at], at + 1
        if kind == 0 or (kind == 4 and self.hocuspocus):
            step, at = payload[at], at + 1
            if step == 0:
                return [], [], [], STEP1
            size, at = _uint(payload, at)
            found, deleted = changes_in(payload[at : at + size])
            writers = range(FIRST, FIRST + self._writers)
            rest = [each for each in found if each[0] not in writers]
            if self._attribution is None:
                ours = [(client - FIRST, clock, end) for client, clock, end in found if client in writers]
            elif step == 1:  # what there was before; newcomers alone ask
                ours = []
            else:
                ours = self._attribution.found([each for each in found if each[0] in writers], deleted)
            return ours, [], rest, SYNCED if step == 1 else None
        if kind == 1:
            size, at = _uint(payload, at)
            states = [(client - FIRST, clock, clock + 1) for client, clock in states_in(payload[at : at + size])]
            return [], [each for each in states if 0 <= each[0] < self._writers], [], None
        if kind == 2 and payload[at] == int(self.hocuspocus):
            return [], [], [], DENIED
        return [], [], [], None


def _frames(data: bytes) -> tuple[list[tuple[int, bytes]], int, int]:
    """First byte and payload of each; the bytes they take; those that the one begun behind them lacks (0: unknown)."""
    found: list[tuple[int, bytes]] = []
    at, size = 0, len(data)
    while size - at >= 2:
        length, body = data[at + 1], at + 2
        if length == 126:
            body = at + 4
            length = int.from_bytes(data[at + 2 : body]) if body <= size else size
        elif length == 127:
            body = at + 10
            length = int.from_bytes(data[at + 2 : body]) if body <= size else size
        if size < body + length:
            return found, at, body + length - size if body <= size else 0
        found.append((data[at], data[body : body + length]))
        at = body + length
    return found, at, 0


def _uint(data: bytes, at: int) -> tuple[int, int]:
    """A varUint, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
