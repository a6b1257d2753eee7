"""The words every layer shares: who, which document, and where in its log."""

from typing import NamedTuple, NewType

__all__ = ["Actor", "ClientId", "Edit", "NodeId", "Position", "RoomId"]

RoomId = NewType("RoomId", str)
"""A document's name as clients write it: 1..512 bytes of UTF-8 without control characters; may contain `/`."""

Actor = NewType("Actor", str)
"""Who made an edit: a token's `sub`, or empty for an anonymous connection."""

NodeId = NewType("NodeId", str)
"""One relay process, unique for its lifetime."""

ClientId = NewType("ClientId", int)
"""A Yjs client id, 0 .. 2**53 - 1."""


class Position(NamedTuple):
    """A place in a room's journal; ordered, so that the greater position covers more of the log.

    Ids alone do not order a log that was lost and begun again: entry 5 of a stream that Redis forgot and entry 5 of
    the stream that replaced it are different edits. `epoch` names the stream: a new stream always gets a greater
    epoch, so "which of these two covers more" has one answer. `ms` and `seq` are the Redis stream id.
    """

    epoch: int
    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The inverse of `str`; raises ValueError on anything else."""
        epoch, _, entry = text.partition(":")
        ms, _, seq = entry.partition("-")
        return cls(int(epoch), int(ms), int(seq))


class Edit(NamedTuple):
    """One Yjs v1 update as a client sent it, byte for byte, and who sent it."""

    actor: Actor
    update: bytes
