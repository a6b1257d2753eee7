"""The schema's migrations, on a real server."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from relay.errors import Quarantined, StartError
from relay.journal import Entry
from relay.snapshot import Segment
from relay.snapshot.archive import pack
from relay.snapshot.migrate import Migration, migrate, migrations
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId

TWO = [
    Migration(1, "first", "CREATE TABLE relay.a (n integer); INSERT INTO relay.a VALUES (1)"),
    Migration(2, "second", "SELECT pg_sleep(0.1); ALTER TABLE relay.a ADD COLUMN b text"),
]


@pytest.fixture
def url(postgres_server) -> str:  # type: ignore[no-untyped-def]
    return postgres_server.create_database()


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(url)
    yield opened
    await opened.close()


def test_migrations_are_numbered() -> None:
    """The files are numbered from 1 without gaps, which is what `migrate` counts on."""
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


async def test_migrate_fresh_then_again(connection: asyncpg.Connection) -> None:
    """An empty database gets every migration, once."""
    assert await migrate(connection, TWO) == 2
    assert await migrate(connection, TWO) == 0
    assert await connection.fetchval("SELECT count(*) FROM relay.a") == 1
    rows = await connection.fetch("SELECT version, name, checksum FROM relay.migration ORDER BY version")
    assert [tuple(row) for row in rows] == [(step.version, step.name, step.checksum) for step in TWO]


async def test_migrate_only_what_is_lacking(connection: asyncpg.Connection) -> None:
    """A database of an older version gets the later migrations only."""
    assert await migrate(connection, TWO[:1]) == 1
    assert await migrate(connection, TWO) == 1
    assert await connection.fetch("SELECT n, b FROM relay.a") == [(1, None)]


async def test_migrate_failing_leaves_no_trace(connection: asyncpg.Connection) -> None:
    """A migration that fails is rolled back whole and tried again at the next start."""
    broken = Migration(2, "second", "CREATE TABLE relay.half (); SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, [TWO[0], broken])
    assert await connection.fetchval("SELECT to_regclass('relay.half')") is None
    assert await migrate(connection, TWO) == 1


async def test_migrate_outlasts_the_statement_timeout(connection: asyncpg.Connection) -> None:
    """A migration may take longer than the statements of a running relay."""
    await connection.execute("SET statement_timeout = 90")
    assert await migrate(connection, TWO) == 2


async def test_migrate_at_once(url: str) -> None:
    """Connections that migrate at the same time apply each migration once between them."""
    connections = [await asyncpg.connect(url) for _ in range(5)]
    try:
        assert sum(await asyncio.gather(*(migrate(connection, TWO) for connection in connections))) == 2
        assert await connections[0].fetchval("SELECT count(*) FROM relay.a") == 1
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))


async def test_processes_started_at_once(url: str, connection: asyncpg.Connection) -> None:
    """Processes that start on an empty database at the same time all come up."""
    code = f"""
import asyncio
from relay.snapshot.postgres import PostgresSnapshotStore

async def main():
    store = await PostgresSnapshotStore.connect({url!r})
    await store.close()

asyncio.run(main())
"""
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", code) for _ in range(3)]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    assert await connection.fetchval("SELECT count(*) FROM relay.migration") == len(migrations())


async def test_newer_database_is_refused(url: str, connection: asyncpg.Connection) -> None:
    """A relay older than the database says so instead of starting."""
    await (await PostgresSnapshotStore.connect(url)).close()
    await connection.execute("INSERT INTO relay.migration VALUES (9001, 'future', 'x')")
    with pytest.raises(StartError, match=r"schema version 9001.*newer relay"):
        await PostgresSnapshotStore.connect(url)


async def test_changed_checksum_is_refused(url: str, connection: asyncpg.Connection) -> None:
    """A migration whose text is not what was applied is refused by its name."""
    await migrate(connection, TWO)
    changed = [TWO[0]._replace(sql=TWO[0].sql + " "), TWO[1]]
    with pytest.raises(StartError, match="0001_first"):
        await migrate(connection, changed)
    await connection.execute("DELETE FROM relay.migration WHERE version = 1")
    with pytest.raises(StartError, match="0001_first"):
        await migrate(connection, TWO)


async def test_upgrade_with_data(url: str, connection: asyncpg.Connection) -> None:
    """A database of schema version 2, with rooms, history and tombstones, reads the same after the upgrade, and its
    archive was not copied to get there."""
    await migrate(connection, migrations()[:2])
    now = time.time_ns() // 1_000_000
    ahead = now + 90 * 86_400_000  # by a clock that was wrong
    entries = [
        Entry(Position(1, ms, 0), NodeId("n"), (Edit(Actor("ann"), b"%d" % ms),))
        for ms in (5, now - 10**10, now, ahead)
    ]
    for one in entries:
        (block,) = pack([one])
        await connection.execute(
            "INSERT INTO relay.archive VALUES ('a', $1, $2, $3, $4, $5, $6, $7, $8)",
            *block.first, *block.last, block.entries, block.data,
        )  # fmt: skip
    await connection.execute(
        """
        INSERT INTO relay.room (room, segments, size, upto_epoch, upto_ms, upto_seq, quarantined)
            VALUES ('a', 2, 6, 1, 20, 0, NULL), ('b', 1, 3, 1, 10, 0, 'bad');
        INSERT INTO relay.segment VALUES
            ('a', 0, NULL, NULL, NULL, 1, 10, 0, 'one', 'c'), ('a', 1, 1, 10, 0, 1, 20, 0, 'two', 'd'),
            ('b', 0, NULL, NULL, NULL, 1, 10, 0, 'one', 'c');
        INSERT INTO relay.deleted VALUES ('gone', 7);
        """
    )
    file = await connection.fetchval("SELECT pg_relation_filenode('relay.archive')")
    store = await PostgresSnapshotStore.connect(url)
    try:
        assert [segment.state for segment in await store.load(RoomId("a"))] == [b"one", b"two"]
        with pytest.raises(Quarantined, match="bad"):
            await store.load(RoomId("b"))
        assert await store.deleted(RoomId("gone")) == 7
        assert await store.history(RoomId("a"), None) == entries
        files = "SELECT pg_relation_filenode(relid) FROM pg_partition_tree('relay.archive') WHERE isleaf"
        assert file in [row[0] for row in await connection.fetch(files)]
        await store.archive(RoomId("a"), entries)
        await store.tend()
        assert await store.history(RoomId("a"), None) == entries
        assert await store.store(RoomId("a"), Segment(None, Position(1, now, 0), b"all", b""))
        assert await store.delete(RoomId("a"))
        assert await store.history(RoomId("a"), None) == []
    finally:
        await store.close()
