"""Events that a group gave up: inspect, edit, redrive, discard."""

from datetime import datetime
from typing import Any, NamedTuple

from relay.contracts import Event
from relay.errors import Malformed

__all__ = ["DeadLetter", "DeadLetters", "bury"]

MAX_ERROR = 8000
"""Characters of an error that are kept; a traceback's end says most."""

_COLUMNS = "id, name, topic, position, body, original, error, attempts, failed, redrive"


class DeadLetter(NamedTuple):
    """`name` is the group, `original` the bytes before they were edited, `redrive` whether it waits to be tried."""

    id: int
    name: str
    topic: str
    position: int
    body: bytes
    original: bytes | None
    error: str
    attempts: int
    failed: datetime
    redrive: bool

    @property
    def event(self) -> Event | None:
        """The event; None when the bytes are none."""
        try:
            return Event.decode(self.body)
        except Malformed:
            return None


async def bury(connection: Any, name: str, topic: str, position: int, body: bytes, error: str, attempts: int) -> None:
    """Keep an event that the group gives up; one that is there already stays as it is."""
    await connection.execute(
        "INSERT INTO bus.dead_letter (name, topic, position, body, error, attempts) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (name, topic, position) DO NOTHING",
        name,
        topic,
        position,
        body,
        error[-MAX_ERROR:].replace("\0", ""),
        attempts,
    )


class DeadLetters:
    """The table `bus.dead_letter`. Methods raise asyncpg's errors, and LookupError for an unknown id."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def list(self, *, name: str = "", after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Those of a group, or of all; the oldest first."""
        rows = await self._pool.fetch(
            f"SELECT {_COLUMNS} FROM bus.dead_letter WHERE ($1 = '' OR name = $1) AND id > $2 ORDER BY id LIMIT $3",  # noqa: S608
            name,
            after,
            limit,
        )
        return [DeadLetter(*row) for row in rows]

    async def get(self, id: int) -> DeadLetter:
        """One of them."""
        row = await self._pool.fetchrow(f"SELECT {_COLUMNS} FROM bus.dead_letter WHERE id = $1", id)  # noqa: S608
        return DeadLetter(*_found(row, id))

    async def edit(self, id: int, event: Event) -> None:
        """Have another event tried in its place; the first one stays beside it. Raises ValueError for an event of
        another topic, which the group's handler does not expect."""
        topic = (await self.get(id)).topic
        if event.topic != topic:
            raise ValueError(f"an event of the topic {topic} is wanted, not of {event.topic}")
        _found(
            await self._pool.fetchrow(
                "UPDATE bus.dead_letter SET original = coalesce(original, body), body = $2 WHERE id = $1 RETURNING id",
                id,
                event.encode(),
            ),
            id,
        )

    async def redrive(self, id: int) -> None:
        """Have it tried once more, soon, by a consumer of its group: it is gone if that succeeds."""
        sql = "UPDATE bus.dead_letter SET redrive = true WHERE id = $1 RETURNING id"
        _found(await self._pool.fetchrow(sql, id), id)

    async def redrive_all(self, name: str) -> int:
        """Have all of a group tried once more; returns how many."""
        sql = "UPDATE bus.dead_letter SET redrive = true WHERE name = $1 AND NOT redrive RETURNING id"
        return len(await self._pool.fetch(sql, name))

    async def discard(self, id: int) -> None:
        """Forget it; it stays in the event store."""
        _found(await self._pool.fetchrow("DELETE FROM bus.dead_letter WHERE id = $1 RETURNING id", id), id)


def _found(row: Any, id: int) -> Any:
    if row is None:
        raise LookupError(f"there is no dead letter {id}")
    return row
