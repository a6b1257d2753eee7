"""Moves committed events from the outbox to the streams and the event store.

Any number of processes run one. A transaction-long advisory lock lets one of them publish at a time, in the order of
the outbox; it appends to the streams, then commits that the events are stored and gone from the outbox. Killed in
between, the next publisher appends them again: they are delivered twice, and stored once.
"""

import asyncio
import logging
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from redis.exceptions import RedisError, ResponseError

from relay.bus import topics
from relay.bus.outbox import CHANNEL
from relay.bus.store import drop_before, make_months
from relay.contracts import TOPICS
from relay.log import Sparingly
from relay.tasks import end, spawn

__all__ = ["Publisher"]

log = logging.getLogger("relay.bus")

BATCH = 1000
POLL = 1.0
"""Seconds after which the outbox is looked into without a notification."""
TIDY_EVERY = 5.0
HOUSEKEEPING_EVERY = 3600.0
RETRY = 0.5
HANDLED_DAYS = 7
"""For how long a group remembers what it has handled; a duplicate comes within seconds of the first."""
_LOCK = int.from_bytes(b"bus", "big")
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, RedisError, TimeoutError)

_TAKE = """
SELECT o.id, nextval('bus.position') AS position, o.topic, o.body
FROM (SELECT id, topic, body FROM bus.outbox ORDER BY id LIMIT $1) o
"""
_STORE = """
WITH gone AS (
    DELETE FROM bus.outbox o USING unnest($1::bigint[], $2::bigint[]) AS p (id, position) WHERE o.id = p.id
    RETURNING p.position, o.event, o.time, o.topic, o.type, o.subject, o.actor, o.body
), stored AS (
    INSERT INTO bus.event (position, id, time, topic, type, subject, actor, body)
    SELECT * FROM gone ORDER BY position
)
INSERT INTO bus.topic (name, position) SELECT topic, max(position) FROM gone GROUP BY topic
ON CONFLICT (name) DO UPDATE SET position = EXCLUDED.position
"""
_EVICT = """
UPDATE bus.consumer SET generation = generation + 1, replay = -1 WHERE topic = $1 AND name || '.' || generation = $2
"""


class Publisher:
    """One process's publisher.

    retention: events older than this are dropped, by the month; None keeps them all.
    max_stream: entries a stream may hold for its slowest group; then that group reads from the event store.
    """

    def __init__(
        self, pool: Any, redis: Any, *, retention: timedelta | None = None, max_stream: int = 1_000_000
    ) -> None:
        self._pool, self._redis = pool, redis
        self._retention, self._max_stream = retention, max_stream
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._sparingly = Sparingly()
        self._tidied = self._kept_house = float("-inf")

    def start(self) -> None:
        """Publish from now on, in the background."""
        self._task = spawn("publish events", self._run())

    async def close(self) -> None:
        """Stop; what is not published yet waits in the outbox."""
        await end(self._task)

    async def _run(self) -> None:
        while not self._closing:
            try:
                async with self._pool.acquire() as connection:
                    await connection.add_listener(CHANNEL, self._notified)
                    try:
                        while not self._closing:
                            self._wake.clear()
                            await self._work(connection)
                            await _within(POLL, self._wake)
                    finally:
                        if not connection.is_closed():
                            await connection.remove_listener(CHANNEL, self._notified)
            except _AWAY as error:
                if (held := self._sparingly.allows("publish")) is not None:
                    log.warning("events wait in the outbox", extra={"reason": str(error), "also": held})
                await asyncio.sleep(RETRY)

    def _notified(self, *_: object) -> None:
        self._wake.set()

    async def _work(self, connection: Any) -> None:
        try:
            while await self.publish(connection) == BATCH:
                pass
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                raise
            await self._overtake(connection)
            self._wake.set()
        now = time.monotonic()
        if now - self._tidied >= TIDY_EVERY:
            self._tidied = now
            await self.tidy(connection)
        if now - self._kept_house >= HOUSEKEEPING_EVERY:
            self._kept_house = now
            await self.keep_house(connection)

    async def publish(self, connection: Any, limit: int = BATCH) -> int:
        """Publish up to `limit` events; returns how many, 0 also while another publisher is at it."""
        async with connection.transaction():
            if not await self._alone(connection):
                return 0
            rows = await connection.fetch(_TAKE, limit)
            if not rows:
                return 0
            last = dict(await connection.fetch("SELECT name, position FROM bus.topic"))
            entries = defaultdict(list)
            for row in rows:
                entries[row["topic"]].append((row["position"], row["body"]))
            for topic, some in entries.items():
                await self._append(topic, last.get(topic, 0), some)
            await connection.execute(_STORE, [row["id"] for row in rows], [row["position"] for row in rows])
            return len(rows)

    async def _alone(self, connection: Any) -> bool:
        # A publisher that is stopped half-way, and doesn't know it, loses its session and with it the lock.
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 10000")
        return bool(await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK))

    async def _append(self, topic: str, last: int, entries: list[tuple[int, bytes]]) -> None:
        if await topics.publish(self._redis, topic, last, entries):
            log.error("a stream has lost events: its groups read them from the event store", extra={"topic": topic})

    async def _overtake(self, connection: Any) -> None:
        """The database was taken back to a time before what the streams hold: give out positions past theirs."""
        newest = max([await topics.newest(self._redis, topic) for topic in TOPICS])
        log.error("the streams are ahead of the database: positions skip past them", extra={"position": newest})
        await connection.execute(
            "SELECT setval('bus.position', greatest($1::bigint, (SELECT last_value FROM bus.position)))", newest
        )

    async def tidy(self, connection: Any) -> None:
        """Find streams that lost entries; trim what every group has settled; forget groups that are no more; make a
        group that keeps too much in memory read from the event store."""
        async with connection.transaction():
            if not await self._alone(connection):
                return
            last = dict(await connection.fetch("SELECT name, position FROM bus.topic"))
            for topic in TOPICS:
                await self._append(topic, last.get(topic, 0), [])
                found = await topics.settled(self._redis, topic, last.get(topic, 0))
                # Read after what Redis said: a group is registered before it is created there.
                rows = await connection.fetch("SELECT name, generation FROM bus.consumer WHERE topic = $1", topic)
                known = {topics.group_name(row["name"], row["generation"]) for row in rows}
                for group in found.groups.keys() - known:
                    await self._redis.xgroup_destroy(topics.key(topic), group)
                living = {group: at for group, at in found.groups.items() if group in known}
                if found.length > self._max_stream and living:
                    await self._evict(connection, topic, min(living, key=living.__getitem__), found.length)

    async def _evict(self, connection: Any, topic: str, group: str, length: int) -> None:
        # Its group in Redis is destroyed by the next round, once this has committed.
        await connection.execute(_EVICT, topic, group)
        fields = {"topic": topic, "group": group, "entries": length}
        log.error("a group is too far behind for its stream: it goes on from the event store", extra=fields)

    async def keep_house(self, connection: Any) -> None:
        """Create months ahead, drop those past retention, forget what was handled long ago."""
        now = datetime.now(UTC)
        await make_months(connection, now)
        if self._retention is not None:
            await drop_before(connection, now - self._retention)
        # the ids begin with their time (UUIDv7), so this is a range of the key
        oldest = f"{int((now - timedelta(days=HANDLED_DAYS)).timestamp() * 1000):012x}" + "0" * 20
        for row in await connection.fetch("SELECT DISTINCT name FROM bus.consumer"):
            await connection.execute(
                "DELETE FROM bus.handled WHERE name = $1 AND event < $2::text::uuid", row["name"], oldest
            )


async def _within(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
