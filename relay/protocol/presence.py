"""Awareness updates (y-protocols, `awareness.js`): read as far as who and when; the state itself stays opaque bytes."""

from collections.abc import Iterable
from typing import NamedTuple

from relay.errors import Malformed
from relay.types import ClientId
from relay.yjs.lib0 import read_uint, write_bytes, write_uint

__all__ = ["NULL", "State", "decode", "encode", "gone"]

NULL = b"null"
MAX_STATES = 1000


class State(NamedTuple):
    """One client's presence. `entry` is its encoding in an awareness update: client, clock, state; `null`: it left."""

    client: ClientId
    clock: int
    entry: bytes
    null: bool


def decode(states: bytes) -> list[State]:
    """The states of an awareness update, in its order. Raises Malformed."""
    count, at = read_uint(states, 0)
    if count > MAX_STATES:
        raise Malformed("an awareness update with too many clients")
    out = []
    size = len(states)
    for _ in range(count):
        start = at
        client, at = read_uint(states, at)
        clock, at = read_uint(states, at)
        length, at = read_uint(states, at)
        end = at + length
        if end > size:
            raise Malformed("an awareness state runs past the end of the message")
        out.append(State(ClientId(client), clock, states[start:end], length == 4 and states[at:end] == NULL))
        at = end
    if at != size:
        raise Malformed("bytes after an awareness update")
    return out


def encode(entries: Iterable[bytes]) -> bytes:
    """An awareness update of already encoded entries."""
    entries = list(entries)
    return write_uint(len(entries)) + b"".join(entries)


def gone(client: ClientId, clock: int) -> State:
    """The state that says `client` has left; `clock` is the last it announced."""
    return State(client, clock, write_uint(client) + write_uint(clock) + write_bytes(NULL), True)
