"""What `relay.journal.Journal` promises, asked of both adapters."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from relay.errors import RelayError, StreamLost, Unavailable
from relay.journal import Journal
from relay.journal.memory import MemoryJournal
from relay.journal.redis import RedisJournal
from relay.types import Actor, Edit, NodeId, Position, RoomId

Append = Callable[..., "asyncio.Future[Position]"]

NAMES = [
    "a",
    "folder/notes",
    "{braces}",
    "}{",
    "}:j:1",
    "%7Bescaped%7D%25",
    "*?[a]\\",
    "日本語 😀",
    "x" * 512,
    "é" * 256,
]


@pytest.fixture(params=["memory", "redis", "cluster"])
async def journal(request: pytest.FixtureRequest) -> AsyncIterator[Journal]:
    if request.param == "memory":
        memory = MemoryJournal(NodeId("n1"))
        yield memory
        await memory.close()
        return
    server = "valkey" if request.param == "redis" else "cluster"
    redis = RedisJournal(request.getfixturevalue(server).url, NodeId("n1"))
    await redis.start()
    yield redis
    await redis.close()


@pytest.fixture
def room() -> RoomId:
    return RoomId(f"room-{uuid.uuid4()}")


@pytest.fixture
def append(journal: Journal) -> Append:
    def append(room: RoomId, epoch: int, *updates: bytes, actor: str = "ann") -> "asyncio.Future[Position]":
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()

        def done(answer: Position | RelayError) -> None:
            if isinstance(answer, RelayError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        journal.append(room, epoch, [Edit(Actor(actor), update) for update in updates], done)
        assert not future.done(), "the callback ran inside append"
        return future

    return append


async def test_an_entry_reads_back_whole(journal: Journal, room: RoomId) -> None:
    """An entry keeps its node, its time, and every edit with its actor, in order, byte for byte."""
    edits = (
        Edit(Actor("ann"), b""),
        Edit(Actor(""), b"\x00\r\n$3\xff" * 7),
        Edit(Actor("ann"), bytes(range(256)) * 300),
        Edit(Actor("ümläut 😀 \ud800"), b"1"),
        Edit(Actor("n"), b"n"),
    )
    opened = await journal.open(room, None)
    assert opened.entries == []
    before = time.time()
    answers: asyncio.Queue[Position | RelayError] = asyncio.Queue()
    journal.append(room, opened.epoch, edits, answers.put_nowait)
    position = await answers.get()
    [entry] = await journal.read(room, None, None)
    assert entry == (position, "n1", edits)
    assert isinstance(position, Position)
    assert position.epoch == opened.epoch
    assert abs(position.ms / 1000 - before) < 5


async def test_appends_of_one_turn_keep_their_order(journal: Journal, room: RoomId, append: Append) -> None:
    """Entries are read in the order of the calls, and positions increase."""
    epoch = (await journal.open(room, None)).epoch
    positions = await asyncio.gather(*(append(room, epoch, b"%d" % n) for n in range(1500)))
    assert positions == sorted(set(positions))
    entries = (await journal.open(room, None)).entries
    assert [entry.edits[0].update for entry in entries] == [b"%d" % n for n in range(1500)]
    assert [entry.position for entry in entries] == positions
    assert await journal.length(room) == 1500


async def test_appends_from_a_callback_are_taken(journal: Journal, room: RoomId, append: Append) -> None:
    """A callback may append again."""
    epoch = (await journal.open(room, None)).epoch
    answers: asyncio.Queue[Position | RelayError] = asyncio.Queue()

    def again(answer: Position | RelayError) -> None:
        answers.put_nowait(answer)
        journal.append(room, epoch, [Edit(Actor(""), b"second")], answers.put_nowait)

    journal.append(room, epoch, [Edit(Actor(""), b"first")], again)
    assert [await answers.get(), await answers.get()] == [e.position for e in await journal.read(room, None, None)]


async def test_a_failing_callback_costs_the_others_nothing(journal: Journal, room: RoomId, append: Append) -> None:
    """Answers still reach the right callers after one of them raised."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    epoch = (await journal.open(room, None)).epoch

    def fail(answer: Position | RelayError) -> None:
        raise ZeroDivisionError

    first = append(room, epoch, b"1")
    journal.append(room, epoch, [Edit(Actor(""), b"2")], fail)
    third = append(room, epoch, b"3")
    answers = [await first, await third]
    assert answers == [entry.position for entry in await journal.read(room, None, None)][::2]


async def test_read_takes_a_range(journal: Journal, room: RoomId, append: Append) -> None:
    """`after` is excluded, `upto` included, `limit` takes the first ones, and other epochs order as a whole."""
    epoch = (await journal.open(room, None)).epoch
    p = [await append(room, epoch, b"%d" % n) for n in range(5)]

    async def read(after: Position | None, upto: Position | None, limit: int = 1000) -> list[Position]:
        return [entry.position for entry in await journal.read(room, after, upto, limit)]

    assert await read(None, None) == p
    assert await read(p[0], p[3]) == p[1:4]
    assert await read(p[1], None, 2) == p[2:4]
    assert await read(None, p[2], 9) == p[:3]
    assert await read(p[4], None) == []
    assert await read(p[3], p[1]) == []
    assert await read(None, None, 0) == []
    earlier, later = p[4]._replace(epoch=epoch - 1), p[0]._replace(epoch=epoch + 1)
    assert await read(earlier, None) == p
    assert await read(later, None) == []
    assert await read(None, earlier) == []
    assert await read(p[2], later) == p[3:]


async def test_open_reads_what_comes_after(journal: Journal, room: RoomId, append: Append) -> None:
    """An existing stream keeps its epoch and its entries; those at or before `after` are left out."""
    epoch = (await journal.open(room, None)).epoch
    p = [await append(room, epoch, b"%d" % n) for n in range(4)]
    for after, left in ((None, p), (p[1], p[2:]), (p[3], []), (p[3]._replace(epoch=epoch - 1), p)):
        opened = await journal.open(room, after)
        assert (opened.epoch, [entry.position for entry in opened.entries]) == (epoch, left)


async def test_trim_keeps_the_stream(journal: Journal, room: RoomId, append: Append) -> None:
    """Trimmed entries are gone, later ones stay, and an emptied stream still takes appends and increases positions."""
    epoch = (await journal.open(room, None)).epoch
    p = [await append(room, epoch, b"%d" % n) for n in range(4)]
    await journal.trim(room, p[3]._replace(epoch=epoch - 1))
    await journal.trim(room, p[3]._replace(epoch=epoch + 1))
    assert await journal.length(room) == 4
    await journal.trim(room, p[1])
    assert [entry.position for entry in await journal.read(room, None, None)] == p[2:]
    await journal.trim(room, p[3])
    assert await journal.length(room) == 0
    assert await journal.open(room, p[3]) == (epoch, [])
    assert await append(room, epoch, b"next") > p[3]
    assert await journal.open(room, None) == (epoch, await journal.read(room, p[3], None))


async def test_a_deleted_stream_is_lost(journal: Journal, room: RoomId, append: Append) -> None:
    """Appends of a deleted stream's epoch fail, also when the room was opened again at once."""
    epoch = (await journal.open(room, None)).epoch
    await append(room, epoch, b"1")
    await journal.delete(room)
    with pytest.raises(StreamLost):
        await append(room, epoch, b"2")
    assert await journal.length(room) == 0
    assert await journal.read(room, None, None) == []
    opened = await journal.open(room, None)
    assert opened.entries == []
    assert opened.epoch > epoch
    with pytest.raises(StreamLost):
        await append(room, epoch, b"3")
    await append(room, opened.epoch, b"4")
    await journal.delete(room)
    await journal.delete(room)


async def test_a_room_that_was_never_opened_is_lost(journal: Journal, room: RoomId, append: Append) -> None:
    """An append never creates a stream."""
    with pytest.raises(StreamLost):
        await append(room, 1, b"1")
    assert room not in await journal.rooms()


async def test_every_stream_of_a_room_has_a_greater_epoch(journal: Journal, room: RoomId) -> None:
    """Also when streams come and go faster than the clock ticks."""
    epochs = []
    for _ in range(20):
        epochs.append((await journal.open(room, None)).epoch)
        await journal.delete(room)
    assert epochs == sorted(set(epochs))


async def test_retire_only_without_newer_entries(journal: Journal, room: RoomId, append: Append) -> None:
    """A stream with an entry after `upto`, or of another epoch than `upto`, is kept whole."""
    epoch = (await journal.open(room, None)).epoch
    p = [await append(room, epoch, b"%d" % n) for n in range(2)]
    assert not await journal.retire(room, p[0])
    assert not await journal.retire(room, p[1]._replace(epoch=epoch - 1))
    assert not await journal.retire(room, p[1]._replace(epoch=epoch + 1))
    assert await journal.length(room) == 2
    assert await journal.retire(room, p[1])
    assert room not in await journal.rooms()
    assert await journal.retire(room, p[1])
    with pytest.raises(StreamLost):
        await append(room, epoch, b"2")
    opened = await journal.open(room, p[1])
    assert (opened.epoch > epoch, opened.entries) == (True, [])
    assert await journal.retire(room, Position(opened.epoch, 0, 0))


async def test_a_lost_stream_gets_an_epoch_after_the_snapshot(journal: Journal, room: RoomId, append: Append) -> None:
    """A stream begun anew orders after a snapshot whose epoch lies in this clock's future."""
    future = Position(int(time.time() * 1000) + 10**9, 5, 5)
    opened = await journal.open(room, future)
    assert opened.epoch > future.epoch
    assert await append(room, opened.epoch, b"1") > future
    assert (await journal.open(room, None)).epoch == opened.epoch


async def test_a_stream_that_ends_before_the_snapshot_is_replaced(
    journal: Journal, room: RoomId, append: Append
) -> None:
    """Of a stream older than `after`, or one that lost its end, nothing is returned and nothing more is taken."""
    for behind in (lambda p: p._replace(seq=p.seq + 1), lambda p: Position(p.epoch + 10, 0, 1)):
        opened = await journal.open(room, None)
        held = behind(await append(room, opened.epoch, b"1"))
        replaced = await journal.open(room, held)
        assert replaced.entries == []
        assert replaced.epoch > held.epoch
        with pytest.raises(StreamLost):
            await append(room, opened.epoch, b"2")
        assert await append(room, replaced.epoch, b"3") > held


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_a_room_may_have_any_name(journal: Journal, append: Append, name: str) -> None:
    """Names with braces, slashes, wildcards, emoji or 512 bytes work in every call."""
    room = RoomId(name)
    await journal.delete(room)
    epoch = (await journal.open(room, None)).epoch
    position = await append(room, epoch, b"1")
    assert [entry.position for entry in (await journal.open(room, None)).entries] == [position]
    assert (await journal.rooms()).count(room) == 1
    await journal.trim(room, position)
    assert await journal.retire(room, position)
    assert room not in await journal.rooms()


async def test_rooms_do_not_mix(journal: Journal, append: Append) -> None:
    """Entries appended in turn to several rooms stay in their rooms; a room's end touches no other."""
    rooms = [RoomId(f"{uuid.uuid4()}{end}") for end in ("", "/", "{", "}")]
    epochs = [(await journal.open(room, None)).epoch for room in rooms]
    await asyncio.gather(*(append(rooms[n % 4], epochs[n % 4], b"%d" % n) for n in range(400)))
    for n, room in enumerate(rooms):
        entries = await journal.read(room, None, None)
        assert [int(entry.edits[0].update) for entry in entries] == list(range(n, 400, 4))
    await journal.delete(rooms[0])
    assert [await journal.length(room) for room in rooms] == [0, 100, 100, 100]


async def test_a_closed_journal_is_unavailable(journal: Journal, room: RoomId, append: Append) -> None:
    """What was queued when the journal closed is written; later calls fail."""
    epoch = (await journal.open(room, None)).epoch
    await journal.ping()
    queued = [append(room, epoch, b"%d" % n) for n in range(10)]
    await journal.close()
    assert len(await asyncio.gather(*queued)) == 10
    with pytest.raises(Unavailable):
        await append(room, epoch, b"late")
    with pytest.raises(Unavailable):
        await journal.ping()


async def test_intervention_reaches_whoever_has_the_room(journal: Journal, room: RoomId, append: Append) -> None:
    """An entry from outside is in a greater epoch, behind all that was there; appends to the old one fail."""
    assert await journal.epoch(room) == 0
    opened = await journal.open(room, None)
    assert await journal.epoch(room) == opened.epoch
    first = await append(room, opened.epoch, b"one")
    there = await journal.intervene(room, None, [Edit(Actor("root"), b"two"), Edit(Actor(""), b"three")])
    assert there.epoch > opened.epoch
    assert there > first
    with pytest.raises(StreamLost):
        await append(room, opened.epoch, b"late")
    again = await journal.open(room, first)
    assert again.epoch == await journal.epoch(room) == there.epoch
    assert [entry.edits for entry in again.entries] == [
        (Edit(Actor("ann"), b"one"),),
        (Edit(Actor("root"), b"two"), Edit(Actor(""), b"three")),
    ]
    assert again.entries[-1].position == there
    await journal.trim(room, first)
    assert await journal.length(room) == 2
    assert await append(room, again.epoch, b"four") > there


async def test_intervention_in_a_room_without_stream(journal: Journal, room: RoomId) -> None:
    """It makes the stream, with an epoch past the position the caller holds."""
    held = Position(int(time.time() * 1000) + 5000, 1, 0)
    there = await journal.intervene(room, held, [Edit(Actor("root"), b"one")])
    assert there.epoch > held.epoch
    assert [entry.position for entry in await journal.read(room, held, None)] == [there]
