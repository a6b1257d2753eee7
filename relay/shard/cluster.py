"""Which relays share a Redis: each says every `BEAT` seconds what it is and carries, and is forgotten `EXPIRY` seconds
after its last word.

For people and dashboards only: nothing decides by it who serves or stores a room. A key for each relay, with a time to
live, and a sorted set of their ids, so that a reader need not scan a keyspace full of rooms; see `relay.journal.keys`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, cast

import orjson
from redis.exceptions import RedisError

from relay.errors import Unavailable
from relay.journal.address import Address
from relay.journal.keys import NODES, node_key
from relay.tasks import end, spawn
from relay.types import NodeId

__all__ = ["BEAT", "EXPIRY", "Cluster", "NodeInfo"]

log = logging.getLogger("relay.cluster")
BEAT = 2.0
EXPIRY = 6.0
FORGET = 3600.0
"""Seconds after which the id of a relay that is gone is dropped from the set; clocks differ by less."""
TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a relay says of itself. `worker`: its number among several, else None; `started`: Unix seconds;
    `url`: where others reach it, as its settings say, or empty."""

    id: NodeId
    host: str
    pid: int
    worker: int | None
    version: str
    started: float
    port: int
    url: str
    connections: int
    rooms: int
    draining: bool


_FIELDS = frozenset(field.name for field in fields(NodeInfo))


class Cluster:
    """The relays on the Redis at `url`. `name` is this connection's there."""

    def __init__(self, url: str, name: str) -> None:
        self._address = Address(url)
        self._client = self._address.client(name, TIMEOUT)
        self._describe: Callable[[], NodeInfo] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._listed = 0.0  # Unix seconds when it was last put into the set

    def start(self, describe: Callable[[], NodeInfo]) -> None:
        """Be one of them: say so now and every `BEAT` seconds."""
        self._describe = describe
        self._beating = spawn("say that we are here", self._beat())

    async def say(self) -> None:
        """Say now what we are. Raises Unavailable."""
        assert self._describe is not None
        info = self._describe()
        now = time.time()
        async with self._errors():
            was = await self._client.set(node_key(info.id), orjson.dumps(info), px=int(EXPIRY * 1000), get=True)
            if was is None or now - self._listed > FORGET / 4:
                await self._client.zadd(NODES, {info.id: now})
                await self._client.zremrangebyscore(NODES, "-inf", now - FORGET)
                self._listed = now

    async def nodes(self) -> list[NodeInfo]:
        """Those that were heard lately, by host and worker. Raises Unavailable."""
        async with self._errors():
            ids: list[bytes] = cast(Any, await self._client.zrange(NODES, 0, -1))
            said: list[bytes | None] = []
            if ids:
                said = cast(Any, await self._client.mget([node_key(NodeId(one.decode())) for one in ids]))
        found = [info for one in said if one is not None and (info := _read(one)) is not None]
        return sorted(found, key=lambda node: (node.host, node.worker or 0, node.started, node.id))

    async def close(self) -> None:
        """Be none of them any more, at once if Redis can be told."""
        await end(self._beating)
        if self._describe is not None:
            node = self._describe().id
            try:
                async with self._errors():
                    await self._client.delete(node_key(node))
                    await self._client.zrem(NODES, node)
            except Unavailable as error:
                log.debug("could not say goodbye", extra={"error": str(error)})
        await self._client.aclose()

    async def _beat(self) -> None:
        while True:
            try:
                await self.say()
            except Unavailable as error:
                log.debug("could not say that we are here", extra={"error": str(error)})
            await asyncio.sleep(BEAT)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise Unavailable(f"{self._address}: {error or type(error).__name__}") from error


def _read(said: bytes) -> NodeInfo | None:
    """A relay of another version may say more, and then be read; or less, and then not."""
    try:
        return NodeInfo(**{name: value for name, value in orjson.loads(said).items() if name in _FIELDS})
    except (ValueError, TypeError, AttributeError):
        return None
