"""What a plugin is given: rooms, the database, events, jobs, a cache, work off the loop, services of other plugins."""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asyncpg import Pool
from prometheus_client import CollectorRegistry

from api_shim.cache import Cache
from api_shim.jobs import Jobs
from api_shim.rooms import Rooms
from api_shim.work import Work
from relay.bus import Handler
from relay.bus.streams import StreamBus

__all__ = ["Context", "Shared", "made_once"]

S = TypeVar("S")


@dataclass(slots=True)
class Shared:
    """What the contexts of one process share."""

    database: Pool
    redis: Any
    rooms: Rooms
    bus: StreamBus
    jobs: Jobs
    work: Work
    registry: CollectorRegistry
    public_url: str
    clock: Callable[[], float]
    services: dict[type, object] = field(default_factory=dict)


class Context:
    """One plugin's view of the process.

    database: a pool of connections; a plugin's tables are in the schema of its name, and are written qualified.
    bus: events, behind `outbox.add` and `consume`, for who looks after it.
    redis: the client behind `cache`, for what a cache can't do; keys below `materi:plugin:<name>:`.
    registry: where Prometheus collectors of its own go.
    public_url: how people reach us, without a slash at the end.
    clock: Unix seconds; a fake one in tests.
    """

    def __init__(self, plugin: str, shared: Shared) -> None:
        self.plugin = plugin
        self.log = logging.getLogger(f"plugins.{plugin}")
        self.cache = Cache(shared.redis, plugin)
        self._shared = shared
        self.database = shared.database
        self.redis = shared.redis
        self.rooms = shared.rooms
        self.outbox = shared.bus.outbox
        self.bus = shared.bus
        self.jobs = shared.jobs
        self.work = shared.work
        self.registry = shared.registry
        self.public_url = shared.public_url
        self.clock = shared.clock

    async def consume(self, name: str, topics: Sequence[str], handler: Handler) -> None:
        """Handle the events of these topics ("users", "documents", ...) from now on, as the group `<plugin>.<name>`: at
        least once each, and once in effect for what the handler writes on the connection it is given."""
        await self.bus.consume(f"{self.plugin}.{name}", topics, handler)

    def provide(self, service: type[S], by: S) -> None:
        """Do what `service` promises, for the plugins that require it."""
        self._shared.services[service] = by

    def service(self, service: type[S]) -> S:
        """Whoever provides `service`; it must be among the plugin's `requires`. Raises LookupError."""
        found = self._shared.services.get(service)
        if found is None:
            raise LookupError(f"plugin {self.plugin!r} asks for {service.__name__}, which it does not require")
        return found  # type: ignore[return-value]

    async def secret(self, name: str, size: int = 32) -> bytes:
        """Random bytes that are made once and the same ever after, on every node. Raises asyncpg's errors."""
        return await made_once(self.database, f"{self.plugin}.{name}", size)


async def made_once(database: Pool, name: str, size: int = 32) -> bytes:
    """The secret of that name; whoever asks first makes it."""
    await database.execute(
        "INSERT INTO api_shim.secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        name,
        secrets.token_bytes(size),
    )
    found: bytes = await database.fetchval("SELECT value FROM api_shim.secret WHERE name = $1", name)
    return found
