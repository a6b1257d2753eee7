"""Dead letters that somebody wants tried once more."""

from collections.abc import Sequence
from typing import Any

from relay.bus.dead_letters import MAX_ERROR
from relay.bus.handling import Entry, HandlerFailed, Handling
from relay.contracts import Event
from relay.errors import Malformed

__all__ = ["redrive"]

_NEXT = """
SELECT d.id, d.topic, d.position, d.body FROM bus.dead_letter d
JOIN bus.consumer c ON c.name = d.name AND c.topic = d.topic AND NOT c.paused
WHERE d.name = $1 AND d.topic = ANY($2) AND d.redrive ORDER BY d.id LIMIT 1
FOR UPDATE OF d SKIP LOCKED FOR KEY SHARE OF c
"""
_AGAIN = """
UPDATE bus.dead_letter SET redrive = false, attempts = attempts + 1, failed = now(), error = $2 WHERE id = $1
"""


async def redrive(pool: Any, handling: Handling, name: str, topics: Sequence[str]) -> bool:
    """Try the group's next one; it is gone in the transaction of the handler, or is marked as failed again. False when
    there is none. Raises Unavailable and asyncpg's errors."""
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(_NEXT, name, list(topics))
        if row is None:
            return False
        try:
            Event.decode(row["body"])
            async with connection.transaction():
                await handling.handle(connection, row["topic"], [Entry(row["position"], row["body"])])
        except (HandlerFailed, Malformed) as error:
            await connection.execute(_AGAIN, row["id"], str(error)[-MAX_ERROR:].replace("\0", ""))
        else:
            await connection.execute("DELETE FROM bus.dead_letter WHERE id = $1", row["id"])
        return True
