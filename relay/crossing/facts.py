"""Facts of this relay, written to a Redis stream for the plugins to read. Never waits, and is bounded."""

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from relay.crossing.wire import fact
from relay.hooks import Fact
from relay.journal.address import Address
from relay.tasks import end, spawn
from relay.types import NodeId

if TYPE_CHECKING:
    from relay.metrics import Counters

__all__ = ["FIELD", "KEPT", "KEY", "Facts"]

log = logging.getLogger("relay.facts")
KEY = b"materi:facts"
FIELD = b"fact"
KEPT = 200_000
"""Entries of the stream; a plugin that is further behind misses the oldest."""
GATHER = 0.02
"""Seconds that facts gather for one write."""
BATCH = 500
MOST = 20_000
"""Facts that wait here while Redis is away; further ones are dropped and counted."""
TIMEOUT = 5.0


class Facts:
    """`tell` is all that the rest of the relay sees of plugins that listen."""

    def __init__(self, url: str, node: NodeId, counters: "Counters") -> None:
        self._client = Address(url).client(f"materi-facts-{node}", TIMEOUT)
        self._node = node
        self._counters = counters
        self._waiting: deque[bytes] = deque()
        self._writing: asyncio.Task[None] | None = None

    def tell(self, said: Fact) -> None:
        """Note a fact; it is written in a moment."""
        if len(self._waiting) >= MOST:
            self._counters.errors.add("fact dropped")
            return
        self._waiting.append(fact(said, self._node, time.time()))
        if self._writing is None:
            self._writing = spawn("write facts", self._write())

    async def close(self) -> None:
        """Write what waits, if that is possible at once."""
        if (writing := self._writing) is not None:
            await asyncio.wait([writing], timeout=1.0)
            await end(writing)
        await self._client.aclose()

    async def _write(self) -> None:
        try:
            await asyncio.sleep(GATHER)
            while self._waiting:
                batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
                pipeline = self._client.pipeline(transaction=False)
                for entry in batch:
                    pipeline.xadd(KEY, {FIELD: entry}, maxlen=KEPT, approximate=True)
                try:
                    await pipeline.execute()
                except (RedisError, OSError) as error:
                    log.debug("facts wait", extra={"error": str(error)})
                    await asyncio.sleep(1.0)
                    continue
                for _ in batch:
                    self._waiting.popleft()
        finally:
            self._writing = None
