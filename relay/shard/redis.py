"""Channels on Redis pub/sub: one channel a room, one connection a node that listens to all of them.

A message is `<node id> NUL <message>`. The channel's name carries the room's hash tag (see `relay.journal.keys`), so
that sharded pub/sub can take it over in a cluster. What the connection missed while it was down is not made up for:
`on_reset` tells the owner to look for itself.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError

from relay.errors import Unavailable
from relay.journal.address import Address
from relay.journal.keys import channel_key, channel_room
from relay.shard import Heard
from relay.tasks import spawn
from relay.types import NodeId, RoomId

__all__ = ["RedisChannels"]

log = logging.getLogger("relay.shard")
RETRY = 0.5
TIMEOUT = 5.0
HEALTH = 30.0
"""Seconds of silence after which the listening connection is pinged."""


class RedisChannels:
    """`Channels` on a Redis server. `on_reset` is called after the listening connection was lost and made again."""

    def __init__(self, url: str, node: NodeId, heard: Heard, on_reset: Callable[[], None] = lambda: None) -> None:
        self._address = Address(url)
        self._node = node.encode()
        self._heard = heard
        self._on_reset = on_reset
        self._client = self._address.client(f"materi-shard-{node}", TIMEOUT)
        self._pubsub: Any = self._client.pubsub()
        self._rooms: dict[bytes, asyncio.Future[None]] = {}
        self._resetting: asyncio.TimerHandle | None = None
        self._connecting = asyncio.Lock()
        self._listener: asyncio.Task[None] | None = None

    async def listen(self, room: RoomId) -> None:
        channel = channel_key(room)
        confirmed = self._rooms[channel] = asyncio.get_running_loop().create_future()
        try:
            async with self._errors():
                async with self._connecting:  # redis-py takes a connection for each subscribe that finds none
                    await self._pubsub.subscribe(channel)
                if self._listener is None:
                    self._listener = spawn("listen to other relays", self._listen())
                async with asyncio.timeout(TIMEOUT):
                    await confirmed
        except Unavailable:
            self._rooms.pop(channel, None)
            raise

    async def stop(self, room: RoomId) -> None:
        channel = channel_key(room)
        if self._rooms.pop(channel, None) is not None:
            try:
                async with self._errors():
                    await self._pubsub.unsubscribe(channel)
            except Unavailable as error:
                log.debug("could not leave a channel", extra={"room": room, "error": str(error)})

    async def tell(self, room: RoomId, message: bytes) -> int:
        async with self._errors():
            heard = int(await self._client.publish(channel_key(room), self._node + b"\0" + message))
        return heard - (channel_key(room) in self._rooms)

    async def close(self) -> None:
        self._rooms.clear()
        if self._resetting is not None:
            self._resetting.cancel()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        await self._pubsub.aclose()
        await self._client.aclose()

    async def _listen(self) -> None:
        while True:
            try:
                message = await self._pubsub.get_message(timeout=HEALTH)
                if message is None:
                    await self._pubsub.ping()
                else:
                    self._receive(message)
            except (RedisError, OSError) as error:
                log.info("listening connection lost", extra={"error": str(error)})
                await self._again()

    async def _again(self) -> None:
        """Connect and subscribe again, however long that takes."""
        while True:
            await asyncio.sleep(RETRY * random.uniform(0.5, 1.5))  # noqa: S311  (jitter)
            try:
                await self._pubsub.aclose()
                self._pubsub = self._client.pubsub()
                channels = list(self._rooms)
                for first in range(0, len(channels), 500):
                    await self._pubsub.subscribe(*channels[first : first + 500])
                break
            except (RedisError, OSError):
                continue
        self._reset()

    def _reset(self) -> None:
        if self._resetting is not None:
            self._resetting.cancel()
            self._resetting = None
        self._on_reset()

    def _receive(self, message: dict[str, Any]) -> None:
        channel: bytes = message["channel"]
        if message["type"] == "subscribe":
            confirmed = self._rooms.get(channel)
            if confirmed is None:
                return
            if not confirmed.done():
                confirmed.set_result(None)
            elif self._resetting is None:  # redis-py has connected and subscribed again by itself
                self._resetting = asyncio.get_running_loop().call_later(RETRY, self._reset)
        elif message["type"] == "message":
            node, _, said = message["data"].partition(b"\0")
            if node != self._node and said:
                self._heard(channel_room(channel), NodeId(node.decode("utf-8", "replace")), said)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{self._address}: {error or type(error).__name__}") from error
