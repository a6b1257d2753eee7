"""What a client can say about one document, whichever protocol it speaks.

The sync sub-protocol (Step1, Step2, Update) is the same in y-websocket and Hocuspocus; see y-protocols, `sync.js`.
"""

from typing import NamedTuple

from relay.errors import Malformed
from relay.yjs.lib0 import read_uint

__all__ = [
    "EMPTY_STATES",
    "SYNC_STEP1",
    "SYNC_STEP2",
    "SYNC_UPDATE",
    "Message",
    "Presence",
    "QueryPresence",
    "Step1",
    "Update",
    "read_string",
    "read_sync",
    "take_bytes",
]

SYNC_STEP1, SYNC_STEP2, SYNC_UPDATE = 0, 1, 2
EMPTY_STATES = b"\0"


class Step1(NamedTuple):
    """The client's state vector: answer with what it lacks."""

    vector: bytes


class Update(NamedTuple):
    """Edits of this client. `step2`: its answer to our Step1, so perhaps nothing that we do not have."""

    update: bytes
    step2: bool


class Presence(NamedTuple):
    """An awareness update, still encoded (see `relay.protocol.presence`)."""

    states: bytes


class QueryPresence(NamedTuple):
    """The client asks for everybody's awareness state."""


Message = Step1 | Update | Presence | QueryPresence


def take_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """A length-prefixed byte string at `at`: (bytes, where it ends). Raises Malformed past the end."""
    length, at = read_uint(data, at)
    end = at + length
    if end > len(data):
        raise Malformed("a length runs past the end of the message")
    return data[at:end], end


def read_string(data: bytes, at: int) -> tuple[str, int]:
    """A lib0 varString at `at`: (text, where it ends). Raises Malformed when it is not UTF-8."""
    raw, at = take_bytes(data, at)
    try:
        return raw.decode(), at
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None


def read_sync(data: bytes, at: int) -> Message:
    """The body of a sync message, which must end the frame."""
    kind, at = read_uint(data, at)
    body, end = take_bytes(data, at)
    if end != len(data):
        raise Malformed("bytes after a sync message")
    if kind == SYNC_UPDATE:
        return Update(body, False)
    if kind == SYNC_STEP2:
        return Update(body, True)
    if kind == SYNC_STEP1:
        return Step1(body)
    raise Malformed(f"sync message of unknown kind {kind}")
