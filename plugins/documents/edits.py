"""When documents were last edited, and by whom: what relays tell, written every few seconds, many at a time."""

import asyncio
import logging
from typing import NamedTuple
from uuid import UUID

import asyncpg

from api_shim.ids import read_uuid
from plugins.documents.library import Library
from relay.bus.outbox import made
from relay.contracts.materi.v1 import collaboration_pb2 as events
from relay.hooks import RoomEdited
from relay.tasks import end, spawn
from relay.types import Position

__all__ = ["Edits"]

log = logging.getLogger("plugins.documents")
MOST = 2000
"""Documents in one transaction."""


class _Edited(NamedTuple):
    at: float
    position: str
    actors: dict[str, None]


class Edits:
    """Collects facts, and writes them at least every `every` seconds; what was not written when the process dies is
    told with the next edit."""

    def __init__(self, library: Library, every: float) -> None:
        self._library = library
        self._every = every
        self._waiting: dict[UUID, _Edited] = {}
        self._writing: asyncio.Task[None] | None = None

    def add(self, fact: RoomEdited) -> None:
        """A room was edited; if it is a document's, that will be written."""
        id = read_uuid(fact.room)
        if id is None or str(id) != fact.room:
            return
        before = self._waiting.get(id)
        actors = dict.fromkeys((*(before.actors if before else ()), *fact.actors))
        self._waiting[id] = _Edited(self._library.context.clock(), fact.position, actors)
        if self._writing is None or self._writing.done():
            self._writing = spawn("write edits", self._write_soon())

    async def close(self) -> None:
        """Write what waits."""
        await end(self._writing)
        if self._waiting:
            await self.write()

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._every)
            try:
                await self.write()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                log.warning("edits can't be written for now", extra={"error": repr(error)})

    async def write(self) -> None:
        """Write what has come so far; it waits on when that fails. Raises asyncpg's errors."""
        library = self._library
        taken = dict(list(self._waiting.items())[:MOST])
        rows = sorted(
            (id, edited.at, next(reversed(edited.actors), "")[:256]) for id, edited in taken.items()
        )  # in one order everywhere, so that two processes can't wait for each other
        async with library.database.acquire() as connection, connection.transaction():
            found = await connection.fetch(
                """UPDATE documents.document d SET edited = greatest(d.edited, to_timestamp(n.at)), edited_by = n.actor
                   FROM unnest($1::uuid[], $2::float8[], $3::text[]) AS n (id, at, actor)
                   WHERE d.id = n.id AND d.trashed IS NULL RETURNING d.id""",
                [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows],
            )  # fmt: skip
            told = []
            for row in found:
                edited = taken[row["id"]]
                event = events.DocumentEdited(document_id=str(row["id"]), authors=[one for one in edited.actors if one])
                if edited.position:
                    at = Position.parse(edited.position)
                    event.position.epoch, event.position.ms, event.position.seq = at
                told.append(made(event, subject=str(row["id"]), actor=next(reversed(edited.actors), "")))
            if told:
                await library.outbox.add_many(connection, told)
        for id, edited in taken.items():
            if self._waiting.get(id) is edited:
                del self._waiting[id]
            else:  # edited meanwhile: told again, without those who have been told of
                later = self._waiting[id]
                actors = {one: None for one in later.actors if one not in edited.actors}
                self._waiting[id] = later._replace(actors=actors or later.actors)
