"""The archive's months: made ahead, whoever is first; dropped whole; rows in time find theirs, early ones are moved."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from fakes import until

from relay.journal import Entry
from relay.snapshot.partitions import tend
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId

ROOM = RoomId("room")
DAY = 86400.0


@pytest.fixture
def url(postgres_server: Any) -> str:
    made: str = postgres_server.create_database()
    return made


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresSnapshotStore]:
    opened = await PostgresSnapshotStore.connect(url)
    yield opened
    await opened.close()


@pytest.fixture
async def connection(store: PostgresSnapshotStore, url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(url)
    yield opened
    await opened.close()


def month(ahead: int) -> datetime:
    """The beginning of a month from now."""
    now = datetime.now(UTC)
    number = now.year * 12 + now.month - 1 + ahead
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def entry(when: datetime, seq: int = 0) -> Entry:
    return Entry(Position(1, int(when.timestamp()) * 1000, seq), NodeId("n"), (Edit(Actor("ann"), b"update"),))


async def partitions(connection: asyncpg.Connection) -> dict[str, int]:
    """Every partition and its rows."""
    names = await connection.fetch("SELECT relid::text AS name FROM pg_partition_tree('relay.archive') WHERE isleaf")
    return {
        row["name"].removeprefix("relay.archive_"): await connection.fetchval(f"SELECT count(*) FROM {row['name']}")
        for row in names
    }


async def test_months_are_made_ahead(store: PostgresSnapshotStore, connection: asyncpg.Connection) -> None:
    """Two months ahead there is a place of its own for each; asked again, nothing is made. Every row is in its month,
    and the history goes over all of them."""
    before = f"before_{month(1):%Y_%m}"
    assert await partitions(connection) == {before: 0, "default": 0}
    assert (await store.tend()).made == [f"archive_{month(1):%Y_%m}", f"archive_{month(2):%Y_%m}"]
    assert await store.tend() == ([], [])
    entries = [entry(month(ahead), seq) for ahead in (-30, 0, 1, 2, 5) for seq in range(2)]
    for at in range(0, len(entries), 2):
        await store.archive(ROOM, entries[at : at + 2])
    await store.archive(ROOM, entries[4:7])  # a crash between archiving and trimming, over the end of a month
    assert await store.history(ROOM, None) == entries
    rows = {before: 2, f"{month(1):%Y_%m}": 1, f"{month(2):%Y_%m}": 1, "default": 1}
    assert await partitions(connection) == rows
    assert await store.delete(ROOM)
    assert sum((await partitions(connection)).values()) == 0


async def test_early_rows_move_to_their_month(store: PostgresSnapshotStore, connection: asyncpg.Connection) -> None:
    """What had no month when it came is in the right one once that is made, and in the history all the time."""
    entries = [entry(month(ahead)) for ahead in (1, 2, 3, 40)]
    for one in entries:
        await store.archive(ROOM, [one])
    assert (await partitions(connection))["default"] == 4
    await store.tend()
    assert (await partitions(connection))["default"] == 2
    assert await store.history(ROOM, None) == entries
    storage = "SELECT attstorage::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = 'block'"
    assert await connection.fetchval(storage, f"relay.archive_{month(1):%Y_%m}") == "e"


async def test_old_months_are_dropped(store: PostgresSnapshotStore, connection: asyncpg.Connection) -> None:
    """A month goes when all of it is older than what is kept; 0 keeps everything."""
    await store.tend()
    entries = [entry(month(ahead)) for ahead in (0, 1, 2)]
    for one in entries:
        await store.archive(ROOM, [one])
    assert (await tend(connection, month(30), 0)).dropped == []
    assert await store.history(ROOM, None) == entries
    kept = (month(4) - month(2)).total_seconds()  # as of the fourth month, the second is the first to stay
    assert (await tend(connection, month(4), kept)).dropped == [
        f"archive_{month(1):%Y_%m}", f"archive_before_{month(1):%Y_%m}",
    ]  # fmt: skip
    assert await store.history(ROOM, None) == entries[2:]
    assert (await tend(connection, month(4), kept)).dropped == []
    await store.archive(ROOM, entries)  # whoever still has them finds a place
    assert await store.history(ROOM, None) == entries


async def test_tending_at_once(store: PostgresSnapshotStore, connection: asyncpg.Connection) -> None:
    """Any number of relays tend, while others write: each month is made once, and nothing is lost."""
    entries = [entry(month(1), seq) for seq in range(60)]

    async def write() -> None:
        for one in entries:
            await store.archive(ROOM, [one])

    *done, _ = await asyncio.gather(*(store.tend() for _ in range(6)), write())
    assert sorted(name for one in done for name in one.made) == [f"archive_{month(n):%Y_%m}" for n in (1, 2)]
    assert await store.history(ROOM, None) == entries
    assert await partitions(connection) | {"default": 0} == await partitions(connection)


async def test_busy_archive_is_not_held_up(store: PostgresSnapshotStore, connection: asyncpg.Connection) -> None:
    """Tending that can't have the table gives up soon, so that nobody queues behind it; later it is done."""
    async with connection.transaction():
        await connection.execute("SELECT * FROM relay.archive")
        async with asyncio.timeout(10):
            with pytest.raises(Exception, match="lock timeout"):
                await store.tend()
    assert len((await store.tend()).made) == 2


async def test_tending_without_rights(
    store: PostgresSnapshotStore, connection: asyncpg.Connection, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A user who may not make tables costs a warning now and then; entries are kept in the default partition."""
    await connection.execute(
        """
        DROP ROLE IF EXISTS writer; CREATE ROLE writer LOGIN; GRANT USAGE ON SCHEMA relay TO writer;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA relay TO writer
        """
    )
    narrow = await PostgresSnapshotStore.connect(url.replace("app@", "writer@"))

    def warnings() -> int:
        return sum(record.message.startswith("archive not tended") for record in caplog.records)

    tending = asyncio.ensure_future(narrow.keep_tending(0, every=0.1))  # noqa: TID251
    await until(lambda: warnings() > 1)
    tending.cancel()
    await asyncio.wait([tending])
    await narrow.archive(ROOM, [entry(month(1))])
    assert (await partitions(connection))["default"] == 1
    assert await narrow.history(ROOM, None) == [entry(month(1))]
    await narrow.close()
    await connection.execute("DROP OWNED BY writer; DROP ROLE writer")
