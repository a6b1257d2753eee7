"""`Bus` over PostgreSQL and Redis Streams: the outbox, a publisher, and this process's consumers."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.exceptions import RedisError

from relay.bus import Handler
from relay.bus.consumer import Consumer, Retries
from relay.bus.dead_letters import DeadLetters
from relay.bus.groups import Groups
from relay.bus.handling import BatchHandler
from relay.bus.outbox import PostgresOutbox
from relay.bus.publisher import Publisher
from relay.bus.store import EventStore, make_months
from relay.bus.topics import key
from relay.contracts import TOPICS, Event
from relay.journal.address import Address
from relay.migrate import migrate, migrations

__all__ = ["StreamBus"]

TIMEOUT = 5.0


class StreamBus:
    """One process's bus. `store`, `groups` and `dead_letters` are for whoever looks after it."""

    def __init__(
        self, pool: Any, redis_url: str, *, retention: timedelta | None = None, retries: Retries | None = None
    ) -> None:
        self._pool, self._address, self._retries = pool, Address(redis_url), retries
        self._redis = self._address.client("materi-bus", TIMEOUT)
        self._publisher = Publisher(pool, self._redis, retention=retention)
        self._consumers: list[Consumer] = []
        self.outbox = PostgresOutbox()
        self.store = EventStore(pool)
        self.groups = Groups(pool)
        self.dead_letters = DeadLetters(pool)

    async def start(self, *, publish: bool = True) -> None:
        """Bring the schema `bus` up to date, and publish in the background from now on. Raises StartError and
        asyncpg's errors; Redis may be away."""
        async with self._pool.acquire() as connection:
            await migrate(connection, migrations("relay.bus.migrations"), schema="bus", component="relay")
            await make_months(connection, datetime.now(UTC))
        if publish:
            self._publisher.start()

    async def consume(self, name: str, topics: Sequence[str], handler: Handler) -> None:
        async def one_by_one(connection: Any, events: Sequence[Event]) -> None:
            for event in events:
                await handler(connection, event)

        await self.consume_many(name, topics, one_by_one)

    async def consume_many(self, name: str, topics: Sequence[str], handler: BatchHandler, *, batch: int = 100) -> None:
        """As `consume`, with a handler that takes up to `batch` events at once."""
        if unknown := set(topics) - set(TOPICS):
            raise ValueError(f"no topic is called {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}")
        redis = self._address.client(f"materi-bus-{name}", TIMEOUT)
        consumer = Consumer(self._pool, redis, name, topics, handler, batch=batch, retries=self._retries)
        await consumer.start()
        self._consumers.append(consumer)

    async def streams(self) -> dict[str, tuple[int, int | None]]:
        """Each topic's last position, and its entries in Redis; None while Redis is away. Raises asyncpg's errors."""
        last = dict(await self._pool.fetch("SELECT name, position FROM bus.topic"))
        found: dict[str, tuple[int, int | None]] = {}
        for topic in TOPICS:
            try:
                length: int | None = await self._redis.xlen(key(topic))
            except (RedisError, OSError):
                length = None
            found[topic] = (last.get(topic, 0), length)
        return found

    async def close(self) -> None:
        for consumer in self._consumers:
            await consumer.close()
        await self._publisher.close()
        await self._redis.aclose()
