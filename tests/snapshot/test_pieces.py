"""Long states travel in pieces: nothing that comes or goes at once is longer than one, and what is put together is
what was cut."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from relay.errors import Quarantined
from relay.snapshot import Segment
from relay.snapshot.pieces import COLUMNS, PIECE, PIECES, cut
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Position, RoomId

SIZES = (0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 5)


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


def link(number: int, size: int) -> Segment:
    after = Position(1, number, 0) if number else None
    state = random.Random(number).randbytes(size)
    return Segment(after, Position(1, number + 1, 0), state, b"%d" % number)


@pytest.mark.parametrize("size", SIZES)
def test_cut(size: int) -> None:
    """The pieces of a state, one after the other, are the state."""
    state = random.Random(size).randbytes(size)
    pieces = list(cut(state))
    assert b"".join(pieces) == state
    assert all(0 < len(piece) <= PIECE for piece in pieces)


async def test_chain_of_long_and_short(store: PostgresSnapshotStore, connection: asyncpg.Connection) -> None:
    """A chain of segments around the length of a piece comes back as it was, in rows of a piece at most."""
    room = RoomId(f"room-{uuid.uuid4()}")
    links = [link(number, size) for number, size in enumerate(SIZES)]
    for segment in links:
        assert await store.store(room, segment)
    assert await store.load(room) == links
    rows = await connection.fetch(f"SELECT {COLUMNS} FROM relay.room r, {PIECES} WHERE r.room = $1", room, False)
    assert len(rows) == 1 + 1 + 1 + 1 + 2 + 2 + 4
    assert max(len(row["piece"]) for row in rows) == PIECE
    assert sum(row["clocks"] is not None for row in rows) == len(SIZES)


async def test_quarantined_sends_nothing(store: PostgresSnapshotStore, connection: asyncpg.Connection) -> None:
    """Of a room set aside no piece is sent, unless it is wanted even so."""
    room = RoomId(f"room-{uuid.uuid4()}")
    assert await store.store(room, link(0, 2 * PIECE))
    await store.quarantine(room, "why")
    statement = f"SELECT {COLUMNS} FROM relay.room r, {PIECES} WHERE r.room = $1"
    assert await connection.fetch(statement, room, False) == []
    with pytest.raises(Quarantined):
        await store.load(room)
    assert await store.load(room, even_quarantined=True) == [link(0, 2 * PIECE)]


async def test_nothing_is_left(store: PostgresSnapshotStore, connection: asyncpg.Connection) -> None:
    """Pieces are gone with the store that brought them, be it done or broken off; the state is all of it or none."""
    room = RoomId(f"room-{uuid.uuid4()}")
    long = link(0, 8 * PIECE)
    for pause in (0.0, 0.001, 0.005, 0.01, 0.02, 0.04):
        storing = asyncio.get_running_loop().create_task(store.store(room, long))
        await asyncio.sleep(pause)
        storing.cancel()
        await asyncio.wait([storing])
        assert await store.load(room) in ([], [long])
    assert await store.store(room, long)
    assert await store.load(room) == [long]
    assert await connection.fetchval("SELECT count(*) FROM relay.piece") == 0
