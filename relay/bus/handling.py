"""One transaction: note events as handled, run the handler for those that were not, commit."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import asyncpg

from relay.bus.dead_letters import bury
from relay.bus.groups import handled
from relay.contracts import Event, UnknownType
from relay.errors import Malformed, RelayError, Unavailable

__all__ = ["AWAY", "BatchHandler", "Entry", "HandlerFailed", "Handling", "Stale"]

log = logging.getLogger("relay.bus")

BatchHandler = Callable[[Any, Sequence[Event]], Awaitable[None]]
"""As `relay.bus.Handler`, for several events at once; when it raises, each is given to it by itself."""

AWAY = (
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    OSError,
    TimeoutError,
)
"""What PostgreSQL's absence looks like."""

_ALIVE = """
SELECT 1 FROM bus.consumer WHERE name = $1 AND topic = $2 AND generation = $3 AND NOT paused FOR KEY SHARE
"""


class HandlerFailed(RelayError):
    """The handler raised; the message is its traceback."""


class Stale(RelayError):
    """The group is paused or begins elsewhere: what was read is not to be handled."""


class Entry(NamedTuple):
    """An event as it was read. `failures`: how often it was tried in vain."""

    position: int
    body: bytes
    failures: int = 0


class Handling:
    """How one group handles events. `timeout` in seconds, for one call of the handler."""

    def __init__(self, pool: Any, name: str, handler: BatchHandler, timeout: float) -> None:
        self._pool, self._name, self._handler, self._timeout = pool, name, handler, timeout

    async def run(self, topic: str, generation: int, entries: Sequence[Entry]) -> None:
        """Handle all of them in one transaction, or none. Bytes that are no event become dead letters in it.

        Raises HandlerFailed, Stale, and Unavailable when PostgreSQL is away.
        """
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(_ALIVE, self._name, topic, generation) is None:
                    raise Stale(topic)
                await self.handle(connection, topic, entries)
        except AWAY as error:
            raise Unavailable(str(error)) from error

    async def handle(self, connection: Any, topic: str, entries: Sequence[Entry]) -> None:
        """The same in a transaction of the caller's. Raises HandlerFailed, and Unavailable for a broken connection."""
        events = {event.id: event for entry in entries if (event := await self._read(connection, topic, entry))}
        fresh = await handled(connection, self._name, list(events))
        wanted = [event for id, event in events.items() if id in fresh]
        if not wanted:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._handler(connection, wanted)
            # A handler that caught an error of its SQL has spoilt the transaction, and COMMIT would not say so.
            await connection.execute("SELECT 1")
        except Exception as error:
            if connection.is_closed():
                raise Unavailable("the connection broke") from error
            raise HandlerFailed(traceback.format_exc()) from error

    async def _read(self, connection: Any, topic: str, entry: Entry) -> Event | None:
        try:
            return Event.decode(entry.body)
        except UnknownType as error:
            # From newer code; no handler of this code can want it, and the event store has it for the next.
            log.debug("event left out", extra={"group": self._name, "position": entry.position, "reason": str(error)})
        except Malformed as error:
            fields = {"group": self._name, "topic": topic, "position": entry.position, "reason": str(error)}
            log.error("an event can't be read: dead letter", extra=fields)
            await bury(connection, self._name, topic, entry.position, entry.body, str(error), 1)
        return None
