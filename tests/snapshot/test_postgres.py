"""What the PostgreSQL store adds to the contract: outages, limits, plans, and the tables' size."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from fakes import until

from relay.errors import Quarantined, StartError, Unavailable
from relay.journal import Entry
from relay.snapshot import Segment
from relay.snapshot.database import Limits
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId


@pytest.fixture
async def store(postgres: str) -> AsyncIterator[PostgresSnapshotStore]:
    opened = await PostgresSnapshotStore.connect(postgres)
    yield opened
    await opened.close()


@pytest.fixture
async def connection(postgres: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(postgres)
    yield opened
    await opened.close()


@pytest.fixture
def room() -> RoomId:
    return RoomId(f"room-{uuid.uuid4()}")


def link(after: int | None, upto: int, state: bytes = b"state") -> Segment:
    return Segment(None if after is None else Position(1, after, 0), Position(1, upto, 0), state, b"clocks")


async def held_up(connection: asyncpg.Connection) -> None:
    """Until somebody waits for a lock."""
    async with asyncio.timeout(10):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)


async def alone(connection: asyncpg.Connection) -> None:
    """Until the others' sessions have ended, and have said what they read: they do so after they are closed."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = $1"
    async with asyncio.timeout(10):
        while await connection.fetchval(others, "client backend") > 1:
            await asyncio.sleep(0.01)


def entries(first: int, last: int, size: int = 10) -> list[Entry]:
    edit = Edit(Actor("ann"), random.Random(first).randbytes(size))
    return [Entry(Position(1, number, 0), NodeId("n"), (edit,)) for number in range(first, last)]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM relay.segment WHERE room = $1 AND link = 0",
        "DELETE FROM relay.segment WHERE room = $1 AND link = 1",
        "DELETE FROM relay.segment WHERE room = $1 AND link = 2",
        "DELETE FROM relay.segment WHERE room = $1",
        "UPDATE relay.segment SET after_ms = 9 WHERE room = $1 AND link = 1",
        "UPDATE relay.room SET upto_ms = 40 WHERE room = $1",
    ],
)
async def test_load_broken_chain(
    store: PostgresSnapshotStore, connection: asyncpg.Connection, room: RoomId, damage: str
) -> None:
    """A chain that lost a link is an error that names the room, never half a document or a blank one."""
    for segment in (link(None, 10), link(10, 20), link(20, 30)):
        assert await store.store(room, segment)
    await connection.execute(damage, room)
    with pytest.raises(Quarantined, match=room):
        await store.load(room)


async def test_load_while_stored(store: PostgresSnapshotStore, room: RoomId) -> None:
    """A reader sees a chain before or after a store, never between."""
    await store.store(room, link(None, 1))
    ended = asyncio.Event()

    async def write() -> None:
        for end in range(2, 150):
            await store.store(room, link(None if end % 5 == 0 else end - 1, end, b"x" * 5000))
        ended.set()

    async def read() -> int:
        loads = 0
        while not ended.is_set():
            chain = await store.load(room)
            assert chain[0].after is None
            loads += 1
        return loads

    _, *loads = await asyncio.gather(write(), read(), read(), read())
    assert min(loads) > 10


async def test_archive_rewrites_only_what_overlaps(
    store: PostgresSnapshotStore, connection: asyncpg.Connection, room: RoomId
) -> None:
    """Archiving again after a crash touches the blocks that it overlaps, and none when it adds nothing."""
    for start in (0, 10, 20):
        await store.archive(room, entries(start, start + 10))
    query = "SELECT ctid::text FROM relay.archive WHERE room = $1 ORDER BY last_ms"
    before = await connection.fetch(query, room)
    await store.archive(room, entries(15, 30))
    assert await connection.fetch(query, room) == before
    await store.archive(room, entries(25, 40))
    after = await connection.fetch(query, room)
    assert len(after) == 3
    assert after[:2] == before[:2]
    assert [entry.position.ms for entry in await store.history(room, None)] == list(range(40))


async def test_archive_of_big_entries_pages_by_bytes(store: PostgresSnapshotStore, room: RoomId) -> None:
    """A page of history is bounded in bytes too, and a big block is packed without blocking the loop."""
    big = [entry for first in range(30) for entry in entries(first, first + 1, 1 << 20)]
    await store.archive(room, big)
    page = await store.history(room, None)
    assert 16 <= len(page) <= 17
    assert page + await store.history(room, page[-1].position) == big


async def test_connection_is_labelled(postgres: str, connection: asyncpg.Connection) -> None:
    """An operator finds the relay's connections by name."""
    store = await PostgresSnapshotStore.connect(postgres, application_name="relay node-7")
    await asyncio.gather(store.ping(), store.ping())
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'relay node-7'"
    assert await connection.fetchval(query) == 2
    await store.close()


async def test_statement_timeout(postgres: str, connection: asyncpg.Connection, room: RoomId) -> None:
    """A statement that takes too long is Unavailable, and the store goes on working."""
    store = await PostgresSnapshotStore.connect(postgres, limits=Limits(statement=0.2))
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", room)
        with pytest.raises(Unavailable, match="statement timeout"):
            await store.store(room, link(None, 10))
    assert await store.store(room, link(None, 10))
    await store.close()


async def test_least_privilege_and_too_many_connections(postgres: str, connection: asyncpg.Connection) -> None:
    """A role with rights on the tables alone can run the relay; its connection limit is Unavailable, not a crash."""
    store = await PostgresSnapshotStore.connect(postgres)
    await store.close()
    await connection.execute(
        """
        CREATE ROLE narrow LOGIN CONNECTION LIMIT 1;
        GRANT USAGE ON SCHEMA relay TO narrow;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA relay TO narrow;
        """
    )
    narrow = await PostgresSnapshotStore.connect(postgres.replace("app@", "narrow@"), limits=Limits(pool=4))
    names = [RoomId(f"narrow-{number}") for number in range(4)]
    done = await asyncio.gather(*(narrow.store(name, link(None, 1)) for name in names), return_exceptions=True)
    assert True in done
    refused = [answer for answer in done if answer is not True]
    assert refused
    assert all(isinstance(answer, Unavailable) for answer in refused)
    assert await narrow.store(names[-1], link(None, 1))
    await narrow.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [(("@/t", "@/nowhere-t"), "createdb"), (("app@", "nobody@"), "nobody"), (("postgresql:", "mysql:"), "URL")],
)
async def test_connect_refused(postgres: str, change: tuple[str, str], message: str) -> None:
    """A wrong URL stops the start with a message that tells what to change."""
    with pytest.raises(StartError, match=message):
        await PostgresSnapshotStore.connect(postgres.replace(*change))


async def test_connect_without_the_right_to_migrate(postgres_server) -> None:  # type: ignore[no-untyped-def]
    """A role that may not create the schema is told so."""
    url = postgres_server.create_database()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE ROLE reader LOGIN")
    await connection.close()
    with pytest.raises(StartError, match="permission denied"):
        await PostgresSnapshotStore.connect(url.replace("app@", "reader@"))


async def test_connect_to_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A server that is not there is Unavailable: it may come."""
    with pytest.raises(Unavailable):
        await PostgresSnapshotStore.connect(f"postgresql://app@/relay?host={tmp_path}&port=5432")


async def test_bad_argument_is_not_an_outage(store: PostgresSnapshotStore, room: RoomId) -> None:
    """A position that no column holds is a caller's mistake and says so."""
    with pytest.raises(asyncpg.DataError):
        await store.store(room, Segment(None, Position(1, 2**63, 0), b"", b""))


async def test_connection_terminated_is_retried(
    store: PostgresSnapshotStore, connection: asyncpg.Connection, room: RoomId
) -> None:
    """A connection that the server ends under a call costs nobody anything."""
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'relay'"
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", room)
        waiting = asyncio.gather(store.store(room, link(None, 10)))
        await held_up(connection)
        assert len(await connection.fetch(kill)) >= 1
    assert await waiting == [True]
    assert await store.load(room) == [link(None, 10)]


async def test_close_lets_calls_finish(postgres: str, connection: asyncpg.Connection, room: RoomId) -> None:
    """What was begun before `close` is done; what comes after is Unavailable."""
    store = await PostgresSnapshotStore.connect(postgres)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", room)
        storing = asyncio.gather(store.store(room, link(None, 10)))
        await held_up(connection)
        closing = asyncio.gather(store.close())
        await asyncio.sleep(0.05)
    assert await storing == [True]
    await closing
    with pytest.raises(Unavailable):
        await store.load(room)


async def test_outage(own_postgres) -> None:  # type: ignore[no-untyped-def]
    """The server killed in the middle of writes: Unavailable until it is back, then the same store goes on with
    everything that was acknowledged."""
    store = await PostgresSnapshotStore.connect(own_postgres.create_database(), limits=Limits(acquire=2))
    saved: dict[RoomId, list[Segment]] = {}

    async def write(room: RoomId) -> None:
        saved[room] = []
        while True:
            end = len(saved[room]) + 1
            segment = link(end - 1 or None, end, random.randbytes(10_000))
            assert await store.store(room, segment)
            saved[room].append(segment)

    writers = asyncio.gather(*(write(RoomId(f"room-{number}")) for number in range(6)), return_exceptions=True)
    await until(lambda: len(saved) == 6 and all(saved.values()))
    own_postgres.kill()
    assert [type(outcome) for outcome in await writers] == [Unavailable] * 6
    room = RoomId("room-0")
    for call in (
        store.load(room),
        store.store(room, link(None, 1)),
        store.archive(room, entries(0, 1)),
        store.history(room, None),
        store.quarantine(room, "x"),
        store.release(room),
        store.info(room),
        store.list(),
        store.delete(room),
        store.ping(),
    ):
        with pytest.raises(Unavailable):
            await call
    own_postgres.start()
    for room, chain in saved.items():
        loaded = await store.load(room)
        assert loaded[: len(chain)] == chain
        assert len(chain) <= len(loaded) <= len(chain) + 1  # the last one may be there without its answer
        assert chain
    await store.close()


@pytest.mark.parametrize("mode", ["auto", "force_generic_plan"])
async def test_queries_use_indexes(postgres_server, mode: str) -> None:  # type: ignore[no-untyped-def]
    """No call of the store reads a whole table, whichever plan the server chooses."""
    url = postgres_server.create_database()
    store = await PostgresSnapshotStore.connect(url)
    await store.close()
    connection = await asyncpg.connect(url)
    await connection.execute(
        f"""
        INSERT INTO relay.room (room, segments, upto_epoch, upto_ms, upto_seq, size)
            SELECT 'doc/' || n, 2, 1, 20, 0, 10 FROM generate_series(1, 5000) n;
        INSERT INTO relay.segment
            SELECT 'doc/' || n, l, CASE l WHEN 1 THEN 1 END, CASE l WHEN 1 THEN 10 END, CASE l WHEN 1 THEN 0 END,
                   1, 10 + 10 * l, 0, 'state', '' FROM generate_series(1, 5000) n, generate_series(0, 1) l;
        INSERT INTO relay.archive
            SELECT 'doc/' || n, 1, 10 * b, 0, 1, 10 * b + 5, 0, 6, '\\x00' FROM generate_series(1, 50) n,
            generate_series(1, 200) b;
        ANALYZE relay.room, relay.segment, relay.archive;
        ALTER DATABASE {url.split("/")[3].split("?")[0]} SET plan_cache_mode = {mode};
        """
    )
    scans = """
        SELECT relname, seq_scan FROM pg_stat_user_tables
        WHERE relname NOT IN ('migration', 'archive_default') ORDER BY relname
    """
    await alone(connection)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    before = await connection.fetch(scans)
    store = await PostgresSnapshotStore.connect(url)
    for number in range(20, 28):  # past the fifth execution, when the server may turn to a generic plan
        room = RoomId(f"doc/{number}")
        chain = await store.load(room)
        assert len(chain) == 2
        assert await store.store(room, Segment(Position(1, 20, 0), Position(1, 30, 0), b"more", b""))
        assert await store.store(room, Segment(None, Position(1, 40, 0), b"all", b""))
        await store.archive(room, entries(5000, 5010))
        await store.archive(room, entries(5000, 5020))
        assert len(await store.history(room, Position(1, 4000, 0))) == 20
        await store.quarantine(room, "x")
        assert await store.release(room)
        assert await store.info(room)
        assert len(await store.list("doc/4", room, 50)) == 50
        assert await store.delete(room)
    await store.close()
    await alone(connection)
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    assert await connection.fetch(scans) == before
    await connection.close()


@pytest.mark.slow
async def test_rewrites_do_not_bloat(own_postgres) -> None:  # type: ignore[no-untyped-def]
    """A thousand rewrites of a document of 1 MB leave tables of a bounded size, not all that was ever written.

    On a server of its own: the suite's has a database for each test, and autovacuum goes from one to the next.
    """
    url = own_postgres.create_database()
    store = await PostgresSnapshotStore.connect(url)
    connection = await asyncpg.connect(url)
    words = [random.Random(number).randbytes(3).hex().encode() for number in range(2000)]
    text = b" ".join(random.Random(4).choices(words, k=160_000))[: 1 << 20]
    assert len(text) == 1 << 20
    largest = 0
    for end in range(1, 1001):
        assert await store.store(RoomId("rewritten"), link(None, end, text[end:] + text[:end]))
        if end % 20 == 0:
            size = await connection.fetchval("SELECT pg_total_relation_size('relay.segment')")
            largest = max(largest, size)
    assert largest < 120 << 20, largest
    await connection.close()
    await store.close()
