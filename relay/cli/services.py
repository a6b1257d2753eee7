"""The services that commands work on: those that the settings name, or the embedded ones of the data directory."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from relay import embedded
from relay.codec.pool import CodecPool
from relay.control import hint
from relay.embedded.datadir import running
from relay.errors import StartError
from relay.journal import Journal
from relay.journal.redis import RedisJournal
from relay.metrics import Metrics
from relay.settings import Settings
from relay.snapshot import SnapshotStore
from relay.snapshot.database import Limits
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import NodeId, RoomId

__all__ = ["SETTINGS", "Services", "connect"]

SETTINGS = ("config", "data", "database_url", "database_pooler", "redis_url")
"""The settings that say where documents are."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a command works with."""

    journal: Journal
    snapshots: SnapshotStore
    codec: CodecPool
    redis_url: str

    async def hint(self, room: RoomId) -> None:
        """Have every running relay look at `room`. Raises Unavailable."""
        await hint(self.redis_url, room)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Services]:
    """Connected services. Embedded ones that no relay runs at the moment are started for the duration.

    Call it on the main thread. Raises StartError and Unavailable.
    """
    async with AsyncExitStack() as stack:
        database_url, redis_url = settings.database_url or "", settings.redis_url or ""
        if not (database_url and redis_url):
            own = await _embedded(settings, stack)
            database_url, redis_url = database_url or own[0], redis_url or own[1]
        for url, name in ((database_url, "DATABASE_URL"), (redis_url, "REDIS_URL")):
            if not url:
                raise StartError(f"the relay on {settings.data} uses a {name} of its own: set the same one here")
        snapshots = await PostgresSnapshotStore.connect(
            database_url, limits=Limits(pool=2, pooler=settings.database_pooler), application_name="relay command"
        )
        stack.push_async_callback(snapshots.close)
        journal = RedisJournal(redis_url, NodeId(f"command-{secrets.token_hex(4)}"))
        await journal.start()
        stack.push_async_callback(journal.close)
        codec = CodecPool(1, Metrics().counters, deadline=3600.0)
        stack.push_async_callback(codec.close)
        yield Services(journal, snapshots, codec, redis_url)


async def _embedded(settings: Settings, stack: AsyncExitStack) -> tuple[str, str]:
    if (found := running(settings.data)) is not None:
        return found
    wanted = [n for n, url in (("postgres", settings.database_url), ("valkey", settings.redis_url)) if not url]
    if not any((settings.data / name).exists() for name in wanted):
        raise StartError(
            f"{settings.data} holds no documents: name the relay's directory with --data,"
            " or set DATABASE_URL and REDIS_URL"
        )
    own = await embedded.start(settings.data, postgres="postgres" in wanted, valkey="valkey" in wanted)
    stack.push_async_callback(own.stop)
    return own.database_url, own.redis_url
