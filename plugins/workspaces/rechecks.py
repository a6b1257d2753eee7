"""Has open sockets looked at again: right after a change, once more from its event, and when a grant expires.

The first is what makes it fast. The second makes it sure: a process that dies after its transaction has committed has
left the event, and whoever handles it does the same again.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

import asyncpg

from api_shim.rooms import Rooms
from plugins.workspaces.chain import moment
from plugins.workspaces.concerned import concerned
from relay.bus import Event
from relay.contracts.materi.v1 import documents_pb2 as documents
from relay.control import Recheck
from relay.errors import Unavailable
from relay.tasks import end, spawn

__all__ = ["Expiry", "Rechecks"]

log = logging.getLogger("plugins.workspaces")
AT_ONCE = 100
PAUSE = 0.01
"""Seconds between so many hints: the relays' stream of hints keeps the last thousand."""
MISSED = 300.0
"""Seconds before its start for which a process also looks at what has expired: no other may have been there."""
_KINDS = {"document": documents.RESOURCE_KIND_DOCUMENT, "folder": documents.RESOURCE_KIND_FOLDER,
          "workspace": documents.RESOURCE_KIND_WORKSPACE}  # fmt: skip


class Rechecks:
    """Tells the relays."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def send(self, whom: Collection[Recheck]) -> None:
        """Have each of them asked about again. Raises Unavailable."""
        waiting = sorted(whom, key=lambda one: tuple(part or "" for part in one))
        for at in range(0, len(waiting), AT_ONCE):
            if at:
                await asyncio.sleep(PAUSE)
            await asyncio.gather(
                *(self._rooms.recheck(room=one.room, actor=one.actor, session=one.session)  # type: ignore[arg-type]
                  for one in waiting[at : at + AT_ONCE])
            )  # fmt: skip

    async def send_now(self, whom: Collection[Recheck]) -> None:
        """As `send`, after a commit: what can't be told now is told by the event."""
        try:
            await self.send(whom)
        except Unavailable as error:
            log.warning("open sockets will be looked at later", extra={"reason": str(error), "count": len(whom)})

    async def handle(self, connection: Any, event: Event) -> None:
        """The consumer of the events. Raises Unavailable, and is called again then."""
        await self.send(await concerned(connection, event.payload))


class Expiry:
    """Looks every `every` seconds for grants that have expired since, on each node."""

    def __init__(self, database: asyncpg.Pool, rechecks: Rechecks, clock: Callable[[], float], every: float) -> None:
        self._database, self._rechecks, self._clock, self._every = database, rechecks, clock, every
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._looking = spawn("look for expired grants", self._look())

    async def close(self) -> None:
        """Stop looking."""
        await end(self._looking)

    async def _look(self) -> None:
        since = self._clock() - MISSED
        while True:
            now = self._clock()
            try:
                if whom := await self._expired(since, now):
                    await self._rechecks.send(whom)
                since = now
            except (OSError, TimeoutError, Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("expired grants can't be looked for", extra={"error": str(error) or type(error).__name__})
                await asyncio.sleep(1.0)
            await asyncio.sleep(self._every)

    async def _expired(self, since: float, now: float) -> set[Recheck]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                "SELECT g.resource, r.kind, g.subject, g.kind AS via FROM workspaces.granted g"
                " JOIN workspaces.resource r ON r.id = g.resource WHERE g.expires > $1 AND g.expires <= $2",
                moment(since),
                moment(now),
            )
            whom: set[Recheck] = set()
            for row in rows:
                whom |= await concerned(
                    connection,
                    documents.GrantChanged(
                        resource_id=str(row["resource"]),
                        resource_kind=_KINDS[row["kind"]],
                        grantee_kind=row["via"],
                        grantee_id=str(row["subject"]),
                    ),
                )
        return whom
