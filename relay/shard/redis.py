"""Channels on Redis pub/sub: one channel a room, one connection a node that listens to all of them.

A message is `<node id> NUL <message>`. In a cluster the channels are sharded: the channel's name carries the room's
hash tag (see `relay.journal.keys`), and whoever is in the room listens on the server that has its slot, over one
connection to each such server. What a connection missed while it was down is not made up for: `on_reset` tells the
owner to look for itself.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from relay.errors import Unavailable
from relay.journal.address import Address, Place
from relay.journal.keys import channel_key, channel_room
from relay.journal.slots import Client, Slots
from relay.shard import Heard
from relay.tasks import end, spawn
from relay.types import NodeId, RoomId

__all__ = ["RedisChannels"]

log = logging.getLogger("relay.shard")
RETRY = 0.5
TIMEOUT = 5.0
HEALTH = 30.0
"""Seconds of silence after which a listening connection is pinged."""

# The last is asyncio's, where redis-py makes a connection again for one task while another reads from it.
_LOST = (RedisError, OSError, TimeoutError, RuntimeError)


class _Ear:
    """One listening connection. `hear` gets what comes, `lost` why nothing more does."""

    def __init__(
        self, client: Redis, sharded: bool, hear: Callable[[dict[str, Any]], None], lost: Callable[[str], None]
    ) -> None:
        self._pubsub: Any = client.pubsub()
        self._subscribe = self._pubsub.ssubscribe if sharded else self._pubsub.subscribe
        self._unsubscribe = self._pubsub.sunsubscribe if sharded else self._pubsub.unsubscribe
        self._hear = hear
        self._lost = lost
        self._connecting = asyncio.Lock()
        self._listener: asyncio.Task[None] | None = None

    async def add(self, *channels: bytes) -> None:
        """Ask for channels (sharded: of one slot); what comes tells when they are there."""
        async with self._connecting:  # redis-py takes a connection for each subscribe that finds none
            await self._subscribe(*channels)
        if self._listener is None:
            self._listener = spawn("listen to other relays", self._listen())

    async def drop(self, channel: bytes) -> None:
        await self._unsubscribe(channel)

    async def _listen(self) -> None:
        try:
            while True:
                message = await self._pubsub.get_message(timeout=HEALTH)
                if message is None:
                    await self._pubsub.ping()
                else:
                    self._hear(message)
        except _LOST as error:
            self._lost(str(error))

    async def close(self) -> None:
        await end(self._listener)
        await self._pubsub.aclose()


class RedisChannels:
    """`Channels` on Redis. `on_reset` is called after a listening connection was lost and made again."""

    def __init__(self, url: str, node: NodeId, heard: Heard, on_reset: Callable[[], None] = lambda: None) -> None:
        self._address = Address(url)
        self._node = node.encode()
        self._heard = heard
        self._on_reset = on_reset
        self._slots = Slots(self._address, self._moved) if self._address.seeds else None
        self._client = self._address.client(f"materi-shard-{node}", TIMEOUT, self._slots)
        self._ears: dict[Place | None, _Ear] = {}
        self._rooms: dict[bytes, asyncio.Future[None] | None] = {}  # None: confirmed; futures take memory
        self._resetting: asyncio.TimerHandle | None = None
        self._mending: asyncio.Task[None] | None = None
        self._broken = False  # some of what was subscribed to may not be heard

    async def listen(self, room: RoomId) -> None:
        channel = channel_key(room)
        confirmed = self._rooms[channel] = asyncio.get_running_loop().create_future()
        try:
            async with self._errors():
                if self._slots is not None and self._slots.owner(channel) is None:
                    await self._slots.refresh()
                await self._ear(channel).add(channel)
                async with asyncio.timeout(TIMEOUT):
                    await confirmed
        except Unavailable:
            self._rooms.pop(channel, None)
            raise

    async def stop(self, room: RoomId) -> None:
        channel = channel_key(room)
        if channel in self._rooms:
            del self._rooms[channel]
            try:
                async with self._errors():
                    if (ear := self._ears.get(self._place(channel))) is not None:
                        await ear.drop(channel)
            except Unavailable as error:
                log.debug("could not leave a channel", extra={"room": room, "error": str(error)})

    async def tell(self, room: RoomId, message: bytes) -> int:
        channel = channel_key(room)
        async with self._errors():
            if self._slots is None:
                heard = int(await self._client.publish(channel, self._node + b"\0" + message))
            else:
                heard = int(await self._client.spublish(channel, self._node + b"\0" + message))
        return heard - (channel in self._rooms)

    async def close(self) -> None:
        self._rooms.clear()
        if self._resetting is not None:
            self._resetting.cancel()
        await end(self._mending)
        await self._close_ears()
        await self._client.aclose()

    # -- where a channel is heard --

    def _place(self, channel: bytes) -> Place | None:
        """The node of a cluster; None stands for a single server."""
        return self._slots.owner(channel) if self._slots is not None else None

    def _ear(self, channel: bytes) -> _Ear:
        place = self._place(channel)
        if self._slots is not None and place is None:
            raise RedisError("no node has the slot")
        ear = self._ears.get(place)
        if ear is None:
            client = self._client.node(place) if place and isinstance(self._client, Client) else self._client
            ear = self._ears[place] = _Ear(client, place is not None, self._receive, self._mend)
        return ear

    def _moved(self, slots: set[int]) -> None:
        """Slots have another owner: listen there."""
        if self._ears:
            self._mend("slots have moved")

    def _mend(self, why: str) -> None:
        self._broken = True
        if self._mending is None:
            log.info("listening connection lost", extra={"error": why})
            self._mending = spawn("listen again", self._again())

    async def _again(self) -> None:
        """Connect and subscribe again, however long that takes."""
        while self._broken:
            await asyncio.sleep(RETRY * random.uniform(0.5, 1.5))  # noqa: S311  (jitter)
            try:
                async with self._errors():
                    await self._close_ears()
                    if self._slots is not None:
                        await self._slots.refresh()
                    self._broken = False
                    await self._subscribe([*self._rooms])
            except Unavailable:
                self._broken = True
        self._mending = None
        self._reset()

    async def _subscribe(self, channels: list[bytes]) -> None:
        size = 500 if self._slots is None else 1  # one command may only name channels of one slot
        for first in range(0, len(channels), size):
            await self._ear(channels[first]).add(*channels[first : first + size])

    async def _close_ears(self) -> None:
        ears, self._ears = self._ears, {}
        for ear in ears.values():
            await ear.close()

    def _reset(self) -> None:
        if self._resetting is not None:
            self._resetting.cancel()
            self._resetting = None
        self._on_reset()

    # -- what is heard --

    def _receive(self, message: dict[str, Any]) -> None:
        channel: bytes = message["channel"]
        if message["type"] in ("subscribe", "ssubscribe"):
            if channel not in self._rooms:
                return
            asked, self._rooms[channel] = self._rooms[channel], None
            if asked is not None:
                if not asked.done():
                    asked.set_result(None)
            elif self._resetting is None:  # redis-py has connected and subscribed again by itself
                self._resetting = asyncio.get_running_loop().call_later(RETRY, self._reset)
        elif message["type"] in ("message", "smessage"):
            node, _, said = message["data"].partition(b"\0")
            if node != self._node and said:
                self._heard(channel_room(channel), NodeId(node.decode("utf-8", "replace")), said)
        elif message["type"] == "sunsubscribe" and channel in self._rooms and self._rooms[channel] is None:
            self._mend("the slot has left the node")

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except _LOST as error:
            raise Unavailable(f"{self._address}: {error or type(error).__name__}") from error
