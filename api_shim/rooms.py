"""Rooms as a plugin sees them: read one, write to one as a peer does, have its clients looked at again.

The shim holds a registry of its own, as a relay does, and what it writes goes the way of every edit: into the journal,
then acknowledged, then to every editor. It is never a room's home while a relay has it open.
"""

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError

from relay.closing import Closing
from relay.control import KEPT, KEY, Recheck
from relay.errors import Deny, Unavailable
from relay.grants import Grant
from relay.journal import Entry, Journal
from relay.room import outside
from relay.room.member import Member
from relay.room.registry import Registry
from relay.room.room import Room
from relay.snapshot import SnapshotStore
from relay.types import Actor, Position, RoomId
from relay.yjs.known import spans
from relay.yjs.update import TooManyStructs

if TYPE_CHECKING:
    from relay.codec.pool import CodecPool

__all__ = ["EMPTY", "RoomState", "Rooms"]

EMPTY = b"\0\0"
"""A document that nothing was ever written to, as a Yjs v1 update."""
SAVED = b"s"


class RoomState(NamedTuple):
    """A whole document. update: one Yjs v1 update, with what still waits for missing edits.

    position: the last entry of the room's log that is in it; None when there never was one.
    """

    update: bytes
    position: Position | None


class _Author:
    """The socket of an author who only waits for "saved", or to be sent away."""

    deflate = False
    paused = False

    def __init__(self) -> None:
        self.saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def write(self, data: bytes) -> None:
        if not self.saved.done():
            self.saved.set_result(None)

    def leave(self, why: Closing) -> None:
        if not self.saved.done():
            self.saved.set_exception(Deny(why.reason, why.code))


class Rooms:
    """`redis`: a client, for hints to relays."""

    def __init__(
        self, registry: Registry, journal: Journal, snapshots: SnapshotStore, codec: "CodecPool", redis: Any
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._snapshots = snapshots
        self._codec = codec
        self._redis = redis

    async def state(self, room: RoomId) -> RoomState:
        """The whole document, open somewhere or not. Raises Unavailable, Quarantined, CodecDied."""
        segments, entries = await outside.read(self._journal, self._snapshots, room)
        updates = [segment.state for segment in segments]
        updates += [edit.update for entry in entries for edit in entry.edits]
        position = entries[-1].position if entries else segments[-1].upto if segments else None
        if len(updates) > 1:
            state, _ = await self._codec.compact(updates)
            return RoomState(state, position)
        return RoomState(updates[0] if updates else EMPTY, position)

    async def past(self, room: RoomId, at: Position) -> RoomState:
        """The document as it was when its log had come to `at`, made of its history.

        Raises Unavailable and CodecDied, LookupError when the history does not begin at the document's beginning (what
        was older is no longer kept), and Quarantined.
        """
        await self._snapshots.load(room)
        updates: list[bytes] = []
        last: Position | None = None
        # The archive first: what is trimmed between the two looks is in it, and an entry that is in both counts once.
        for read in (self._snapshots.history, self._journalled):
            while entries := [entry for entry in await read(room, last) if entry.position <= at]:
                updates += [edit.update for entry in entries for edit in entry.edits]
                last = entries[-1].position
        if not updates:
            return RoomState(EMPTY, None)
        state, clocks = await self._codec.compact(updates)
        if any(first for _, first, _ in spans(clocks)):
            raise LookupError("the history of this document is not kept from its beginning")
        return RoomState(state, last)

    async def _journalled(self, room: RoomId, after: Position | None) -> list[Entry]:
        return await self._journal.read(room, after, None)

    async def edit(self, room: RoomId, update: bytes, actor: Actor) -> None:
        """Put a Yjs v1 update into the room as a client of `actor` would; returns once it is saved.

        Every open editor has it then, or gets it within milliseconds. Raises Malformed, Deny (the document is full,
        deleted meanwhile), Quarantined and Unavailable: then the edit may or may not be there, and may be repeated.
        """
        opened = await self._open(room)
        author = _Author()
        member = Member(author, Grant(actor, actor, readonly=False), author.leave, acknowledgement=SAVED)
        self._registry.join(opened, member)
        try:
            try:
                opened.submit(member, update)
            except TooManyStructs:
                whole, clocks = await self._codec.summarise(update)
                if opened.closed:
                    raise Unavailable("the document was closed meanwhile") from None
                opened.submit_large(member, whole, clocks)
            await author.saved
        finally:
            self._registry.leave(opened, member)

    async def _open(self, room: RoomId) -> Room:
        while True:
            opened = await self._registry.open(room)
            if not opened.closed:
                return opened

    async def check(self, update: bytes) -> None:
        """Raise Malformed unless these bytes are a Yjs v1 update."""
        await self._codec.summarise(update)

    async def delete(self, room: RoomId) -> bool:
        """Remove the room and its history for good; whoever is in it is told. False when there was nothing of it.
        Raises Unavailable."""
        existed = await outside.delete(self._journal, self._snapshots, room)
        await self._tell({"room": room})
        await self._registry.recovery.check(room)
        return existed

    async def recheck(
        self, *, room: RoomId | None = None, actor: Actor | None = None, session: str | None = None
    ) -> None:
        """Have every client of that room, actor and session, where given, asked about again, on every node: grants have
        changed. Raises Unavailable, and ValueError when all three are left out."""
        if room is None and actor is None and session is None:
            raise ValueError("name a room, an actor or a session")
        await self._tell(Recheck(room, actor, session).entry())

    async def _tell(self, entry: dict[Any, Any]) -> None:
        try:
            await self._redis.xadd(KEY, entry, maxlen=KEPT, approximate=True)
        except (RedisError, OSError) as error:
            raise Unavailable(f"the relays could not be told: {error}") from error
