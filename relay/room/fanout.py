"""One message to everybody: framed once for all who read the same bytes, written to each."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from relay.protocol.frames import BINARY_FIN_COMPRESSED, frame, header
from relay.room.member import Member

if TYPE_CHECKING:
    from relay.metrics import Counters

__all__ = ["Fanout", "Group"]

DEFLATE = PerMessageDeflate(True, True, 15, 15, {"level": 1, "memLevel": 5})
"""The encoder of every connection that negotiated compression: without context takeover they all say the same."""
COMPRESS_UPTO = 65536  # 1 ms of loop time; beyond it the bytes go as they are


class Group:
    """Members who read the same bytes. `targets` is what a flush walks; empty after somebody came or went."""

    __slots__ = ("compress_from", "deflate", "members", "prefix", "targets")

    def __init__(self, prefix: bytes, deflate: bool, compress_from: int) -> None:
        self.compress_from = compress_from
        self.prefix = prefix
        self.deflate = deflate
        self.members: dict[Member, Callable[[bytes], None]] = {}
        self.targets: tuple[tuple[Member, Callable[[bytes], None]], ...] = ()

    def frame(self, body: bytes) -> bytes:
        """The WebSocket frame of a protocol message for this group."""
        if self.deflate and self.compress_from <= len(body) <= COMPRESS_UPTO:
            data = DEFLATE.encode(Frame(Opcode.BINARY, self.prefix + body)).data
            return header(len(data), BINARY_FIN_COMPRESSED) + data
        return frame(self.prefix + body)


class Fanout:
    """The members of a room who keep up, in groups."""

    __slots__ = ("compress_from", "counters", "groups")

    def __init__(self, compress_from: int, counters: Counters) -> None:
        self.groups: dict[tuple[bytes, bool], Group] = {}
        self.compress_from = compress_from
        self.counters = counters

    def add(self, member: Member) -> None:
        key = (member.prefix, member.socket.deflate)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(*key, self.compress_from)
        group.members[member] = member.socket.write
        group.targets = ()
        member.group = group

    def remove(self, member: Member) -> None:
        group = member.group
        if group is None:
            return
        member.group = None
        del group.members[member]
        group.targets = ()
        if not group.members:
            del self.groups[group.prefix, group.deflate]

    def send(self, body: bytes, but: Container[Member]) -> tuple[dict[Group, bytes], int]:
        """Write `body` to everybody but `but`; the frames by group, and how many members got one.

        A write may find its socket full and take that member out of its group: the walk goes over a tuple made
        before.
        """
        frames: dict[Group, bytes] = {}
        sent = size = 0
        for group in tuple(self.groups.values()):
            data = frames[group] = group.frame(body)
            before = sent
            targets = group.targets
            if not targets:  # not at every join: a herd would make as many tuples of as many members
                targets = group.targets = tuple(group.members.items())
            for member, write in targets:
                if member not in but:
                    write(data)
                    sent += 1
            size += (sent - before) * len(data)
        self.counters.frames_out += sent
        self.counters.bytes_out += size
        return frames, sent
