"""The snapshot store in PostgreSQL (13 or later): the tables of `migrations/`, and what is asked of them."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from relay.errors import Quarantined, StartError, Unavailable
from relay.journal import Entry
from relay.metrics import Tally
from relay.snapshot import RoomInfo, Segment
from relay.snapshot.archive import Block, pack, unpack
from relay.snapshot.chain import check, place
from relay.snapshot.database import AWAY, Database, Limits, connect, unavailable
from relay.snapshot.migrate import migrate, migrations
from relay.snapshot.partitions import Tended, tend
from relay.snapshot.pieces import COLUMNS, PIECE, PIECES, cut, joined
from relay.snapshot.replica import Replica
from relay.types import Position, RoomId

__all__ = ["PostgresSnapshotStore"]

log = logging.getLogger("relay.snapshot")
_OLDEST = (13, 0)
_IN_THREAD = 64 * 1024
"""Bytes of updates from which packing them (a millisecond by then) leaves the event loop; zlib releases the GIL."""

# Held to the end of the transaction: writers of one room take turns, and each statement after it sees what the
# writers before have done. (A collision of two rooms' hashes only makes them wait for each other.)
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"

# One statement, so one consistent view. Nothing of a quarantined chain is fetched.
_LOAD = f"""
SELECT r.quarantined, r.upto_epoch AS end_epoch, r.upto_ms AS end_ms, r.upto_seq AS end_seq, {COLUMNS}
FROM relay.room r LEFT JOIN {PIECES} ON true WHERE r.room = $1
"""  # noqa: S608
_CHAIN = """
SELECT upto_epoch, upto_ms, upto_seq, octet_length(state) AS size FROM relay.segment WHERE room = $1 ORDER BY link
"""
_STORE = """
WITH replaced AS (
    DELETE FROM relay.segment WHERE room = $1 AND link > $2
), stored AS (
    INSERT INTO relay.segment
    (room, link, after_epoch, after_ms, after_seq, upto_epoch, upto_ms, upto_seq, state, clocks)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, (
        SELECT string_agg(piece, '' ORDER BY number) FROM relay.piece WHERE room = $1
    )), $10)
    ON CONFLICT (room, link) DO UPDATE SET
        after_epoch = EXCLUDED.after_epoch, after_ms = EXCLUDED.after_ms, after_seq = EXCLUDED.after_seq,
        upto_epoch = EXCLUDED.upto_epoch, upto_ms = EXCLUDED.upto_ms, upto_seq = EXCLUDED.upto_seq,
        state = EXCLUDED.state, clocks = EXCLUDED.clocks
)
INSERT INTO relay.room (room, segments, upto_epoch, upto_ms, upto_seq, size) VALUES ($1, $2 + 1, $6, $7, $8, $11)
ON CONFLICT (room) DO UPDATE SET
    segments = EXCLUDED.segments, upto_epoch = EXCLUDED.upto_epoch, upto_ms = EXCLUDED.upto_ms,
    upto_seq = EXCLUDED.upto_seq, size = EXCLUDED.size, written = EXCLUDED.written
"""
_BRING = "INSERT INTO relay.piece VALUES ($1, $2, $3)"
_BROUGHT = "DELETE FROM relay.piece WHERE room = $1"
_OVERLAP = """
WHERE room = $1
  AND (last_epoch, last_ms, last_seq) >= ($2, $3, $4) AND (first_epoch, first_ms, first_seq) <= ($5, $6, $7)
"""
_OVERLAPPING = "SELECT block FROM relay.archive" + _OVERLAP  # noqa: S608
_DROP_OVERLAPPING = "DELETE FROM relay.archive" + _OVERLAP  # noqa: S608
_ARCHIVE = "INSERT INTO relay.archive VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
# A block holds at least one entry, so `limit` blocks are enough to look at; only those that are needed are fetched,
# and of blocks that hold big entries no more than a page's bytes.
_HISTORY = f"""
SELECT block FROM (
    SELECT last_epoch, last_ms, last_seq, block,
           sum(entries) OVER earlier - entries AS entries_before,
           sum(octet_length(block)) OVER earlier - octet_length(block) AS bytes_before
    FROM relay.archive WHERE room = $1 AND (last_epoch, last_ms, last_seq) > ($2, $3, $4)
    WINDOW earlier AS (ORDER BY last_epoch, last_ms, last_seq)
    ORDER BY last_epoch, last_ms, last_seq LIMIT $5
) blocks WHERE entries_before < $5 AND bytes_before < {16 << 20} ORDER BY last_epoch, last_ms, last_seq
"""  # noqa: S608
_QUARANTINE = """
INSERT INTO relay.room (room, quarantined) VALUES ($1, $2) ON CONFLICT (room) DO UPDATE SET quarantined = $2
"""
# A room that was set aside before it was stored has nothing else to be known by.
_FORGET = "DELETE FROM relay.room WHERE room = $1 AND segments = 0 AND quarantined IS NOT NULL"
_RELEASE = "UPDATE relay.room SET quarantined = NULL WHERE room = $1 AND quarantined IS NOT NULL"
_COLUMNS = "room, size, segments, upto_epoch, upto_ms, upto_seq, written, quarantined"
_INFO = f"SELECT {_COLUMNS} FROM relay.room WHERE room = $1"  # noqa: S608
_LIST = f"SELECT {_COLUMNS} FROM relay.room WHERE room >= $1 AND room < $2 ORDER BY room LIMIT $3"  # noqa: S608
_DELETE = """
WITH chain AS (DELETE FROM relay.segment WHERE room = $1),
     history AS (DELETE FROM relay.archive WHERE room = $1 RETURNING 1),
     known AS (DELETE FROM relay.room WHERE room = $1 RETURNING 1)
SELECT EXISTS (SELECT FROM known) OR EXISTS (SELECT FROM history)
"""
_BURY = """
INSERT INTO relay.deleted (room, epoch) VALUES ($1, $2)
ON CONFLICT (room) DO UPDATE SET epoch = greatest(relay.deleted.epoch, EXCLUDED.epoch), deleted = now()
"""
_DELETED = "SELECT epoch FROM relay.deleted WHERE room = $1"


class PostgresSnapshotStore:
    """`SnapshotStore` in PostgreSQL; documents are loaded from a replica if there is one (`relay.snapshot.replica`).

    reads: counts loads by what they were read from.
    """

    def __init__(self, primary: Database, replica: Database | None, reads: Tally) -> None:
        self._primary = primary
        self._replica = Replica(replica, reads) if replica is not None else None
        self._reads = reads

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        read_url: str | None = None,
        limits: Limits = Limits(),  # noqa: B008  (a tuple)
        application_name: str = "relay",
        reads: Tally | None = None,
    ) -> "PostgresSnapshotStore":
        """Connect, migrate the schema and open the pool; a replica at `read_url` may be away.

        Raises StartError when the operator has to change something, Unavailable when the server does not answer.
        """
        await _prepare(url, limits, application_name)
        primary = await Database.open(url, limits, application_name)
        replica = await Database.open(read_url, limits, application_name, eager=0) if read_url else None
        return cls(primary, replica, Tally() if reads is None else reads)

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection to the primary."""
        return self._primary.waiting

    async def load(self, room: RoomId, *, even_quarantined: bool = False) -> list[Segment]:
        if self._replica is not None:
            head = await self.info(room)
            if head is None or (head.quarantined is None and not head.segments):
                return []
            if head.quarantined is not None and not even_quarantined:
                raise Quarantined(head.quarantined)
            if (chain := await self._replica.chain(head)) is not None:
                return chain
        else:
            self._reads.add("primary")
        return await self._load(room, even_quarantined)

    async def _load(self, room: RoomId, even_quarantined: bool) -> list[Segment]:
        rows = await self._primary.run(lambda connection: connection.fetch(_LOAD, room, even_quarantined), bulk=True)
        if not rows:
            return []
        if (reason := rows[0]["quarantined"]) is not None and not even_quarantined:
            raise Quarantined(reason)
        chain = await joined(rows)
        check(room, chain, _position(rows[0], "end"))
        return chain

    async def store(self, room: RoomId, segment: Segment) -> bool:
        async def work(connection: asyncpg.Connection) -> bool:
            async with connection.transaction():
                await connection.execute(_LOCK, room)
                chain = await connection.fetch(_CHAIN, room)
                link = place([Position(*row[:3]) for row in chain], segment)
                if link is None or segment.upto.epoch <= (await connection.fetchval(_DELETED, room) or 0):
                    return False
                size = sum(row["size"] for row in chain[:link]) + len(segment.state)
                after = segment.after or (None, None, None)
                whole = segment.state if len(segment.state) <= PIECE else None
                if whole is None:
                    # not by executemany: cancelled in the midst of one, asyncpg waits for an answer that never comes
                    for number, piece in enumerate(cut(segment.state)):
                        await connection.execute(_BRING, room, number, piece)
                await connection.execute(_STORE, room, link, *after, *segment.upto, whole, segment.clocks, size)
                if whole is None:
                    await connection.execute(_BROUGHT, room)
            return True

        return await self._primary.run(work)

    async def archive(self, room: RoomId, entries: Sequence[Entry]) -> None:
        wanted = {entry.position: entry for entry in entries}
        if not wanted:
            return
        blocks = await _pack(wanted)

        async def work(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                await connection.execute(_LOCK, room)
                if max(wanted).epoch <= (await connection.fetchval(_DELETED, room) or 0):
                    return
                span = (*min(wanted), *max(wanted))
                rows = await connection.fetch(_OVERLAPPING, room, *span)
                if not rows:
                    await _insert(connection, room, blocks)
                    return
                # A crash between archiving and trimming: write the blocks it left again, with what they lack.
                kept = {entry.position: entry for row in rows for entry in unpack(row["block"])}
                if wanted.keys() <= kept.keys():
                    return
                await connection.execute(_DROP_OVERLAPPING, room, *span)
                await _insert(connection, room, await _pack(wanted | kept))

        await self._primary.run(work)

    async def history(self, room: RoomId, after: Position | None, limit: int = 1000) -> list[Entry]:
        start = after or Position(-1, 0, 0)
        rows = await self._primary.run(
            lambda connection: connection.fetch(_HISTORY, room, *start, max(limit, 1)), bulk=True
        )
        return await asyncio.to_thread(
            lambda: [entry for row in rows for entry in unpack(row["block"]) if entry.position > start]
        )

    async def quarantine(self, room: RoomId, reason: str) -> None:
        await self._primary.run(lambda connection: connection.execute(_QUARANTINE, room, reason))

    async def release(self, room: RoomId) -> bool:
        async def work(connection: asyncpg.Connection) -> bool:
            async with connection.transaction():
                await connection.execute(_LOCK, room)
                done = (await connection.execute(_FORGET, room), await connection.execute(_RELEASE, room))
            return done != ("DELETE 0", "UPDATE 0")

        return await self._primary.run(work, repeatable=False)

    async def info(self, room: RoomId) -> RoomInfo | None:
        row = await self._primary.run(lambda connection: connection.fetchrow(_INFO, room))
        return _info(row) if row else None

    async def list(self, prefix: str = "", after: RoomId | None = None, limit: int = 100) -> list[RoomInfo]:
        # No name contains U+0001, so nothing lies between `after` and `after` U+0001; and none is as long as _beyond.
        start = prefix if after is None else max(prefix, after + "\x01")
        rows = await self._primary.run(lambda connection: connection.fetch(_LIST, start, _beyond(prefix), limit))
        return [_info(row) for row in rows]

    async def delete(self, room: RoomId, epoch: int = 0) -> bool:
        async def work(connection: asyncpg.Connection) -> bool:
            async with connection.transaction():
                await connection.execute(_LOCK, room)
                if epoch:
                    await connection.execute(_BURY, room, epoch)
                return bool(await connection.fetchval(_DELETE, room))

        return await self._primary.run(work, repeatable=False)

    async def deleted(self, room: RoomId) -> int:
        return await self._primary.run(lambda connection: connection.fetchval(_DELETED, room)) or 0

    async def ping(self) -> None:
        await self._primary.run(lambda connection: connection.fetchval("SELECT 1"))

    async def tend(self, retention: float = 0.0) -> Tended:
        """Make the archive's next months, drop those that ended `retention` seconds ago (0: none). Raises Unavailable;
        an asyncpg error when the user may not."""
        return await self._primary.run(lambda connection: tend(connection, datetime.now(UTC), retention))

    async def keep_tending(self, retention: float, every: float = 3600.0) -> None:
        """`tend` now and then, until cancelled."""
        while True:
            try:
                await self.tend(retention)
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("archive not tended, will try again", extra={"error": str(error)})
            await asyncio.sleep(every)

    async def close(self) -> None:
        closing = [self._primary.close()]
        if self._replica is not None:
            closing.append(self._replica.close())
        await asyncio.gather(*closing)


async def _prepare(url: str, limits: Limits, application_name: str) -> None:
    try:
        connection = await connect(url, limits, application_name)
        try:
            version = connection.get_server_version()
            if version < _OLDEST:
                raise StartError(f"PostgreSQL {version.major} is too old: the relay needs {_OLDEST[0]} or later")
            await migrate(connection, migrations())
        finally:
            await connection.close()
    except asyncpg.InvalidCatalogNameError as error:
        raise StartError(f"{error}: create it (createdb) or name another one in the database URL") from error
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InsufficientPrivilegeError,
        asyncpg.ClientConfigurationError,
    ) as error:
        raise StartError(f"PostgreSQL refuses the database URL's user or its rights: {error}") from error
    except ValueError as error:
        raise StartError(f"the database URL is not a PostgreSQL one: {error}") from error
    except AWAY as error:
        raise unavailable(error) from error


async def _pack(entries: dict[Position, Entry]) -> list[Block]:
    ordered = [entries[position] for position in sorted(entries)]
    if sum(len(edit.update) for entry in ordered for edit in entry.edits) < _IN_THREAD:
        return pack(ordered)
    return await asyncio.to_thread(pack, ordered)


async def _insert(connection: asyncpg.Connection, room: RoomId, blocks: Sequence[Block]) -> None:
    for block in blocks:
        await connection.execute(_ARCHIVE, room, *block.first, *block.last, block.entries, block.data)


def _position(row: asyncpg.Record, name: str) -> Position | None:
    epoch = row[f"{name}_epoch"]
    return None if epoch is None else Position(epoch, row[f"{name}_ms"], row[f"{name}_seq"])


def _info(row: asyncpg.Record) -> RoomInfo:
    upto = _position(row, "upto") or Position(0, 0, 0)
    return RoomInfo(RoomId(row["room"]), row["size"], row["segments"], upto, row["written"], row["quarantined"])


def _beyond(prefix: str) -> str:
    """A string that sorts, by code points, after every room name with this prefix and before any other greater one."""
    return prefix + "\U0010ffff" * 129
