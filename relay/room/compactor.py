"""Turning tails into snapshots: compact, archive, store, then trim; in that order, so that nothing is forgotten early.

The tail becomes a segment of its own and is merged with the segments before it while those are no more than a few
times as large: so a byte is rewritten a number of times logarithmic in the size of its document, and a day's typing in
a long document costs the bytes of the day. A room that comes to rest may rewrite as much again as was typed, which
keeps short documents in one segment. `benchmarks/database_growth.py` counts it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from relay.errors import CodecDied, Malformed, RelayError, StreamLost, Unavailable
from relay.journal import Entry, Journal
from relay.room.load import learn, replay
from relay.room.log import Flush
from relay.room.room import Room
from relay.snapshot import Segment, SnapshotStore
from relay.tasks import spawn
from relay.types import NodeId, Position
from relay.yjs.known import Known

if TYPE_CHECKING:
    from relay.codec.pool import CodecPool
    from relay.metrics import Counters

__all__ = ["Compactor"]

log = logging.getLogger("relay.compactor")
RATIO = 2
"""A segment is merged with what follows it when it is at most this many times as large."""
SMALL = 1 << 10
"""Bytes that a room may rewrite at rest, however little was typed: a row more costs no less."""
RETRY = 5.0
"""Seconds until a room is tried again after PostgreSQL or Redis was away."""


class Compactor:
    """Snapshots rooms, one at a time each, a few at once.

    on_poison: told of a room whose bytes broke a codec.  on_stored: of a snapshot that was written, and where it ends.
    """

    def __init__(
        self,
        node: NodeId,
        journal: Journal,
        snapshots: SnapshotStore,
        codec: "CodecPool",
        counters: "Counters",
        inline_parse: int,
        on_poison: Callable[[Room, RelayError], None],
        on_stored: Callable[[Room, Position], None] = lambda room, upto: None,
        at_once: int = 4,
    ) -> None:
        self._node = node
        self._journal = journal
        self._snapshots = snapshots
        self._codec = codec
        self._counters = counters
        self._inline_parse = inline_parse
        self._on_poison = on_poison
        self._on_stored = on_stored
        self._slots = asyncio.Semaphore(at_once)
        self._busy: dict[Room, asyncio.Task[bool]] = {}
        self._not_before: dict[Room, float] = {}

    def wake(self, room: Room) -> None:
        """The room's tail has grown: snapshot it soon, unless that is under way or has just failed."""
        if not self.busy(room):
            self._start(room, self._compact(room, rest=False))

    def busy(self, room: Room) -> bool:
        """Whether a snapshot of the room is being made, or one failed a moment ago."""
        return room in self._busy or self._not_before.get(room, 0.0) > perf_counter()

    def wants_rest(self, room: Room) -> bool:
        """Whether there is something to store once the room is quiet."""
        return bool(room.log.flushes)

    def rest(self, room: Room) -> None:
        """The room is quiet: snapshot what it has."""
        self._start(room, self._compact(room, rest=True))

    def look(self, room: Room) -> None:
        """Only see whether others have stored more of the room, and take that over."""
        self._start(room, self._look(room))

    async def snapshot(self, room: Room, *, rest: bool) -> bool:
        """Snapshot all that the journal has of the room; True when the stored chain now holds all of that.

        rest: the room is quiet, so that merging more segments is worth while.
        """
        while (task := self._busy.get(room)) is not None:
            await asyncio.wait([task])
        return await asyncio.shield(self._start(room, self._compact(room, rest)))

    def forget(self, room: Room) -> None:
        """The room left memory."""
        self._not_before.pop(room, None)

    def _start(self, room: Room, work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task = self._busy[room] = spawn(f"compact {room.name}", self._run(room, work))
        task.add_done_callback(lambda _: self._busy.pop(room, None))
        return task

    async def _run(self, room: Room, work: Coroutine[Any, Any, bool]) -> bool:
        async with self._slots:
            started = perf_counter()
            try:
                done = await work
            except Unavailable as error:
                self._counters.errors.add("snapshot")
                self._pause(room, RETRY)
                log.warning("snapshot failed, will try again", extra={"room": room.name, "error": str(error)})
                return False
            except (CodecDied, Malformed) as error:
                if not room.closed:
                    self._counters.errors.add("poison")
                    self._pause(room, float("inf"))
                    self._on_poison(room, error)
                return False
            if done:
                self._not_before.pop(room, None)
            else:
                self._pause(room, RETRY)
            self._counters.snapshot_seconds.observe(perf_counter() - started)
            return done

    def _pause(self, room: Room, seconds: float) -> None:
        if not room.closed:
            self._not_before[room] = perf_counter() + seconds

    async def _look(self, room: Room) -> bool:
        await self._collect(room)
        return True

    async def _compact(self, room: Room, rest: bool) -> bool:
        flushes, upto = await self._collect(room)
        stored = list(room.log.segments)
        if upto is None or not flushes:
            return True
        entries = [Entry(_position(f.position), f.node or self._node, tuple(f.edits)) for f in flushes]
        kept = len(stored)
        spare = max(SMALL, sum(flush.size for flush in flushes)) if rest else 0
        state, clocks = await self._codec.compact([payload for flush in flushes for payload in flush.payloads])
        while kept:
            before = stored[kept - 1].segment
            if len(before.state) > max(RATIO * len(state), spare):
                break
            state, clocks = await self._codec.compact([before.state, state])
            kept -= 1
        after = stored[kept - 1].segment.upto if kept else None
        segment = Segment(after, upto, state, clocks)
        if not await self._put(room, entries, segment):
            return False
        self._counters.snapshot_bytes += len(state)
        if room.closed:
            return True
        room.log.replace(kept, [segment])
        room.stored_at = time()
        self._on_stored(room, upto)
        await self._journal.trim(room.name, upto)
        return True

    async def _collect(self, room: Room) -> tuple[list[Flush], Position | None]:
        """What a new segment must hold, and where it ends: *every* entry of the journal up to there.

        Another relay may have the room open too, and write to its journal, store and trim. A segment that claimed a
        range of the log without an entry that others put there would take that entry back, so:

        1. Count the stream's entries. As many as this room has put there or taken in: there are no others. Else read
           the stream to its end and take in what is unknown.
        2. Only then look where the stored chain ends. If that is where this room thinks, nobody else had stored, and
           so nobody trimmed, when the stream was looked at: step 1 saw all. Else take their chain, and begin again.

        What this room was told is saved and the stream does not have, though nobody trimmed it, the journal has
        forgotten: then it has to be appended again first.
        """
        while True:
            count, flushes = await self._count(room)
            had = {_position(flush.position) for flush in flushes}
            upto = max(had, default=room.log.upto())
            forgotten = False
            if count != len(had):  # an entry that was read back before its append was answered is here twice
                entries = await self._read(room)
                # An epoch that was begun from outside keeps the ids of the entries it took over.
                forgotten = not {position[1:] for position in had} <= {entry.position[1:] for entry in entries}
                have = room.log.saved_positions()
                await replay(room, [e for e in entries if e.position not in have], self._codec, self._inline_parse)
                upto = entries[-1].position if entries else room.log.upto()
                flushes = room.log.journalled(upto)
            info = await self._snapshots.info(room.name)
            end = info.upto if info is not None and info.segments else None
            if room.saving.away or any(flush.position is None for flush in flushes):
                raise Unavailable("the journal was away meanwhile")
            if end == room.log.upto() or room.closed:
                if forgotten and not room.closed:
                    self._forgotten(room, "the stream has lost edits")
                return flushes, upto
            await self._take_over(room)

    async def _take_over(self, room: Room) -> None:
        """Another relay has stored more: its chain is ours, once we have seen that it holds what we would let go.

        It lacks that where the journal forgot an edit before the other relay had read it.
        """
        segments = await self._snapshots.load(room.name)
        if not segments:
            raise Unavailable("the stored document is gone")  # deleted: a hint is on its way
        stored = Known()
        for segment in segments:
            stored.load(segment.clocks, segment.state)
        for flush in room.log.journalled(segments[-1].upto):
            for payload in flush.payloads:
                if await learn(stored, payload, self._codec, self._inline_parse):
                    self._forgotten(room, "another relay has stored past edits that it never saw")
        room.adopt(segments)

    def _forgotten(self, room: Room, why: str) -> None:
        error = StreamLost(why)
        room.saving.fail(error)
        raise error

    async def _count(self, room: Room) -> tuple[int, list[Flush]]:
        """How many entries the stream has, and the flushes that this room knew to be there at that very moment."""
        counted: asyncio.Future[tuple[int, list[Flush]]] = asyncio.get_running_loop().create_future()

        def answered(result: int | RelayError) -> None:
            if counted.done():
                return
            if isinstance(result, RelayError):
                counted.set_exception(result)
            elif room.saving.away:  # it may have forgotten what we think it has
                counted.set_exception(Unavailable("the journal was away"))
            else:
                room.log.let_go_of_stored()
                counted.set_result((result, room.log.journalled()))

        self._journal.count(room.name, room.saving.epoch, answered)
        return await counted

    async def _read(self, room: Room) -> list[Entry]:
        entries: list[Entry] = []
        after = room.log.upto()
        while chunk := await self._journal.read(room.name, after, None):
            entries += chunk
            after = chunk[-1].position
        return entries

    async def _put(self, room: Room, entries: list[Entry], segment: Segment) -> bool:
        if room.closed:
            return False  # deleted or set aside meanwhile
        if entries:
            await self._snapshots.archive(room.name, entries)
        if not await self._snapshots.store(room.name, segment):
            log.warning("another node stored more of this room", extra={"room": room.name, "upto": str(segment.upto)})
            return False
        return True


def _position(position: Position | None) -> Position:
    assert position is not None
    return position
