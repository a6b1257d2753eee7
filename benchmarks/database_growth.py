"""How much does PostgreSQL write and keep for what people type?

    python benchmarks/database_growth.py [--rooms 40] [--days 3] [--sittings 4] [--bursts 8] [--keys 90] [--page 20000]

Days of typing over many rooms, without the waiting: every room is opened, typed in by bursts with a pause after each
(so that it comes to rest and is stored), and left again (so that it leaves memory), in turns with the others. Rooms,
compaction, codec process, store and PostgreSQL are the real ones; only the journal is in memory, and nobody reads.
Every third room begins with a page of text that was there before, which is not counted as typed.

An edit is one character typed behind the last one (a few are deletions, a few jumps), 15 to 35 bytes as Yjs sends it.
"Written" is what the relay hands to PostgreSQL: segments and archive; "WAL" what PostgreSQL then writes itself, of
which the page images after checkpoints are the most, and depend on how often those come, not on the typing.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import uvloop

from relay import embedded
from relay.codec.pool import CodecPool
from relay.embedded.postgres import SUPERUSER
from relay.grants import Grant
from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.room.member import Member
from relay.room.registry import Registry
from relay.room.room import Limits
from relay.snapshot import Segment
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Actor, NodeId, RoomId
from relay.yjs.lib0 import write_bytes, write_uint

NODE = NodeId("benchmark")
AT_ONCE = 8
TEXT = "the of and to in is that it was for on are as with they be at one have this from or had by hot but some what"
WORDS = TEXT.split()


class NullSocket:
    """Takes what is written and forgets it."""

    deflate = paused = False

    def write(self, data: bytes) -> None:
        pass


class Author:
    """One client id: types behind its last character, sometimes deletes it, sometimes goes elsewhere in its text."""

    def __init__(self, source: random.Random) -> None:
        self.client = source.getrandbits(32)
        self._source = source
        self._clock = 0
        self._cursor: tuple[int, int | None] | None = None  # ids left and right of the cursor
        self._letters = self._write()

    def _write(self) -> Iterator[str]:
        while True:
            yield from self._source.choice(WORDS) + " "

    def page(self, length: int) -> bytes:
        """An update with `length` characters at once."""
        text = "".join(next(self._letters) for _ in range(length))
        self._clock, self._cursor = length, (length - 1, None)
        return self._head(b"\4\1\1t", 0) + write_bytes(text.encode()) + b"\0"

    def key(self) -> bytes:
        """One keystroke's update."""
        luck = self._source.random()
        if self._cursor is None:
            head, clock = b"\4\1\1t", 0
        else:
            if luck < 0.04 and self._clock > 1:
                return b"\0\1" + write_uint(self.client) + b"\1" + write_uint(self._cursor[0]) + b"\1"
            if luck < 0.05 and self._clock > 2:
                left = self._source.randrange(self._clock - 1)
                self._cursor = left, left + 1
            left, right = self._cursor
            head, clock = b"\x84" + self._id(left), self._clock
            if right is not None:
                head = b"\xc4" + self._id(left) + self._id(right)
        self._cursor = clock, self._cursor[1] if self._cursor else None
        self._clock += 1
        return self._head(head, clock) + write_bytes(next(self._letters).encode()) + b"\0"

    def _head(self, struct: bytes, clock: int) -> bytes:
        return b"\1\1" + write_uint(self.client) + write_uint(clock) + struct

    def _id(self, clock: int) -> bytes:
        return write_uint(self.client) + write_uint(clock)


class Written:
    """What the relay handed to the store, in bytes; put around a store's writing calls."""

    def __init__(self, store: PostgresSnapshotStore) -> None:
        self.segments = self.stores = 0
        self._store = store.store
        store.store = self._count  # type: ignore[method-assign]

    async def _count(self, room: RoomId, segment: Segment) -> bool:
        self.segments += len(segment.state) + len(segment.clocks)
        self.stores += 1
        return await self._store(room, segment)


class Size(NamedTuple):
    """The database at one moment, in bytes where it is not a count."""

    wal: int
    segment: int
    archive: int
    room: int
    blocks: int
    live: int
    segments: int
    longest: int
    rooms: int
    dead: int
    dead_chunks: int


SIZE = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
       pg_total_relation_size('relay.segment'),
       (SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('relay.archive')),
       pg_total_relation_size('relay.room'),
       (SELECT coalesce(sum(octet_length(block)), 0)::bigint FROM relay.archive),
       coalesce(sum(size), 0)::bigint, coalesce(sum(segments), 0)::bigint, coalesce(max(segments), 0)::bigint,
       count(*),
       (SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables WHERE schemaname = 'relay'),
       (SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid =
           (SELECT reltoastrelid FROM pg_class WHERE oid = 'relay.segment'::regclass))
FROM relay.room
"""


async def look(connection: asyncpg.Connection) -> Size:
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return Size(*(int(value or 0) for value in await connection.fetchrow(SIZE)))


class Day:
    """Rooms and what was typed in them."""

    def __init__(self, registry: Registry, journal: MemoryJournal, options: argparse.Namespace) -> None:
        self.typed = self.edits = 0
        self._registry = registry
        self._journal = journal
        self._options = options
        self._source = random.Random(5)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._taken = defaultdict[RoomId, asyncio.Lock](asyncio.Lock)

    async def begin(self, name: RoomId) -> None:
        async with self._sitting(name) as (room, member):
            room.submit(member, Author(self._source).page(self._options.page))
            room.flush()

    async def sit(self, name: RoomId) -> None:
        """Somebody opens the document, types with pauses, and leaves."""
        author = Author(self._source)
        async with self._sitting(name) as (room, member):
            for _ in range(self._options.bursts):
                for _ in range(round(self._source.expovariate(1 / self._options.keys)) + 1):
                    update = author.key()
                    self.typed += len(update)
                    self.edits += 1
                    room.submit(member, update)
                    room.flush()
                await asyncio.sleep(0)
                await self._rest(room)

    @contextlib.asynccontextmanager
    async def _sitting(self, name: RoomId) -> Any:
        async with self._taken[name], self._slots:
            room = await self._registry.open(name)
            member = Member(NullSocket(), Grant(Actor("ann"), "ann", False), lambda why: None)
            self._registry.join(room, member)
            yield room, member
            await asyncio.sleep(0)
            await self._rest(room)
            self._registry.leave(room, member)
            assert not room.log.flushes
            self._registry.forget(room)
            assert await self._journal.retire(name, room.log.segments[-1].segment.upto)

    async def _rest(self, room: Any) -> None:
        """What a room does when nobody has typed for `snapshot_idle`, and before it leaves memory."""
        if self._registry.compactor.wants_rest(room):
            assert await self._registry.compactor.snapshot(room, rest=True)


async def hurry_autovacuum(url: str) -> None:
    """Let it look every second. By default that is every minute, in which a week passes here."""
    admin = await asyncpg.connect(url.replace("://relay@", f"://{SUPERUSER}@"))
    await admin.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    await admin.execute("SELECT pg_reload_conf()")
    await admin.close()


async def main(options: argparse.Namespace) -> None:
    counters = Counters()
    codec = CodecPool(1, counters)
    with tempfile.TemporaryDirectory(prefix="growth") as directory:
        Path(directory).chmod(0o755)
        async with await embedded.start(Path(directory) / "data", postgres=True, valkey=False) as own:
            store = await PostgresSnapshotStore.connect(own.database_url)
            await hurry_autovacuum(own.database_url)
            connection = await asyncpg.connect(own.database_url)
            written = Written(store)
            journal = MemoryJournal(NODE)
            registry = Registry(NODE, journal, store, codec, counters, Limits())
            day = Day(registry, journal, options)
            rooms = [RoomId(f"team/document-{number}") for number in range(options.rooms)]
            await asyncio.gather(*(day.begin(room) for room in rooms[::3]))
            written.segments = written.stores = 0
            print(" day   typed  edits   segments+archive  per byte    WAL per byte  live  tables/live  "
                  "segments mean/most  dead rows/chunks  stores")  # fmt: skip
            first = before = await look(connection)
            for number in range(options.days):
                typed, segments, started = day.typed, written.segments, time.perf_counter()
                await asyncio.gather(*(day.sit(room) for _ in range(options.sittings) for room in _shuffled(rooms)))
                now = await look(connection)
                report(number + 1, day.typed - typed, written.segments - segments, before, now, day, written.stores)
                print(f"      {time.perf_counter() - started:.0f} s")
                before = now
            print("all:")
            report(options.days, day.typed, written.segments, first, before, day, written.stores)
            await connection.close()
            await store.close()
    await codec.close()


def _shuffled(rooms: Sequence[RoomId]) -> list[RoomId]:
    return random.Random(len(rooms)).sample(rooms, len(rooms))


def report(number: int, typed: int, segments: int, before: Size, now: Size, day: Day, stores: int) -> None:
    archive = now.blocks - before.blocks
    tables = now.segment + now.room
    print(
        f"{number:4} {_mb(typed)} {day.edits:6}  {_mb(segments)} + {_mb(archive)}  {(segments + archive) / typed:8.2f}"
        f"  {_mb(now.wal - before.wal)} {(now.wal - before.wal) / typed:8.2f} {_mb(now.live)} {tables / now.live:9.2f}"
        f"    {now.segments / now.rooms:10.1f} {now.longest:5}    {now.dead:8} {now.dead_chunks:6}  {stores:6}"
        f"  (segment {_mb(now.segment)}, room {_mb(now.room)}, archive {_mb(now.archive)} of blocks {_mb(now.blocks)})"
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:6.2f}"


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"rooms": 40, "days": 3, "sittings": 4, "bursts": 8, "keys": 90, "page": 20_000}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(read_options()))
