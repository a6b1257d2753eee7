"""What the relay and its codec processes say to each other: a pickle, and beside it the large bytes that belong in it.

    pickle length, number of large ones, their lengths (8 bytes each, big-endian), pickle, large ones

In the pickle, a document of 20 MB would be copied twice on either side, which holds up the relay's loop for 10 ms.
"""

import pickle
import struct
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

__all__ = ["HEAD", "lengths", "pack", "receive", "unpack"]

HEAD = struct.Struct("!QQ")
APART = 65536
"""Bytes from which on they go beside the pickle."""


def pack(message: object) -> list[bytes | memoryview]:
    """A message in pieces, to be sent one after the other."""
    large: list[pickle.PickleBuffer] = []
    body = pickle.dumps(_apart(message), 5, buffer_callback=large.append)
    parts = [part.raw() for part in large]
    return [HEAD.pack(len(body), len(parts)) + struct.pack(f"!{len(parts)}Q", *map(len, parts)) + body, *parts]


def _apart(value: Any) -> Any:
    if isinstance(value, bytes):
        return pickle.PickleBuffer(value) if len(value) >= APART else value
    if type(value) in (tuple, list):
        return type(value)(map(_apart, value))
    return value


def lengths(data: bytes) -> Sequence[int]:
    """Of the large ones, from what follows the head."""
    return struct.unpack(f"!{len(data) // 8}Q", data)


def unpack(body: bytes, large: Iterable[bytes]) -> Any:
    """The message again. The peer is a process that we started, or that started us."""
    return pickle.loads(body, buffers=large)  # noqa: S301


def receive(source: BinaryIO) -> Any:
    """The next message; None when there is none any more."""
    if not (head := source.read(HEAD.size)):
        return None
    size, count = HEAD.unpack(head)
    sizes = lengths(source.read(8 * count))
    return unpack(source.read(size), [source.read(each) for each in sizes])
