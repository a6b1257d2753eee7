"""The rooms of this process: loaded once, kept while somebody is there, stored and let go when nobody is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from time import time
from typing import TYPE_CHECKING

from relay import closing
from relay.errors import CodecDied, Deny, Malformed, Quarantined, RelayError, Unavailable
from relay.hooks import Fact
from relay.journal import Journal, Opened
from relay.room import outside
from relay.room.backlog import Backlog
from relay.room.compactor import Compactor
from relay.room.load import replay
from relay.room.member import Member
from relay.room.neighbours import TICK, Neighbours
from relay.room.news import News
from relay.room.recovery import Recovery
from relay.room.room import Limits, Room
from relay.shard import Channels, Heard
from relay.snapshot import Segment, SnapshotStore
from relay.tasks import end, spawn
from relay.types import NodeId, Position, RoomId

if TYPE_CHECKING:
    from relay.codec.pool import CodecPool
    from relay.metrics import Counters

__all__ = ["Registry"]

log = logging.getLogger("relay.rooms")
SWEEP = 1.0
"""Seconds between looks for rooms at rest, expired presence and rooms to unload."""
AGAIN = 0.05
"""Seconds between looks whether the journal has what it forgot, for a relay that wants to end."""
PATIENCE = 4
"""How many times the snapshot size a shared room grows before a relay that is not its home snapshots it."""


class Registry:
    """Opens, keeps and unloads rooms. All of it runs on one event loop."""

    def __init__(
        self,
        node: NodeId,
        journal: Journal,
        snapshots: SnapshotStore,
        codec: "CodecPool",
        counters: "Counters",
        limits: Limits,
        *,
        max_rooms: int = 100_000,
        inline_parse: int = 16384,
        idle_unload: float = 30.0,
        snapshot_idle: float = 10.0,
        presence_timeout: float = 30.0,
        loads_at_once: int = 32,
        channels: Callable[[Heard, Callable[[], None]], Channels] | None = None,
        max_backlog: int = 64 << 20,
        tell: Callable[[Fact], None] | None = None,
    ) -> None:
        self.rooms: dict[RoomId, Room] = {}
        self.codec = codec
        self.counters = counters
        self.inline_parse = inline_parse
        self._node = node
        self.news = News(tell)
        self.compactor = Compactor(
            node, journal, snapshots, codec, counters, inline_parse, self._poisoned, self.news.stored
        )
        self._journal = journal
        self._snapshots = snapshots
        self._limits = limits
        self._max_rooms = max_rooms
        self._idle_unload = idle_unload
        self._snapshot_idle = snapshot_idle
        self._presence_timeout = presence_timeout
        self._loading: dict[RoomId, asyncio.Task[Room]] = {}
        self._unloading: dict[RoomId, asyncio.Task[None]] = {}
        self._loads = asyncio.Semaphore(loads_at_once)
        self._empty: dict[Room, float] = {}
        self.neighbours: Neighbours | None = None
        if channels is not None:
            self._channels = channels(self._heard, self._unheard)
            self.neighbours = Neighbours(
                node, self._channels, journal, codec, inline_parse, self.rooms, self._poisoned, self._behind
            )
        self._ticker: asyncio.Task[None] | None = None
        self.backlog = Backlog(max_backlog)
        self._on_grown = self._grown  # bound once for all rooms
        self.recovery = Recovery(self, journal, snapshots)
        self._on_failed = self.recovery.failed
        self._sweeper: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to look after rooms at rest."""
        self._sweeper = spawn("sweep rooms", self._sweep())
        if self.neighbours is not None:
            self._ticker = spawn("meet other relays", self._tick(self.neighbours))

    # -- open and leave --

    def loaded(self, name: RoomId) -> Room | None:
        """The room if it is in memory."""
        return self.rooms.get(name)

    async def open(self, name: RoomId) -> Room:
        """The room, loaded by whoever asks first. Raises Unavailable, Quarantined, and Deny when there are too many."""
        while True:
            if (room := self.rooms.get(name)) is not None:
                return room
            if (unloading := self._unloading.get(name)) is not None:
                await asyncio.wait([unloading])
                continue
            loading = self._loading.get(name)
            if loading is None:
                if len(self.rooms) + len(self._loading) >= self._max_rooms:
                    raise Deny("too many open documents on this server", closing.OVERLOADED.code)
                loading = self._loading[name] = spawn(f"load {name}", self._load(name), expected=(RelayError,))
                loading.add_done_callback(lambda _: self._loading.pop(name, None))
            try:
                return await asyncio.shield(loading)
            except asyncio.CancelledError:
                if (asking := asyncio.current_task()) is not None and asking.cancelling():
                    raise
                raise Unavailable("the load was broken off") from None

    def loading(self, name: RoomId) -> asyncio.Task[Room] | None:
        """The load of a room that is under way."""
        return self._loading.get(name)

    def join(self, room: Room, member: Member) -> None:
        """Make `member` one of the room. Raises Deny when it is full."""
        room.attach(member)
        self._empty.pop(room, None)

    def leave(self, room: Room, member: Member) -> None:
        room.detach(member)
        if not room.members and not room.closed:
            self._empty[room] = self._loop.time()

    async def _load(self, name: RoomId) -> Room:
        async with self._loads:
            if self.neighbours is not None:
                await self.neighbours.listen(name)
            try:
                room, entries = await self._build(name)
            except BaseException:
                if self.neighbours is not None:
                    await self.neighbours.unheard(name)
                raise
        self.rooms[name] = room
        self._empty[room] = self._loop.time()
        if self.neighbours is not None:
            self.neighbours.opened(room)
        log.info("room opened", extra={"room": name, "bytes": room.log.size, "entries": entries})
        self.news.opened(room)
        return room

    async def _build(self, name: RoomId) -> tuple[Room, int]:
        """The room, and how many journal entries went into it."""
        segments, opened = await self._read(name)
        room = Room(
            name,
            segments,
            opened.epoch,
            self._journal,
            self.counters,
            self._limits,
            on_grown=self._on_grown,
            on_failed=self._on_failed,
            backlog=self.backlog,
        )
        try:
            for segment in segments:
                for _ in room.known.loading(segment.clocks, segment.state):
                    await asyncio.sleep(0)
            await replay(room, opened.entries, self.codec, self.inline_parse)
        except (Malformed, CodecDied) as error:
            await self._snapshots.quarantine(name, f"loading: {error}")
            raise Quarantined(f"document set aside: {error}") from error
        return room, len(opened.entries)

    async def _read(self, name: RoomId) -> tuple[list[Segment], Opened]:
        """Snapshot and journal, seen so that nothing falls between them.

        The journal is read first: whoever stores and trims afterwards only makes the snapshot cover more of what was
        read. Only when the snapshot has gone beyond all of that must the journal be asked again, past the snapshot.
        """
        opened = await self._journal.open(name, None)
        asked: Position | None = None
        while True:
            segments = await self._snapshots.load(name)
            if not segments:
                return segments, opened
            upto = segments[-1].upto
            last = opened.entries[-1].position if opened.entries else None
            if upto == asked or opened.epoch > upto.epoch or (last is not None and last >= upto):
                return segments, opened._replace(entries=[e for e in opened.entries if e.position > upto])
            asked = upto
            opened = await self._journal.open(name, upto)

    # -- other relays --

    def _heard(self, name: RoomId, node: NodeId, said: bytes) -> None:
        if self.neighbours is not None:
            self.neighbours.received(name, node, said)

    def _unheard(self) -> None:
        if self.neighbours is not None:
            self.neighbours.reset()

    def _behind(self, room: Room) -> None:
        """Others may have stored what this relay has not seen: the compactor looks, and takes it over."""
        if not room.saving.away and not self.compactor.busy(room):
            self.compactor.look(room)

    def _grown(self, room: Room) -> None:
        """One relay's snapshots are enough, unless it is slow."""
        home = self.neighbours is None or self.neighbours.is_home(room)
        if home or room.log.tail_size > PATIENCE * self._limits.tail:
            self.compactor.wake(room)

    async def _tick(self, neighbours: Neighbours) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                await neighbours.tick()
            except Exception:
                log.exception("meeting other relays failed, will try again")

    # -- rest --

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            now = self._loop.time()
            for room in list(self.rooms.values()):
                self.news.look(room)
                if room.presence.held:
                    room.expire_presence(now - self._presence_timeout)
                quiet = now - room.touched >= self._snapshot_idle and self.compactor.wants_rest(room)
                if quiet and not room.saving.away and not self.compactor.busy(room):
                    self.compactor.rest(room)
            for room, since in list(self._empty.items()):
                if now - since >= self._idle_unload and room.name not in self._unloading:
                    self._unloading[room.name] = spawn(f"unload {room.name}", self._unload(room))

    async def _unload(self, room: Room) -> None:
        self._empty[room] = self._loop.time()  # if it can't go now, try again later
        try:
            stored = await self._store(room)
            room.flush()  # somebody may have come, typed and left meanwhile
            if room.closed or not stored or room.members or room.log.flushes or room.saving.away:
                return
            self.news.closed(room)
            self.forget(room)
            # The stream may be newer than the snapshot: opened for somebody who then wrote nothing.
            upto = max(room.log.upto() or Position(0, 0, 0), Position(room.saving.epoch, 0, 0))
            await self._journal.retire(room.name, upto)
            log.info("room closed", extra={"room": room.name, "bytes": room.log.size})
        except Unavailable as error:
            log.info("could not retire a journal", extra={"room": room.name, "error": str(error)})
        finally:
            self._unloading.pop(room.name, None)

    async def _store(self, room: Room) -> bool:
        return not self.compactor.wants_rest(room) or await self.compactor.snapshot(room, rest=True)

    def forget(self, room: Room) -> None:
        """Let go of a room whose members have left or were sent away."""
        room.closed = True
        room.saving.end()
        self.rooms.pop(room.name, None)
        self._empty.pop(room, None)
        self.recovery.forget(room)
        self.compactor.forget(room)
        self.news.forget(room)
        if self.neighbours is not None:
            self.neighbours.closed(room)

    # -- set aside --

    def _poisoned(self, room: Room, error: RelayError) -> None:
        log.error("document quarantined", extra={"room": room.name, "error": str(error)})
        spawn(f"quarantine {room.name}", self.quarantine(room.name, str(error)))

    async def quarantine(self, name: RoomId, reason: str) -> None:
        """Lock a document until an operator releases it; nothing of it is lost or trimmed."""
        if (room := self.rooms.get(name)) is not None:
            room.dismiss(closing.QUARANTINED)
            self.forget(room)
        await self._snapshots.quarantine(name, reason)

    async def delete(self, name: RoomId) -> bool:
        """Forget a document: journal and snapshot go, clients are told. False when there was none."""
        existed = await outside.delete(self._journal, self._snapshots, name)
        await self.recovery.check(name)
        return existed

    async def close(self, within: float) -> bool:
        """Store every room, in at most `within` seconds; False when some could not be. Those the journal has: where it
        forgot them, and answers, it gets them again first."""
        for task in (self._sweeper, self._ticker):
            await end(task)
        for room in self.rooms.values():
            room.flush()
        rooms = [room for room in self.rooms.values() if room.log.flushes]
        results: list[bool] = []

        async def store(room: Room) -> None:
            stored = False
            for _ in range(2):
                stored = await self._store(room)
                if stored or room.closed:
                    break
                while room.saving.away or any(room.log.unsaved()):
                    await self._journal.ping()
                    await self._snapshots.ping()
                    await asyncio.sleep(AGAIN)
            results.append(stored)

        await _within(within, [store(room) for room in rooms])
        return len(results) == len(rooms) and all(results)

    def unsaved_edits(self) -> int:
        """Edits that the journal does not have (yet)."""
        return sum(len(flush.edits) for room in self.rooms.values() for flush in room.log.unsaved())

    def oldest_unsaved(self) -> float:
        """Seconds since the least recently stored room that has edits was stored; 0 when all are."""
        dirty = [room.stored_at for room in self.rooms.values() if room.log.flushes]
        return max(0.0, time() - min(dirty)) if dirty else 0.0


async def _within(seconds: float, work: Iterable[Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*work, return_exceptions=True)
    except TimeoutError:
        pass
