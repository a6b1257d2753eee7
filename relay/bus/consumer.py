"""One process's member of a group of consumers."""

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg
from redis.exceptions import RedisError, ResponseError

from relay.bus import topics
from relay.bus.dead_letters import bury
from relay.bus.groups import JOIN, Groups, State
from relay.bus.handling import AWAY, BatchHandler, Entry, HandlerFailed, Handling, Stale
from relay.bus.redrive import redrive
from relay.bus.replay import Replay
from relay.errors import Unavailable
from relay.log import Sparingly
from relay.tasks import spawn

__all__ = ["Consumer", "Retries"]

log = logging.getLogger("relay.bus")

BLOCK = 2.0
PAUSED = 0.3
RETRY = 0.5
UPKEEP = 1.0
MOST_WAITING = 1000
"""Entries that may wait to be tried again before no others are read."""


class Retries(NamedTuple):
    """How often and when an event is tried: after the n-th failure at a random time within min(longest, first * 2**n)
    seconds ("full jitter"). `patience`: seconds of silence after which a consumer counts as dead."""

    attempts: int = 8
    first: float = 0.5
    longest: float = 60.0
    patience: float = 30.0
    timeout: float = 30.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        return random.uniform(0, min(self.longest, self.first * 2 ** min(failures - 1, 30)))  # noqa: S311


class Consumer:
    """Reads the topics' streams in one group and hands the events on, a batch a transaction.

    An entry is acknowledged once the transaction of its handler has committed, or that of its dead letter. Entries that
    a dead consumer of the group had are taken over, and tried one by one, since one of them may be why it died.
    """

    def __init__(
        self,
        pool: Any,
        redis: Any,
        name: str,
        topics: Sequence[str],
        handler: BatchHandler,
        *,
        batch: int = 100,
        retries: Retries | None = None,
    ) -> None:
        self.name, self._topics, self._batch = name, tuple(topics), batch
        self._pool, self._redis, self._retries = pool, redis, retries or Retries()
        self._groups = Groups(pool)
        self._handling = Handling(pool, name, handler, self._retries.timeout)
        self._me = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._readers = [_Reader(self, topic) for topic in self._topics]
        self._tasks: list[asyncio.Task[None]] = []
        self._sparingly = Sparingly()
        self._closing = False

    async def start(self) -> None:
        """Register the group and begin. Raises asyncpg's errors."""
        await self._groups.register(self.name, self._topics)
        self._tasks = [spawn(f"consume {reader.topic} as {self.name}", reader.run()) for reader in self._readers]
        self._tasks.append(spawn(f"upkeep of {self.name}", self._upkeep()))

    async def close(self, patience: float = 10.0) -> None:
        """Finish what is being handled, give the rest back to the group, stop."""
        # A cancellation can come out of a broken transaction as another error: the flags end the loops then.
        self._closing = True
        for reader, task in zip(self._readers, self._tasks, strict=False):
            reader.close(task)
        for task in self._tasks[len(self._readers) :]:
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        with suppress(RedisError, OSError):
            for reader in self._readers:
                await reader.give_back()
        await self._redis.aclose()

    async def _upkeep(self) -> None:
        beat = time.monotonic()
        while not self._closing:
            await asyncio.sleep(UPKEEP)
            try:
                for reader in self._readers:
                    await reader.checkpoint()
                while await redrive(self._pool, self._handling, self.name, self._topics):
                    pass
                if time.monotonic() - beat > self._retries.patience / 3:
                    beat = time.monotonic()
                    for reader in self._readers:
                        await reader.keep()
            except (*AWAY, asyncpg.PostgresError, RedisError, Unavailable) as error:
                self.complain(error)

    def complain(self, error: BaseException) -> None:
        """Say, now and then, why nothing is handled."""
        if (held := self._sparingly.allows("away")) is not None:
            fields = {"group": self.name, "reason": str(error) or type(error).__name__, "also": held}
            log.warning("events wait to be handled", extra=fields)


class _Reader:
    """The part of a consumer that reads one topic."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self.topic = topic
        self._consumer, self._pool, self._redis = consumer, consumer._pool, consumer._redis
        self._groups, self._handling, self._retries = consumer._groups, consumer._handling, consumer._retries
        self._name, self._me, self._batch = consumer.name, consumer._me, consumer._batch
        self._key = topics.key(topic)
        self._generation = 0
        self._waiting: dict[int, tuple[float, Entry]] = {}  # by position: when it is due, and what it is
        self._claimed = float("-inf")
        self._replay = Replay(self._pool, self._handling, self._name, topic, self._batch, self._retries)
        self._closing = self._idle = False

    @property
    def _group(self) -> str:
        return topics.group_name(self._name, self._generation)

    def close(self, task: "asyncio.Task[None]") -> None:
        self._closing = True
        if self._idle:
            task.cancel()

    async def run(self) -> None:
        while not self._closing:
            try:
                await self._step()
            except Stale:
                pass  # what is waiting is kept while the group is paused, and forgotten when it begins elsewhere
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    self._consumer.complain(error)
                    await self._rest(RETRY)
                    continue
                self._waiting.clear()
                with suppress(*AWAY, asyncpg.PostgresError):
                    await self._groups.rejoin(self._name, self.topic, self._generation, JOIN)
            except (*AWAY, asyncpg.PostgresError, RedisError, Unavailable) as error:
                self._consumer.complain(error)
                await self._rest(RETRY)

    async def _step(self) -> None:
        self._idle = False
        state = await self._groups.state(self._name, self.topic)
        if state is None:
            await self._groups.register(self._name, [self.topic])
            return
        if state.generation != self._generation:
            self._waiting.clear()
            self._generation = state.generation
        if state.paused:
            await self._rest(PAUSED)
        elif state.replay == JOIN:
            await self._join(state)
        elif state.replay is not None:
            if not await self._replay.step(self._generation):
                await self._rest(PAUSED)
        else:
            await self._read()

    async def _rest(self, seconds: float) -> None:
        self._idle = True
        await asyncio.sleep(seconds)
        self._idle = False

    async def _join(self, state: State) -> None:
        """Create the group in Redis, and find out what the stream lacks of what the group has not settled.

        Once the group is there nothing past its position is trimmed, so what lies before the stream's first entry now
        is in the event store, and all that comes later in the stream.
        """
        try:
            await self._redis.xgroup_create(self._key, self._group, f"{state.position}-0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        first = await self._redis.xrange(self._key, count=1)
        async with self._pool.acquire() as connection:
            if first:
                upto = _position(first[0][0]) - 1
            else:
                sql = "SELECT coalesce(max(position), 0) FROM bus.topic WHERE name = $1"
                upto = await connection.fetchval(sql, self.topic)
            lacking = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM bus.event WHERE topic = $1 AND position > $2 AND position <= $3)",
                self.topic,
                state.position,
                upto,
            )
        await self._groups.rejoin(self._name, self.topic, self._generation, upto if lacking else None)

    async def _read(self) -> None:
        now = time.monotonic()
        if now - self._claimed > self._retries.patience / 2:
            self._claimed = now
            await self._claim()
        due = sorted(position for position, (when, _) in self._waiting.items() if when <= now)
        for position in due:
            if self._closing:
                return
            await self._single(self._waiting[position][1])
        soonest = min((when for when, _ in self._waiting.values()), default=now + BLOCK)
        wait = max(0.001, min(BLOCK, self._retries.patience / 2, soonest - time.monotonic()))
        if len(self._waiting) >= MOST_WAITING:
            await self._rest(wait)
            return
        self._idle = True
        reply: Any = await self._redis.xreadgroup(
            self._group, self._me, {self._key: ">"}, count=self._batch, block=max(1, int(wait * 1000))
        )
        self._idle = False
        entries = [Entry(_position(id), fields[b"e"]) for _, found in reply or () for id, fields in found]
        if entries:
            await self._together(entries)

    async def _together(self, entries: list[Entry]) -> None:
        # Kept until acknowledged: they are handled again if PostgreSQL or Redis goes away half-way.
        now = time.monotonic()
        self._waiting |= {entry.position: (now, entry) for entry in entries}
        try:
            await self._handling.run(self.topic, self._generation, entries)
        except HandlerFailed as error:
            if len(entries) > 1:
                return  # one by one, then
            await self._failed(entries[0], str(error))
        else:
            await self._settle(entries)

    async def _single(self, entry: Entry) -> None:
        if entry.failures >= self._retries.attempts:
            await self._give_up(entry, "its consumers ended while they handled it")
            return
        # Written down before it is tried: so that an event that kills its consumer can't do so for ever.
        await self._redis.xclaim(
            self._key, self._group, self._me, 0, [f"{entry.position}-0"], retrycount=entry.failures + 1, justid=True
        )
        try:
            await self._handling.run(self.topic, self._generation, [entry])
        except HandlerFailed as error:
            await self._failed(entry, str(error))
        else:
            await self._settle([entry])

    async def _failed(self, entry: Entry, error: str) -> None:
        entry = entry._replace(failures=entry.failures + 1)
        fields = {"group": self._name, "topic": self.topic, "position": entry.position, "failures": entry.failures}
        if entry.failures >= self._retries.attempts:
            await self._give_up(entry, error)
            return
        log.warning("a handler failed", extra=fields | {"reason": error.strip().rpartition("\n")[2]})
        self._waiting[entry.position] = (time.monotonic() + self._retries.pause(entry.failures), entry)

    async def _give_up(self, entry: Entry, error: str) -> None:
        async with self._pool.acquire() as connection:
            await bury(connection, self._name, self.topic, entry.position, entry.body, error, entry.failures)
        fields = {"group": self._name, "topic": self.topic, "position": entry.position, "attempts": entry.failures}
        log.error("an event was given up: dead letter", extra=fields)
        await self._settle([entry])

    async def _settle(self, entries: Sequence[Entry]) -> None:
        await self._redis.xack(self._key, self._group, *(f"{entry.position}-0" for entry in entries))
        for entry in entries:
            self._waiting.pop(entry.position, None)

    async def _claim(self) -> None:
        """Take over what consumers had that are silent for too long; it is due at once."""
        patience = int(self._retries.patience * 1000)
        while len(self._waiting) < MOST_WAITING:
            # XPENDING and XCLAIM, where XAUTOCLAIM would not say how often each was delivered.
            pending: Any = await self._redis.xpending_range(self._key, self._group, "-", "+", 100, idle=patience)
            if not pending:
                return
            tried = {each["message_id"]: each["times_delivered"] for each in pending}
            claimed: Any = await self._redis.xclaim(
                self._key, self._group, self._me, patience, list(tried), justid=True
            )
            for id in claimed:
                await self._take_over(id, tried[id])
            if not claimed:
                return

    async def _take_over(self, id: bytes, failures: int) -> None:
        position = _position(id)
        found: Any = await self._redis.xrange(self._key, id, id)
        body: bytes | None = found[0][1][b"e"] if found else None
        if body is None:
            async with self._pool.acquire() as connection:
                body = await connection.fetchval("SELECT body FROM bus.event WHERE position = $1", position)
        if body is None:
            await self._redis.xack(self._key, self._group, id)
        elif position not in self._waiting:
            self._waiting[position] = (time.monotonic(), Entry(position, body, failures))

    async def checkpoint(self) -> None:
        """Tell PostgreSQL how far the group is."""
        generation = self._generation
        if not generation:
            return
        found = await topics.settled(self._redis, self.topic)
        if (at := found.groups.get(topics.group_name(self._name, generation))) is not None:
            await self._groups.checkpoint(self._name, self.topic, generation, at)

    async def keep(self) -> None:
        """Say that what waits here is not a dead consumer's."""
        if ids := [f"{position}-0" for position in self._waiting]:
            with suppress(ResponseError):
                await self._redis.xclaim(self._key, self._group, self._me, 0, ids, justid=True)

    async def give_back(self) -> None:
        """Leave what is pending here for others to take at once."""
        with suppress(ResponseError):
            pending: Any = await self._redis.xpending_range(self._key, self._group, "-", "+", 10_000, self._me)
            if ids := [each["message_id"] for each in pending]:
                idle = int(self._retries.patience * 1000)
                await self._redis.xclaim(self._key, self._group, self._me, 0, ids, idle=idle, justid=True)
            else:
                await self._redis.xgroup_delconsumer(self._key, self._group, self._me)


def _position(id: bytes) -> int:
    return int(id.partition(b"-")[0])
