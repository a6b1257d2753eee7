"""The journal in this process's memory: the reference for the contract, and what tests use."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from relay.errors import StreamLost, Unavailable
from relay.journal import Appended, Counted, Entry, Opened
from relay.types import Edit, NodeId, Position, RoomId

__all__ = ["MemoryJournal"]

_position = attrgetter("position")


class _Stream:
    __slots__ = ("entries", "epoch", "last")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.entries: list[Entry] = []
        self.last = Position(epoch, 0, 0)

    def add(self, node: NodeId, edits: tuple[Edit, ...]) -> Position:
        ms = time.time_ns() // 1_000_000
        after = self.last
        self.last = Position(self.epoch, ms, 0) if ms > after.ms else after._replace(seq=after.seq + 1)
        self.entries.append(Entry(self.last, node, edits))
        return self.last

    def between(self, after: Position | None, upto: Position | None) -> list[Entry]:
        first = 0 if after is None else bisect_right(self.entries, after, key=_position)
        end = len(self.entries) if upto is None else bisect_right(self.entries, upto, key=_position)
        return self.entries[first:end]


class MemoryJournal:
    """`Journal` without a server; loses everything with its process."""

    def __init__(self, node: NodeId) -> None:
        self._node = node
        self._streams: dict[RoomId, _Stream] = {}
        self._epoch = 0
        self._closed = False

    async def open(self, room: RoomId, after: Position | None) -> Opened:
        self._check()
        stream = self._streams.get(room)
        if stream is None or (after is not None and stream.last < after):
            self._epoch = max(time.time_ns() // 1_000_000, self._epoch + 1, after.epoch + 1 if after else 0)
            stream = self._streams[room] = _Stream(self._epoch)
        return Opened(stream.epoch, stream.between(after, None))

    def append(self, room: RoomId, epoch: int, edits: Sequence[Edit], done: Appended, *, soon: bool = True) -> None:
        loop = asyncio.get_running_loop()
        stream = self._streams.get(room)
        if self._closed:
            loop.call_soon(done, Unavailable("the journal is closed"))
        elif stream is None or stream.epoch != epoch:
            loop.call_soon(done, StreamLost(f"stream {epoch} of {room!r} is gone"))
        else:
            loop.call_soon(done, stream.add(self._node, tuple(edits)))

    def count(self, room: RoomId, epoch: int, done: Counted) -> None:
        stream = self._streams.get(room)
        held = len(stream.entries) if stream is not None and stream.epoch == epoch else 0
        asyncio.get_running_loop().call_soon(done, Unavailable("the journal is closed") if self._closed else held)

    async def intervene(self, room: RoomId, after: Position | None, edits: Sequence[Edit]) -> Position:
        await self.open(room, after)
        stream = self._streams[room]
        self._epoch = stream.epoch = max(time.time_ns() // 1_000_000, self._epoch + 1)
        stream.entries = [
            entry._replace(position=entry.position._replace(epoch=stream.epoch)) for entry in stream.entries
        ]
        stream.last = stream.last._replace(epoch=stream.epoch)
        return stream.add(self._node, tuple(edits))

    async def read(self, room: RoomId, after: Position | None, upto: Position | None, limit: int = 1000) -> list[Entry]:
        self._check()
        stream = self._streams.get(room)
        return [] if stream is None else stream.between(after, upto)[: max(limit, 0)]

    async def trim(self, room: RoomId, upto: Position) -> None:
        self._check()
        stream = self._streams.get(room)
        if stream is not None and stream.epoch == upto.epoch:
            stream.entries = stream.between(upto, None)

    async def delete(self, room: RoomId) -> None:
        self._check()
        self._streams.pop(room, None)

    async def retire(self, room: RoomId, upto: Position) -> bool:
        self._check()
        stream = self._streams.get(room)
        if stream is not None and (stream.epoch != upto.epoch or stream.between(upto, None)):
            return False
        self._streams.pop(room, None)
        return True

    async def epoch(self, room: RoomId) -> int:
        self._check()
        stream = self._streams.get(room)
        return 0 if stream is None else stream.epoch

    async def length(self, room: RoomId) -> int:
        self._check()
        stream = self._streams.get(room)
        return 0 if stream is None else len(stream.entries)

    async def rooms(self) -> list[RoomId]:
        self._check()
        return list(self._streams)

    async def ping(self) -> None:
        self._check()

    async def close(self) -> None:
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise Unavailable("the journal is closed")
