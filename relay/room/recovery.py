"""Rooms whose journal was away, or was written to from outside: what the stores say is compared with what is held here.

A server that comes back may have forgotten what it had promised; an operator or an API may have changed or deleted the
document meanwhile. Every such room opens its stream again, takes in what is new, and appends what is not there.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from relay import closing
from relay.errors import CodecDied, Malformed, RelayError, StreamLost, Unavailable
from relay.journal import Journal
from relay.room.load import reopen
from relay.room.room import Room
from relay.snapshot import SnapshotStore
from relay.tasks import spawn
from relay.types import Position, RoomId

if TYPE_CHECKING:
    from relay.room.registry import Registry

__all__ = ["Recovery"]

log = logging.getLogger("relay.recovery")
RETRY = 0.25
"""Seconds between tries to append again what the journal did not take."""


class Recovery:
    """Looks after the rooms of `registry` that have lost touch with their journal."""

    def __init__(self, registry: "Registry", journal: Journal, snapshots: SnapshotStore) -> None:
        self._registry = registry
        self._journal = journal
        self._snapshots = snapshots
        self._away: dict[Room, None] = {}
        self._reappending: asyncio.Task[None] | None = None
        self._resumed = 0.0  # loop time when a room last appended again
        self._loop = asyncio.get_running_loop()

    def forget(self, room: Room) -> None:
        """The room left memory."""
        self._away.pop(room, None)

    def journal_state(self, up: bool) -> None:
        """The journal's connection came or went."""
        self._registry.counters.journal_up = int(up)

    def doubt(self, concerned: Callable[[RoomId], bool]) -> None:
        """What these rooms' journal had promised it may have forgotten: those with edits that no snapshot holds check
        their streams."""
        for room in list(self._registry.rooms.values()):
            if room.log.flushes and concerned(room.name):
                room.saving.fail(Unavailable("the journal's connection broke"))

    def failed(self, room: Room, error: RelayError) -> None:
        log.warning("journal away, edits are kept here", extra={"room": room.name, "error": str(error)})
        self._registry.counters.errors.add("journal")
        self._away[room] = None
        if self._reappending is None:
            self._reappending = spawn("append again", self._reappend())

    async def _reappend(self) -> None:
        if self._loop.time() - self._resumed < RETRY:
            await asyncio.sleep(RETRY)  # it answers and refuses: full, perhaps
        while self._away:
            try:
                await self._journal.ping()
                for room in list(self._away):
                    try:
                        await self._reopen(room)
                    except Unavailable:
                        await self._journal.ping()  # unless this raises too, only this room can't be looked up
                if self._away:
                    await asyncio.sleep(RETRY)
            except Unavailable:
                await asyncio.sleep(RETRY)
            except Exception:
                log.exception("appending again failed, will try again")
                await asyncio.sleep(RETRY)
        self._reappending = None

    async def _reopen(self, room: Room) -> None:
        if self._registry.rooms.get(room.name) is not room:
            self._away.pop(room, None)
            return
        opened = await self._journal.open(room.name, room.log.upto())
        if opened.epoch != room.saving.epoch and await self._set_aside(room):
            # Nobody is to find the stream that was made for nothing.
            await self._journal.retire(room.name, Position(opened.epoch, 0, 0))
            return
        there = {entry.position for entry in opened.entries}
        if opened.epoch != room.saving.epoch or not room.log.saved_positions() <= there:
            try:
                await reopen(room, opened.entries, self._registry.codec, self._registry.inline_parse)
            except (Malformed, CodecDied) as error:
                await self._registry.quarantine(room.name, f"the journal, read again: {error}")
                return
        self._away.pop(room, None)
        if room.closed:
            return
        self._resumed = self._loop.time()
        room.saving.resume(opened.epoch)

    async def check(self, name: RoomId) -> None:
        """Somebody changed the document from outside: do what the stores say of it. Raises Unavailable."""
        if (loading := self._registry.loading(name)) is not None:
            await asyncio.wait([loading])
        room = self._registry.rooms.get(name)
        if room is None or await self._set_aside(room):
            return
        if await self._journal.epoch(name) != room.saving.epoch:
            room.saving.fail(StreamLost("the journal was written to from outside"))

    async def _set_aside(self, room: Room) -> bool:
        """Whether the document was quarantined or deleted since it was loaded; then nobody is in it any more."""
        info = await self._snapshots.info(room.name)
        if info is not None and info.quarantined is not None:
            why = closing.QUARANTINED
        elif await self._snapshots.deleted(room.name) >= room.saving.epoch:
            why = closing.DELETED
        else:
            return False
        if not room.closed:
            log.info("room set aside", extra={"room": room.name, "code": why.code, "reason": why.reason})
            room.dismiss(why)
            self._registry.forget(room)
        return True
