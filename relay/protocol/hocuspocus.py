"""The Hocuspocus protocol: varString address, varUint type, body; many documents on one socket.

The address is the room, or `room NUL session` where a client keeps sessions apart. Versions 2, 3 and 4 differ in what
they understand, not in how it is written; bare bytes 09 and 0a (ping, pong) have no address.
"""

from typing import NamedTuple

from relay.errors import Malformed
from relay.protocol.messages import Message, Presence, QueryPresence, read_string, read_sync, take_bytes
from relay.yjs.lib0 import read_uint, write_bytes

__all__ = [
    "PING",
    "PONG",
    "Broadcast",
    "Close",
    "Frame",
    "Stateless",
    "Token",
    "ask_token",
    "authenticated",
    "closed",
    "decode",
    "denied",
    "room_of",
    "stateless",
    "sync_status",
]

SYNC, AWARENESS, AUTH, QUERY_AWARENESS, SYNC_REPLY, STATELESS, BROADCAST, CLOSE, SYNC_STATUS = range(9)
PING, PONG = b"\x09", b"\x0a"


class Token(NamedTuple):
    """Who the client is. `version` is empty before provider 4."""

    token: str
    version: str


class Stateless(NamedTuple):
    """An application's own message: relayed to nobody, told to plugins."""

    payload: str


class Broadcast(NamedTuple):
    """A message only servers may send to each other."""


class Close(NamedTuple):
    """The client leaves this document."""


class Frame(NamedTuple):
    """A decoded frame. `prefix` is the encoded address: what our frames to this document start with."""

    address: str
    prefix: bytes
    message: Message | Token | Stateless | Broadcast | Close


def room_of(address: str) -> str:
    """The document an address means: its part before NUL."""
    return address.partition("\0")[0]


def decode(data: bytes) -> Frame:
    """One frame with an address. Raises Malformed."""
    address, at = read_string(data, 0)
    prefix = data[:at]
    kind, at = read_uint(data, at)
    if kind in (SYNC, SYNC_REPLY):
        return Frame(address, prefix, read_sync(data, at))
    if kind == AWARENESS:
        states, _ = take_bytes(data, at)
        return Frame(address, prefix, Presence(states))
    if kind == AUTH:
        return Frame(address, prefix, _token(data, at))
    if kind == QUERY_AWARENESS:
        return Frame(address, prefix, QueryPresence())
    if kind == STATELESS:
        return Frame(address, prefix, Stateless(read_string(data, at)[0]))
    if kind == BROADCAST:
        return Frame(address, prefix, Broadcast())
    if kind == CLOSE:
        return Frame(address, prefix, Close())
    raise Malformed(f"message of unknown type {kind}")


def _token(data: bytes, at: int) -> Token:
    kind, at = read_uint(data, at)
    if kind != 0:
        raise Malformed(f"authentication message of unknown kind {kind}")
    token, at = read_string(data, at)
    version = read_string(data, at)[0] if at < len(data) else ""
    return Token(token, version)


def ask_token(prefix: bytes) -> bytes:
    """A grant is about to end: send me a token."""
    return prefix + b"\2\0"


def denied(prefix: bytes, reason: str) -> bytes:
    return prefix + b"\2\1" + write_bytes(reason.encode())


def authenticated(prefix: bytes, readonly: bool) -> bytes:
    return prefix + b"\2\2" + write_bytes(b"readonly" if readonly else b"read-write")


def stateless(prefix: bytes, payload: str) -> bytes:
    return prefix + b"\5" + write_bytes(payload.encode())


def closed(prefix: bytes, reason: str) -> bytes:
    return prefix + b"\7" + write_bytes(reason.encode())


def sync_status(prefix: bytes, applied: bool) -> bytes:
    return prefix + (b"\x08\1" if applied else b"\x08\0")
