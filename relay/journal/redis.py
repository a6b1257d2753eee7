"""The journal on Redis Streams: one stream for each room and epoch (see `keys`).

Appends go over a `Wire` (to each node of a cluster), everything else over redis-py. Needs Redis 6.2 or later, 7.0 for a
cluster, or Valkey.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import Any, TypeAlias, cast

from redis.exceptions import RedisError

from relay.errors import RelayError, StartError, StreamLost, Unavailable
from relay.journal import Appended, Counted, Entry, Opened
from relay.journal.address import Address
from relay.journal.cluster import ClusterWire, Doubted
from relay.journal.keys import PATTERN, TOMBSTONE_MS, entry_id, epoch_key, room_of, stream_key, stream_prefix
from relay.journal.slots import Client
from relay.journal.wire import Reply, Wire, pack
from relay.types import Actor, Edit, NodeId, Position, RoomId

__all__ = ["RedisJournal"]

log = logging.getLogger("relay.journal")

_FIRST, _CHUNK = 64, 512
"""Entries read at a time: with the opening, in Lua, and in further calls."""
_Chunk: TypeAlias = list[tuple[bytes, list[bytes]]]


class RedisJournal:
    """`Journal` on a Redis server, on the master that Sentinels name, or on a cluster (see `Address`).

    window: seconds that appends nobody waits for gather at most.
    timeout: seconds without an answer after which a connection counts as broken.
    max_queued_bytes: of appends not yet answered; beyond it they fail with Unavailable at once.
    on_state: called on the loop with True when the connection for appends is up and False when it broke (of a cluster:
        when all are, and when one is not). Appends in between fail at once.
    on_doubt: called when entries known to be appended may have been lost with a server's memory, or with a master whose
        replica took over: each room concerned opens its stream again at its last position and appends what it holds.
    """

    def __init__(
        self,
        url: str,
        node: NodeId,
        *,
        window: float = 0.02,
        timeout: float = 5.0,
        max_queued_bytes: int = 64 << 20,
        on_state: Callable[[bool], None] = lambda connected: None,
        on_doubt: Doubted = lambda concerned: None,
    ) -> None:
        self._address = Address(url)
        self._node = node.encode()
        name = f"materi-journal-{node}"
        make = partial(Wire, name=name, window=window, timeout=timeout, max_queued_bytes=max_queued_bytes)

        def state(up: bool) -> None:
            on_state(up)
            if not up:
                on_doubt(lambda room: True)

        self._cluster: ClusterWire | None = None
        if self._address.seeds:
            self._cluster = ClusterWire(
                self._address, lambda node, state: make(node, on_state=state), on_state=on_state, on_doubt=on_doubt
            )
        self._wire: Wire | ClusterWire = self._cluster or make(self._address, on_state=state)
        self._client = self._address.client(name, timeout, self._cluster.slots if self._cluster else None)
        # redis-py makes a dict of an entry's fields; ours repeat.
        self._client.set_response_callback("XRANGE", cast(Any, _as_it_is))
        scripts = files("relay.journal")
        self._open = self._client.register_script(scripts.joinpath("open.lua").read_text())
        self._intervene = self._client.register_script(scripts.joinpath("intervene.lua").read_text())
        self._forget = self._client.register_script(scripts.joinpath("forget.lua").read_text())

    @property
    def connected(self) -> bool:
        """Whether appends can be written now."""
        return self._wire.connected

    async def start(self) -> None:
        """Connect. Raises Unavailable when the server is away, StartError when it is not fit to hold documents."""
        await self._wire.start()
        async with self._errors():
            for client in await self._client.nodes() if isinstance(self._client, Client) else [self._client]:
                self._fit(await client.info())

    def _fit(self, info: dict[str, Any]) -> None:
        version = str(info.get("redis_version", "6.2"))
        # Channels in a cluster are sharded.
        needed = (7, 0) if self._cluster else (6, 2)
        if tuple(map(int, version.split(".")[:2])) < needed:
            raise StartError(f"{self._address} is Redis {version}; the journal needs {needed[0]}.{needed[1]} or later")
        policy = str(info.get("maxmemory_policy", ""))
        if policy.startswith("allkeys") and info.get("maxmemory"):
            raise StartError(
                f"{self._address} may evict documents: set its maxmemory-policy to noeviction, not {policy}"
            )

    async def open(self, room: RoomId, after: Position | None) -> Opened:
        held = after or Position(0, 0, 0)
        if self._cluster is not None and not self._cluster.serves(room):
            raise Unavailable(f"{self._address}: the node for {room!r} is away")
        async with self._errors():
            for _ in range(3):
                epoch, chunk = await self._opened(room, held, _FIRST)
                entries = [_entry(epoch, name, fields) for name, fields in chunk]
                if len(entries) < _FIRST:
                    return Opened(epoch, entries)
                entries += [entry async for entry in self._entries(room, epoch, entries[-1].position)]
                # An epoch never comes back: a stream that is there now was there all the time we read.
                if await self._client.exists(stream_key(room, epoch)):
                    return Opened(epoch, entries)
        raise StreamLost(f"the stream of {room!r} vanished while it was read")

    async def _opened(self, room: RoomId, held: Position, count: int) -> tuple[int, _Chunk]:
        """The epoch of a stream that is there now, and up to `count` of its entries behind `held`."""
        epoch, chunk = await self._open(keys=[epoch_key(room)], args=(stream_prefix(room), *held, count))
        return int(epoch), chunk

    def append(self, room: RoomId, epoch: int, edits: Sequence[Edit], done: Appended, *, soon: bool = True) -> None:
        key = stream_key(room, epoch)
        command = pack(b"XADD", key, b"NOMKSTREAM", b"*", *self._fields(edits))
        self._wire.submit(command, partial(_appended, room, epoch, done), soon, key)

    def count(self, room: RoomId, epoch: int, done: Counted) -> None:
        key = stream_key(room, epoch)
        self._wire.submit(pack(b"XLEN", key), partial(_counted, done), True, key)

    async def intervene(self, room: RoomId, after: Position | None, edits: Sequence[Edit]) -> Position:
        held = after or Position(0, 0, 0)
        keys, prefix = [epoch_key(room)], stream_prefix(room)
        async with self._errors():
            await self._opened(room, held, 0)
            epoch, entry = await self._intervene(keys=keys, args=[prefix, *self._fields(edits)])
        ms, _, seq = entry.partition(b"-")
        return Position(int(epoch), int(ms), int(seq))

    def _fields(self, edits: Sequence[Edit]) -> list[bytes]:
        """An entry: the node, then actor and update of each edit."""
        fields = [b"n", self._node]
        for actor, update in edits:
            fields += (actor.encode("utf-8", "surrogatepass"), update)
        return fields

    async def read(self, room: RoomId, after: Position | None, upto: Position | None, limit: int = 1000) -> list[Entry]:
        entries: list[Entry] = []
        async with self._errors():
            epoch = await self._epoch(room)
            if limit > 0:
                async for entry in self._entries(room, epoch, after, upto, limit):
                    entries.append(entry)
        return entries

    async def trim(self, room: RoomId, upto: Position) -> None:
        # MINID names the first entry that stays; the id after `upto`.
        first = f"{upto.ms}-{upto.seq + 1}" if upto.seq < 2**64 - 1 else f"{upto.ms + 1}-0"
        async with self._errors():
            await self._client.xtrim(stream_key(room, upto.epoch), minid=first, approximate=False)

    async def delete(self, room: RoomId) -> None:
        async with self._errors():
            await self._forget(keys=[epoch_key(room)], args=[stream_prefix(room), TOMBSTONE_MS])

    async def retire(self, room: RoomId, upto: Position) -> bool:
        args = stream_prefix(room), TOMBSTONE_MS, upto.epoch, entry_id(upto)
        async with self._errors():
            return bool(await self._forget(keys=[epoch_key(room)], args=args))

    async def epoch(self, room: RoomId) -> int:
        async with self._errors():
            return await self._epoch(room)

    async def length(self, room: RoomId) -> int:
        async with self._errors():
            return int(await self._client.xlen(stream_key(room, await self._epoch(room))))

    async def rooms(self) -> list[RoomId]:
        async with self._errors():
            return list({room_of(key) async for key in self._client.scan_iter(PATTERN, count=1000, _type="stream")})

    async def ping(self) -> None:
        if not self._wire.connected:
            raise Unavailable(f"the connection for appends to {self._address} is down")
        if self._cluster is None:  # a node that is away concerns its rooms, and not the others
            async with self._errors():
                await self._client.ping()

    async def close(self) -> None:
        await self._wire.close()
        await self._client.aclose()

    async def _epoch(self, room: RoomId) -> int:
        return int(await self._client.get(epoch_key(room)) or 0)

    async def _entries(
        self, room: RoomId, epoch: int, after: Position | None, upto: Position | None = None, limit: int | None = None
    ) -> AsyncIterator[Entry]:
        """The stream's entries with after < position <= upto, read in chunks so that the server serves others too."""
        if (after and after.epoch > epoch) or (upto and upto.epoch < epoch):
            return
        key = stream_key(room, epoch)
        first = f"({entry_id(after)}" if after and after.epoch == epoch else "-"
        last = entry_id(upto) if upto and upto.epoch == epoch else "+"
        while limit is None or limit > 0:
            count = _CHUNK if limit is None else min(limit, _CHUNK)
            chunk: _Chunk = cast(Any, await self._client.xrange(key, first, last, count))
            for name, fields in chunk:
                yield _entry(epoch, name, fields)
            if len(chunk) < count:
                return
            first = f"({chunk[-1][0].decode()}"
            limit = None if limit is None else limit - count

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Name redis-py's errors in our words."""
        try:
            yield
        except (RedisError, OSError) as error:
            raise Unavailable(f"{self._address}: {error or type(error).__name__}") from error


def _as_it_is(reply: Any, **options: Any) -> Any:
    return reply


def _counted(done: Counted, reply: Reply) -> None:
    done(reply if isinstance(reply, int | Unavailable) else Unavailable(f"the journal answered {reply!r}"))


def _appended(room: RoomId, epoch: int, done: Appended, reply: Reply) -> None:
    answer: Position | RelayError
    if isinstance(reply, bytes):
        ms, _, seq = reply.partition(b"-")
        answer = Position(epoch, int(ms), int(seq))
    elif reply is None:
        answer = StreamLost(f"stream {epoch} of {room!r} is gone")
    elif isinstance(reply, Unavailable):
        answer = reply
    else:
        answer = Unavailable(f"the server answered an append with {type(reply).__name__}")
    done(answer)


def _entry(epoch: int, name: bytes, fields: list[bytes]) -> Entry:
    ms, _, seq = name.partition(b"-")
    pairs = zip(fields[2::2], fields[3::2])
    edits = tuple(Edit(Actor(actor.decode("utf-8", "surrogatepass")), update) for actor, update in pairs)
    return Entry(Position(epoch, int(ms), int(seq)), NodeId(fields[1].decode()), edits)
