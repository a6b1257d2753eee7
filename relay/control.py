"""Hints to every relay: "look at this room", for what operators and APIs do to rooms that are open somewhere.

A hint says nothing but the room's name; what became of the room, the stores say (`Registry.check`). Likewise "ask
again what these clients may do": what they may, the plugins say. The hints are a short Redis stream, so that a relay
whose connection broke for a while finds those that it missed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, cast

from redis.exceptions import RedisError

from relay.errors import Unavailable
from relay.journal.address import Address
from relay.tasks import end, spawn
from relay.types import NodeId, RoomId

__all__ = ["KEPT", "KEY", "Control", "Recheck", "hint"]

log = logging.getLogger("relay.control")
KEY = b"materi:control"
KEPT = 1000
BLOCK_MS = 4000
TIMEOUT = 5.0
RETRY = 1.0
"""Seconds until Redis or a store that was away is asked again."""


async def hint(url: str, room: RoomId) -> None:
    """Tell every relay on the Redis at `url` to look at `room`. Raises Unavailable."""
    client = Address(url).client("materi-hint", TIMEOUT)
    try:
        await client.xadd(KEY, {"room": room}, maxlen=KEPT, approximate=True)
    except (RedisError, OSError) as error:
        raise Unavailable(f"the relays could not be told: {error}") from error
    finally:
        await client.aclose()


class Recheck(NamedTuple):
    """Whose grants may have changed: clients of that room, actor and session, where given."""

    room: RoomId | None = None
    actor: str | None = None
    session: str | None = None

    def entry(self) -> dict[Any, Any]:
        """As it stands in the stream."""
        return {"recheck": "", **{name: value for name, value in self._asdict().items() if value is not None}}

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> "Recheck":
        """The inverse of `entry`."""
        room, actor, session = (fields[name].decode() if name in fields else None for name in _CONCERNED)
        return cls(RoomId(room) if room is not None else None, actor, session)


_CONCERNED = tuple(name.encode() for name in Recheck._fields)


class Control:
    """Listens for hints: `check` is awaited for each room named; when it raises Unavailable, again a moment later.

    recheck: called for each `Recheck`.
    """

    def __init__(
        self, url: str, node: NodeId, check: Callable[[RoomId], Awaitable[None]], recheck: Callable[[Recheck], None]
    ) -> None:
        self._client = Address(url).client(f"materi-control-{node}", TIMEOUT)
        self._check = check
        self._recheck = recheck
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen for hints from now on. Raises Unavailable."""
        try:
            newest: Any = await self._client.xrevrange(KEY, count=1)
        except (RedisError, OSError) as error:
            raise Unavailable(str(error)) from error
        self._listening = spawn("listen for hints", self._listen(newest[0][0] if newest else b"0-0"))

    async def close(self) -> None:
        """Stop listening."""
        await end(self._listening)
        await self._client.aclose()

    async def _listen(self, last: bytes) -> None:
        while True:
            try:
                reply = await self._client.xread({KEY: last}, count=100, block=BLOCK_MS)
            except (RedisError, OSError) as error:
                log.debug("no hints for now", extra={"error": str(error)})
                await asyncio.sleep(RETRY)
                continue
            for _, entries in cast(Any, reply or ()):
                for entry, fields in entries:
                    if b"recheck" in fields:
                        self._recheck(Recheck.read(fields))
                    else:
                        await self._look(RoomId(fields[b"room"].decode()))
                    last = entry

    async def _look(self, room: RoomId) -> None:
        while True:
            try:
                return await self._check(room)
            except Unavailable as error:
                log.warning("can't look at a room, will try again", extra={"room": room, "error": str(error)})
                await asyncio.sleep(RETRY)
