"""Rooms that other relays have open too: their edits come from the journal, their cursors over the room's channel.

A relay says hello when it opens a room and listens from before it reads the journal; whoever hears it knows that the
room is shared. From then on each says when it has journalled something, and the others read the journal past what they
know. Messages may be lost: every `TICK` each says that it is here, and reads what it may have missed. What is trimmed
before it was read is found in the snapshot. Nothing here is needed for keeping edits, only for showing them soon.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from relay.errors import CodecDied, Malformed, RelayError, Unavailable
from relay.journal import Journal
from relay.protocol import presence as awareness
from relay.room.load import replay
from relay.room.presence import Elsewhere
from relay.room.room import Room
from relay.room.where import ANSWER, WHO, Holder, digest
from relay.shard import Channels
from relay.tasks import spawn
from relay.types import NodeId, Position, RoomId
from relay.yjs.ranges import decode_ranges

if TYPE_CHECKING:
    from relay.codec.pool import CodecPool

__all__ = ["Neighbours"]

log = logging.getLogger("relay.neighbours")
HELLO, HERE, EDITS, PRESENCE, BYE = b"h", b"i", b"e", b"p", b"b"
TICK = 2.0
SILENT = 3 * TICK
"""Seconds after which a relay that said nothing is taken to be gone, and its cursors with it."""
GATHER = 0.002
"""Seconds that "there are new entries" gathers."""


class _Shared:
    """What is known of a shared room: who else has it, when they were last heard, and how far the journal was read."""

    __slots__ = ("heard", "owners", "reading", "seen", "telling", "wanted")

    def __init__(self, seen: Position | None) -> None:
        self.heard: dict[NodeId, float] = {}
        self.owners: dict[NodeId, Elsewhere] = {}
        self.seen = seen
        self.reading = False
        self.wanted = False
        self.telling = False


class Neighbours:
    """`rooms` are the open rooms; `on_poison` is told of a room whose journal holds what no codec can read;
    `on_behind` of one whose snapshot may hold what this relay never saw."""

    def __init__(
        self,
        node: NodeId,
        channels: Channels,
        journal: Journal,
        codec: "CodecPool",
        inline_parse: int,
        rooms: Mapping[RoomId, Room],
        on_poison: Callable[[Room, RelayError], None],
        on_behind: Callable[[Room], None],
    ) -> None:
        self._node = node
        self._channels = channels
        self._journal = journal
        self._codec = codec
        self._inline_parse = inline_parse
        self._rooms = rooms
        self._on_poison = on_poison
        self._on_behind = on_behind
        self._shared: dict[Room, _Shared] = {}
        self._loop = asyncio.get_running_loop()

    # -- a room's life --

    async def listen(self, name: RoomId) -> None:
        """Before the room is read: hear what others do to it meanwhile. Raises Unavailable."""
        await self._channels.listen(name)

    def opened(self, room: Room) -> None:
        """The room is open here: say so."""
        spawn(f"hello {room.name}", self._hello(room))

    def closed(self, room: Room) -> None:
        """The room left memory: the others need not wait for us to fall silent."""
        spawn(f"bye {room.name}", self._bye(room.name, self._shared.pop(room, None) is not None))

    async def unheard(self, name: RoomId) -> None:
        """The room could not be opened after all."""
        await self._channels.stop(name)

    def reset(self) -> None:
        """Nothing was heard for a while: look after every room."""
        spawn("look after all rooms", self._reset())

    def is_home(self, room: Room) -> bool:
        """Whether snapshots of the room are this relay's work: of those that have it open, the least by id. If two
        think so, one works in vain."""
        shared = self._shared.get(room)
        return shared is None or all(self._node < other for other in shared.heard)

    def others(self, room: Room) -> list[NodeId]:
        """Who else has the room open, as far as heard."""
        shared = self._shared.get(room)
        return sorted(shared.heard) if shared else []

    # -- what this relay does --

    def saved(self, room: Room) -> None:
        """The journal has new entries of ours."""
        shared = self._shared.get(room)
        if shared is not None and not shared.telling:
            shared.telling = True
            self._loop.call_later(GATHER, self._tell_edits, room, shared)

    def _tell_edits(self, room: Room, shared: _Shared) -> None:
        shared.telling = False
        spawn(f"edits in {room.name}", self._tell(room, EDITS))

    def present(self, room: Room, states: bytes) -> None:
        """Cursors of clients of ours have changed."""
        if room in self._shared:
            spawn(f"presence in {room.name}", self._tell(room, PRESENCE + states))

    async def tick(self) -> None:
        """Say that we are here, find what was missed, and forget who is gone. Call it every `TICK` seconds."""
        now = self._loop.time()
        for room, shared in list(self._shared.items()):
            for node, heard in list(shared.heard.items()):
                if now - heard > SILENT:
                    self._gone(room, shared, node)
            if not await self._tell(room, HERE) and not shared.heard:
                self._unshare(room)
                continue
            self._read(room, shared)
            self._on_behind(room)

    # -- what others say --

    def received(self, name: RoomId, node: NodeId, said: bytes) -> None:
        """A message from `node`; hostile or garbled ones are dropped."""
        room = self._rooms.get(name)
        if room is None or room.closed:
            return
        kind, body = said[:1], said[1:]
        if kind == WHO:
            spawn(f"answer in {room.name}", self._answer(room))
        if kind in (WHO, ANSWER):
            return  # whoever asks need not have the room open
        if kind == BYE:
            if (shared := self._shared.get(room)) is not None:
                self._gone(room, shared, node)
            return
        shared = self._share(room)
        if node not in shared.heard and kind != HELLO:
            # It knows of us; what it wrote before we knew of it we read now, and our cursors it may not have.
            self._introduce(room)
        shared.heard[node] = self._loop.time()
        if kind == HELLO:
            self._introduce(room)
        elif kind == PRESENCE:
            self._show(room, shared, node, body)
        if kind in (HELLO, HERE, EDITS):
            self._read(room, shared)

    async def _answer(self, room: Room) -> None:
        unsaved = sum(len(flush.edits) for flush in room.log.unsaved())
        upto = max(room.log.saved_positions(), default=room.log.upto())
        home, clients = self.is_home(room), len(room.members)
        vector, deletes = room.known.vector(), room.known.deletes_encoded()
        if len(deletes) <= self._inline_parse:
            held = digest(vector, decode_ranges(deletes)[0])
        else:
            held = await asyncio.to_thread(lambda: digest(vector, decode_ranges(deletes)[0]))
        await self._tell(room, Holder(self._node, home, clients, str(upto or ""), unsaved, held).encode())

    def _introduce(self, room: Room) -> None:
        spawn(f"here in {room.name}", self._tell(room, HERE))
        if (states := room.presence.everyone(here=True)) is not None:
            spawn(f"presence in {room.name}", self._tell(room, PRESENCE + states))

    def _show(self, room: Room, shared: _Shared, node: NodeId, body: bytes) -> None:
        owner = shared.owners.setdefault(node, Elsewhere())
        try:
            room.announce_elsewhere(owner, awareness.decode(body))
        except Malformed as error:
            log.warning("garbled presence", extra={"room": room.name, "node": node, "error": str(error)})

    def _gone(self, room: Room, shared: _Shared, node: NodeId) -> None:
        shared.heard.pop(node, None)
        owner = shared.owners.pop(node, None)
        if owner is not None:
            room.leave_elsewhere(owner)

    # -- sharing --

    def _share(self, room: Room) -> _Shared:
        shared = self._shared.get(room)
        if shared is None:
            shared = self._shared[room] = _Shared(room.log.upto())
            room.on_saved, room.on_presence = self.saved, self.present
            log.info("room is open elsewhere too", extra={"room": room.name})
        return shared

    def _unshare(self, room: Room) -> None:
        shared = self._shared.pop(room, None)
        room.on_saved = room.on_presence = None
        if shared is not None:
            for owner in shared.owners.values():
                room.leave_elsewhere(owner)

    async def _hello(self, room: Room) -> None:
        if await self._tell(room, HELLO) and not room.closed:
            self._read(room, self._share(room))

    async def _bye(self, name: RoomId, shared: bool) -> None:
        if name in self._rooms:
            return  # opened again meanwhile
        await self._channels.stop(name)
        if shared:
            try:
                await self._channels.tell(name, BYE)
            except Unavailable:
                pass  # they will notice our silence

    async def _reset(self) -> None:
        for room in list(self._rooms.values()):
            await self._hello(room)

    async def _tell(self, room: Room, message: bytes) -> int:
        try:
            return await self._channels.tell(room.name, message)
        except Unavailable as error:
            log.debug("could not tell the others", extra={"room": room.name, "error": str(error)})
            return 0

    def _read(self, room: Room, shared: _Shared) -> None:
        shared.wanted = True
        if not shared.reading:
            shared.reading = True
            spawn(f"read {room.name}", self._read_on(room, shared))

    async def _read_on(self, room: Room, shared: _Shared) -> None:
        try:
            while shared.wanted and not room.closed:
                shared.wanted = False
                while entries := await self._journal.read(room.name, shared.seen, None):
                    if any(entry.node != self._node for entry in entries):
                        have = room.log.saved_positions()
                        news = [e for e in entries if e.node != self._node and e.position not in have]
                        await replay(room, news, self._codec, self._inline_parse)
                    shared.seen = entries[-1].position
        except Unavailable as error:
            log.debug("could not read what others wrote", extra={"room": room.name, "error": str(error)})
        except (Malformed, CodecDied) as error:
            self._on_poison(room, error)
        finally:
            shared.reading = False
