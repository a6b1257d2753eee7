"""Connections to PostgreSQL: every wait ends, what may be repeated is, and storms leave room for the rest."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from fakes import until
from transaction_pooler import TransactionPooler

from relay.errors import Unavailable
from relay.journal import Entry
from relay.snapshot import Segment
from relay.snapshot import database as module
from relay.snapshot.database import Database, Limits
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId


@pytest.fixture
async def database(postgres: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(module, "BACKOFF", 0.0)
    opened = await Database.open(postgres, Limits(pool=4, acquire=10, statement=20, lock=0.2), "test")
    yield opened
    await opened.close()


class Failing:
    """Work that fails with each of `errors` in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self, connection: Any) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        found: int = await connection.fetchval("SELECT 1")
        return found


async def test_every_connection_has_its_limits(database: Database) -> None:
    """Statements, locks and idle transactions end by themselves, on the server."""
    for name, value in (
        ("statement_timeout", "20s"),
        ("lock_timeout", "200ms"),
        ("idle_in_transaction_session_timeout", "20s"),
        ("application_name", "test"),
    ):
        assert await database.run(lambda c, name=name: c.fetchval(f"SHOW {name}")) == value


async def test_lock_timeout(database: Database) -> None:
    """Who waits too long for a lock is told so."""

    async def hold(connection: Any) -> None:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(77)")
            with pytest.raises(Unavailable, match="lock timeout"):
                await database.run(lambda c: c.execute("SELECT pg_advisory_lock(77)"))

    await database.run(hold)


@pytest.mark.parametrize("error", [asyncpg.DeadlockDetectedError("x"), asyncpg.SerializationError("x")], ids=repr)
async def test_rolled_back_work_is_done_again(database: Database, error: Exception) -> None:
    """What the server undid is tried again, whatever it was; not for ever."""
    work = Failing(error, error)
    assert await database.run(work, repeatable=False) == 1
    assert work.calls == 3
    work = Failing(*[error] * 9)
    with pytest.raises(Unavailable):
        await database.run(work)
    assert work.calls == module.TRIES


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.ConnectionDoesNotExistError("x"),
        ConnectionResetError("x"),
    ],
    ids=repr,
)
async def test_unknown_outcome_is_done_again_only_where_it_does_no_harm(database: Database, error: Exception) -> None:
    """A connection that broke may have done its work: only what may be done twice is."""
    assert await database.run(Failing(error, error)) == 1
    work = Failing(error)
    with pytest.raises(Unavailable):
        await database.run(work, repeatable=False)
    assert work.calls == 1
    assert await database.run(Failing(), repeatable=False) == 1


@pytest.mark.parametrize("error", [TimeoutError("x"), asyncpg.QueryCanceledError("x")], ids=repr)
async def test_timeout_is_not_repeated(database: Database, error: Exception) -> None:
    """Who has waited its time is told, and does not wait again."""
    work = Failing(error)
    with pytest.raises(Unavailable):
        await database.run(work)
    assert work.calls == 1


async def test_mistake_is_neither_repeated_nor_an_outage(database: Database) -> None:
    """An error in what was asked stays what it is."""
    work = Failing(asyncpg.UndefinedTableError("x"))
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.run(work)
    assert work.calls == 1


async def test_fail_over(postgres_server: Any) -> None:
    """Connections that lead to what is now a replica are given up, and a write finds the primary in the next one."""
    url = postgres_server.create_database()
    admin = await asyncpg.connect(url)
    await admin.execute("CREATE TABLE t (n integer)")
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database = await Database.open(url, Limits(pool=3), "test", eager=3)
    await admin.execute("SET default_transaction_read_only = off")
    await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await database.run(lambda c: c.execute("INSERT INTO t VALUES (1)"), repeatable=False)
    await asyncio.gather(*(database.run(lambda c: c.execute("INSERT INTO t VALUES (1)")) for _ in range(3)))
    assert await admin.fetchval("SELECT count(*) FROM t") == 4
    await database.close()
    await admin.close()


async def test_storm_of_loads_leaves_room(postgres: str) -> None:
    """However many loads there are, a quarter of the connections is for the rest; who waits too long is told so."""
    database = await Database.open(postgres, Limits(pool=4, acquire=0.5), "test", eager=4)
    going, release = asyncio.Semaphore(0), asyncio.Event()

    async def load(connection: Any) -> None:
        going.release()
        await release.wait()

    loads = [asyncio.ensure_future(database.run(load, bulk=True)) for _ in range(20)]  # noqa: TID251
    for _ in range(3):
        await going.acquire()
    await asyncio.sleep(0)
    assert database.waiting == 17
    for _ in range(5):
        assert await database.run(lambda c: c.fetchval("SELECT 1")) == 1
    await until(lambda: database.waiting == 0)
    release.set()
    done = await asyncio.gather(*loads, return_exceptions=True)
    refused = [answer for answer in done if answer is not None]
    assert len(refused) == 17
    assert all(isinstance(answer, Unavailable) and "no connection within 0.5 s" in str(answer) for answer in refused)
    assert await database.run(lambda c: c.fetchval("SELECT 1"), bulk=True) == 1
    await database.close()


async def test_cancelled_work_gives_its_connection_back(database: Database) -> None:
    """A call that is given up leaves nothing running and nothing taken."""
    for _ in range(6):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await database.run(lambda c: c.execute("SELECT pg_sleep(30)"), bulk=True)
    assert (
        await asyncio.gather(*(database.run(lambda c: c.fetchval("SELECT 1"), bulk=True) for _ in range(4))) == [1] * 4
    )


async def test_behind_a_transaction_pooler(postgres_server: Any) -> None:
    """Behind a pooler that changes the server after every transaction the whole store works, limits included."""
    room = RoomId("pooled")
    async with TransactionPooler(postgres_server.directory) as pooler:
        url = postgres_server.create_database().replace(str(postgres_server.directory), str(pooler.directory))
        store = await PostgresSnapshotStore.connect(url, limits=Limits(pool=2, lock=0.3, pooler=True))
        for end in range(1, 8):
            after = Position(1, end - 1, 0) if end > 1 else None
            assert await store.store(room, Segment(after, Position(1, end, 0), b"s", b"c"))
        entries = [Entry(Position(1, n, 0), NodeId("n"), (Edit(Actor("ann"), b"u"),)) for n in range(1, 8)]
        await store.archive(room, entries)
        assert await store.history(room, None) == entries
        await store.quarantine(room, "x")
        assert await store.release(room)
        assert len(await store.load(room)) == 7
        assert [info.room for info in await store.list()] == [room]
        await store.tend(0)
        admin = await asyncpg.connect(postgres_server.url(url.split("/")[3].split("?")[0]))
        async with admin.transaction():
            await admin.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", room)
            with pytest.raises(Unavailable, match="lock timeout"):
                await store.store(room, Segment(Position(1, 7, 0), Position(1, 9, 0), b"s", b"c"))
        await admin.close()
        assert await store.delete(room)
        await store.close()
        assert pooler.changes >= 15
