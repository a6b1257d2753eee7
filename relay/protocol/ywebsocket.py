"""The y-websocket protocol: varUint type, body; one message a WebSocket frame; the room is in the URL.

Types: 0 sync, 1 awareness, 2 auth (server to client), 3 query awareness, 100 acknowledgement (ours: `?ack=1`).
"""

from relay.errors import Malformed
from relay.protocol.messages import Message, Presence, QueryPresence, read_sync, take_bytes
from relay.yjs.lib0 import read_uint, write_bytes, write_uint

__all__ = [
    "ACKNOWLEDGED",
    "REFUSED",
    "SYNC",
    "decode",
    "denied",
    "keystroke",
    "presence",
    "query_presence",
    "step1",
    "step2",
    "update",
]

SYNC, AWARENESS, AUTH, QUERY_AWARENESS, ACK = 0, 1, 2, 3, 100
ACKNOWLEDGED, REFUSED = bytes((ACK, 1)), bytes((ACK, 0))
"""Exactly one for each Update and Step2 of a client that opted in, in order: saved, or not applied (read-only)."""


def decode(message: bytes) -> Message:
    """One frame's payload. Raises Malformed; an unknown type is malformed too: no client of ours sends one."""
    kind, at = read_uint(message, 0)
    if kind == SYNC:
        return read_sync(message, at)
    if kind == AWARENESS:
        states, end = take_bytes(message, at)
        if end != len(message):
            raise Malformed("bytes after an awareness message")
        return Presence(states)
    if kind == QUERY_AWARENESS:
        return QueryPresence()
    raise Malformed(f"message of unknown type {kind}")


def keystroke(message: bytes, at: int) -> bytes:
    """The update in the sync message that begins at `at`, if that is an Update of less than 128 bytes; empty if it is
    anything else. The hot path's one look."""
    size = len(message) - at - 3
    if 0 < size < 128 and message[at + 2] == size and message[at : at + 2] == b"\0\2":
        return message[at + 3 :]
    return b""


def step1(vector: bytes) -> bytes:
    return b"\0\0" + write_bytes(vector)


def step2(diff: bytes) -> bytes:
    return b"\0\1" + write_bytes(diff)


def update(edits: bytes) -> bytes:
    size = len(edits)
    return b"\0\2%c%b" % (size, edits) if size < 128 else b"\0\2" + write_bytes(edits)


def presence(states: bytes) -> bytes:
    return b"\1" + write_bytes(states)


def query_presence() -> bytes:
    """Ask a client for the awareness states it knows, its own among them. Hocuspocus writes it the same way."""
    return bytes((QUERY_AWARENESS,))


def denied(reason: str) -> bytes:
    """The auth message that tells a client why, before its connection is closed."""
    return write_uint(AUTH) + b"\0" + write_bytes(reason.encode())
