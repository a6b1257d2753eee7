"""The groups of consumers: where they are, and what an operator does with them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["JOIN", "Groups", "Lag", "State", "handled"]

JOIN = -1
"""A value of `State.replay`: how far to read from the event store is to be found out."""


class State(NamedTuple):
    """Where a group is in a topic (see the table `bus.consumer`)."""

    generation: int
    position: int
    replay: int | None
    paused: bool


class Lag(NamedTuple):
    """A group's state in a topic: events published and not settled, and the age of the oldest of them in seconds."""

    name: str
    topic: str
    position: int
    newest: int
    lag: int
    age: float
    paused: bool
    replaying: bool
    dead_letters: int


async def handled(connection: Any, name: str, events: Sequence[Any]) -> set[Any]:
    """Note these event ids as handled by the group, in the caller's transaction; returns those that were not yet.

    A handler that does this first, and its work only for what is returned, has its effects once for each event. Another
    transaction that notes the same event waits for this one to end.
    """
    rows = await connection.fetch(
        "INSERT INTO bus.handled (name, event) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING RETURNING event",
        name,
        sorted(events),  # always in the same order, so that two transactions can't wait for each other
    )
    return {row["event"] for row in rows}


_LAG = """
SELECT c.name, c.topic, c.position, coalesce(t.position, 0) AS newest, c.paused, c.replay IS NOT NULL AS replaying,
    (SELECT count(*) FROM (
        SELECT FROM bus.event e WHERE e.topic = c.topic AND e.position > c.position LIMIT 100000) few) AS lag,
    coalesce(extract(epoch FROM now() - (
        SELECT e.time FROM bus.event e WHERE e.topic = c.topic AND e.position > c.position
        ORDER BY e.position LIMIT 1)), 0)::float8 AS age,
    (SELECT count(*) FROM bus.dead_letter d WHERE d.name = c.name AND d.topic = c.topic) AS dead_letters
FROM bus.consumer c LEFT JOIN bus.topic t ON t.name = c.topic
ORDER BY c.name, c.topic
"""


class Groups:
    """What PostgreSQL knows of the groups. Methods raise asyncpg's errors, and LookupError for an unknown group."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def register(self, name: str, topics: Sequence[str]) -> None:
        """Make the group known; where it is new, it begins after what is published now."""
        await self._pool.execute(
            "INSERT INTO bus.consumer (name, topic, position) SELECT $1, t, coalesce(p.position, 0) "
            "FROM unnest($2::text[]) t LEFT JOIN bus.topic p ON p.name = t ON CONFLICT DO NOTHING",
            name,
            list(topics),
        )

    async def lag(self) -> list[Lag]:
        """Every group and topic; a lag is counted up to 100,000."""
        return [Lag(**{name: row[name] for name in Lag._fields}) for row in await self._pool.fetch(_LAG)]

    async def pause(self, name: str, *, paused: bool = True) -> None:
        """Handle nothing more until it is resumed. When this returns, no handler of the group is running."""
        async with self._pool.acquire() as connection, connection.transaction():
            await self._lock(connection, name)
            await connection.execute("UPDATE bus.consumer SET paused = $2 WHERE name = $1", name, paused)

    async def resume(self, name: str) -> None:
        """Go on after a pause."""
        await self.pause(name, paused=False)

    async def seek(self, name: str, position: int) -> None:
        """Go on with the first event after `position`, in every topic: back to handle events again, or forward to
        leave some out. What the group has noted as handled after that is forgotten. To rebuild a projection: pause,
        empty it, seek to 0, resume."""
        async with self._pool.acquire() as connection, connection.transaction():
            await self._lock(connection, name)
            await connection.execute(
                "UPDATE bus.consumer SET generation = generation + 1, position = $2, replay = -1 WHERE name = $1",
                name,
                position,
            )
            await connection.execute(
                "DELETE FROM bus.handled h USING bus.event e WHERE h.name = $1 AND e.id = h.event AND e.position > $2",
                name,
                position,
            )

    async def forget(self, name: str) -> None:
        """Remove the group and what it noted; its dead letters stay."""
        async with self._pool.acquire() as connection, connection.transaction():
            await self._lock(connection, name)
            await connection.execute("DELETE FROM bus.consumer WHERE name = $1", name)
            await connection.execute("DELETE FROM bus.handled WHERE name = $1", name)

    async def _lock(self, connection: Any, name: str) -> None:
        # Handlers hold FOR KEY SHARE until they commit, and those that come later find the row as it is then.
        rows = await connection.fetch("SELECT topic FROM bus.consumer WHERE name = $1 ORDER BY topic FOR UPDATE", name)
        if not rows:
            raise LookupError(f"there is no group {name!r}")

    async def state(self, name: str, topic: str) -> State | None:
        """Where the group is; None when it was forgotten."""
        row = await self._pool.fetchrow(
            "SELECT generation, position, replay, paused FROM bus.consumer WHERE name = $1 AND topic = $2", name, topic
        )
        return State(*row) if row else None

    async def checkpoint(self, name: str, topic: str, generation: int, position: int) -> None:
        """Everything up to `position` is settled, as the stream knows it."""
        await self._pool.execute(
            "UPDATE bus.consumer SET position = $4 "
            "WHERE name = $1 AND topic = $2 AND generation = $3 AND replay IS NULL AND position < $4",
            name,
            topic,
            generation,
            position,
        )

    async def rejoin(self, name: str, topic: str, generation: int, replay: int | None) -> None:
        """Set how far to read from the event store (JOIN: to be found out; None: read the stream)."""
        await self._pool.execute(
            "UPDATE bus.consumer SET replay = $4 "
            "WHERE name = $1 AND topic = $2 AND generation = $3 AND ($4::bigint = -1 OR replay = -1)",
            name,
            topic,
            generation,
            replay,
        )
