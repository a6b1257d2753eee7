"""A group that reads from the event store, because its stream does not hold what it lacks."""

import asyncio
from typing import Any

from relay.bus.dead_letters import bury
from relay.bus.handling import Entry, HandlerFailed, Handling

__all__ = ["Replay"]

_PLACE = """
SELECT position, replay FROM bus.consumer
WHERE name = $1 AND topic = $2 AND generation = $3 AND NOT paused AND replay >= 0
FOR NO KEY UPDATE SKIP LOCKED
"""
_READ = """
SELECT position, body FROM bus.event WHERE topic = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4
"""
_MOVE = "UPDATE bus.consumer SET position = $3, replay = $4 WHERE name = $1 AND topic = $2"


class Replay:
    """Handles a group's events of one topic in order, one member of the group at a time. How far it is commits with
    what the handler did."""

    def __init__(self, pool: Any, handling: Handling, name: str, topic: str, batch: int, retries: Any) -> None:
        self._pool, self._handling, self._name, self._topic = pool, handling, name, topic
        self._batch, self._retries = batch, retries
        self._limit = batch
        self._failures: tuple[int, int] = (0, 0)  # a position, and how often it failed

    async def step(self, generation: int) -> bool:
        """Handle the next batch; False when another member is at it. Raises as `Handling.handle`, asyncpg's errors."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                place = await connection.fetchrow(_PLACE, self._name, self._topic, generation)
                if place is None:
                    return False
                rows = await connection.fetch(_READ, self._topic, *place, self._limit)
                entries = [Entry(*row) for row in rows]
                at = entries[0].position if entries else 0
                if entries and self._limit == 1 and self._failures[0] != at:
                    self._failures = (at, 0)
                if entries:
                    await self._handling.handle(connection, self._topic, entries)
                await self._move(connection, place["replay"], entries)
        except HandlerFailed as error:
            if len(entries) > 1:
                self._limit = 1  # which of them is it?
                return True
            await self._failed(generation, entries[0], str(error))
        else:
            self._limit = self._batch
        return True

    async def _failed(self, generation: int, entry: Entry, error: str) -> None:
        known = self._failures[1] if self._failures[0] == entry.position else 0
        self._failures = (entry.position, known + 1)
        if known + 1 < self._retries.attempts:
            await asyncio.sleep(self._retries.pause(known + 1))
            return
        async with self._pool.acquire() as connection, connection.transaction():
            place = await connection.fetchrow(_PLACE, self._name, self._topic, generation)
            if place is not None and place["position"] < entry.position:
                await bury(connection, self._name, self._topic, entry.position, entry.body, error, known + 1)
                await self._move(connection, place["replay"], [entry])

    async def _move(self, connection: Any, replay: int, entries: list[Entry]) -> None:
        """Past the entries; to the end, and on to the stream, when there are none left."""
        if entries and entries[-1].position < replay:
            await connection.execute(_MOVE, self._name, self._topic, entries[-1].position, replay)
        else:
            await connection.execute(_MOVE, self._name, self._topic, replay, None)
