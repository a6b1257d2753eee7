"""What every snapshot store keeps to: relay/snapshot/__init__.py, clause by clause."""

import asyncio
import os
import random
import uuid
from collections.abc import AsyncIterator

import pytest

from relay.errors import Quarantined
from relay.journal import Entry
from relay.snapshot import Segment, SnapshotStore
from relay.snapshot.memory import MemorySnapshotStore
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SnapshotStore]:
    adapter: SnapshotStore
    if request.param == "memory":
        adapter = MemorySnapshotStore()
    else:
        adapter = await PostgresSnapshotStore.connect(request.getfixturevalue("postgres"))
    yield adapter
    await adapter.close()


@pytest.fixture
def room() -> RoomId:
    return RoomId(f"room-{uuid.uuid4()}")


def at(number: int, epoch: int = 1) -> Position:
    return Position(epoch, 1_700_000_000_000 + number, number % 3)


def link(after: int | None, upto: int, state: bytes = b"state", clocks: bytes = b"clocks") -> Segment:
    return Segment(None if after is None else at(after), at(upto), state, clocks)


def entry(number: int, *edits: tuple[str, bytes], epoch: int = 1, node: str = "node-a") -> Entry:
    made = tuple(Edit(Actor(actor), update) for actor, update in edits or (("ann", b"update %d" % number),))
    return Entry(at(number, epoch), NodeId(node), made)


async def every(store: SnapshotStore, room: RoomId, after: Position | None = None, limit: int = 1000) -> list[Entry]:
    """The history by pages, each of which must be a step forward."""
    found: list[Entry] = []
    while page := await store.history(room, after, limit):
        found += page
        after = page[-1].position
    return found


async def test_load_room_never_stored(store: SnapshotStore, room: RoomId) -> None:
    """A room that nobody stored is an empty chain, unknown to listings, with no history."""
    assert await store.load(room) == []
    assert await store.info(room) is None
    assert await store.history(room, None) == []
    assert await store.delete(room) is False


async def test_store_builds_a_chain(store: SnapshotStore, room: RoomId) -> None:
    """Segments that continue one another come back in order, and the listing sums them up."""
    chain = [link(None, 10, b"one"), link(10, 20, b"three"), link(20, 30, b"")]
    for segment in chain:
        assert await store.store(room, segment)
    assert await store.load(room) == chain
    info = await store.info(room)
    assert info is not None
    assert info[:4] == (room, 8, 3, at(30))
    assert info.quarantined is None
    assert info.written.tzinfo is not None


@pytest.mark.parametrize("segment", [link(5, 30), link(15, 30), link(20, 30), link(25, 30)], ids=str)
async def test_store_refuses_what_does_not_continue(store: SnapshotStore, room: RoomId, segment: Segment) -> None:
    """A segment whose beginning is the end of no link is refused and changes nothing."""
    assert await store.store(room, link(None, 10))
    if segment.after != at(20):
        assert await store.store(room, link(10, 20))
    before = await store.load(room), await store.info(room)
    assert await store.store(room, segment) is False
    assert (await store.load(room), await store.info(room)) == before


async def test_store_refuses_a_first_segment_in_the_middle(store: SnapshotStore, room: RoomId) -> None:
    """A room's first segment must begin at the log's beginning."""
    assert await store.store(room, link(10, 20)) is False
    assert await store.load(room) == []
    assert await store.info(room) is None


async def test_store_refuses_a_segment_of_nothing(store: SnapshotStore, room: RoomId) -> None:
    """A segment that ends where it begins is a caller's mistake."""
    with pytest.raises(ValueError, match="can't end"):
        await store.store(room, link(10, 10))


async def test_store_merges_a_suffix(store: SnapshotStore, room: RoomId) -> None:
    """A merged segment takes the place of the links it was made of, and of no others."""
    for segment in (link(None, 10, b"a"), link(10, 20, b"b"), link(20, 30, b"c"), link(30, 40, b"d")):
        assert await store.store(room, segment)
    assert await store.store(room, link(10, 40, b"bcd"))
    assert await store.load(room) == [link(None, 10, b"a"), link(10, 40, b"bcd")]
    assert await store.store(room, link(10, 50, b"bcde"))
    assert await store.load(room) == [link(None, 10, b"a"), link(10, 50, b"bcde")]
    assert await store.store(room, link(None, 50, b"all"))
    assert await store.load(room) == [link(None, 50, b"all")]
    info = await store.info(room)
    assert info is not None
    assert info[1:4] == (3, 1, at(50))


async def test_store_refuses_a_stale_writer(store: SnapshotStore, room: RoomId) -> None:
    """Who covers less than the chain does writes nothing, though it knows a link."""
    for segment in (link(None, 10), link(10, 20), link(20, 30)):
        assert await store.store(room, segment)
    for stale in (link(None, 29), link(10, 29), link(None, 10)):
        assert await store.store(room, stale) is False
    assert await store.load(room) == [link(None, 10), link(10, 20), link(20, 30)]


async def test_store_rewrites_the_same_end(store: SnapshotStore, room: RoomId) -> None:
    """Writing the same segment again, or another one that ends there, is allowed: a retry is safe."""
    assert await store.store(room, link(None, 10))
    for state in (b"x", b"x", b"y"):
        assert await store.store(room, link(10, 20, state))
        assert await store.load(room) == [link(None, 10), link(10, 20, state)]


async def test_store_orders_by_epoch_first(store: SnapshotStore, room: RoomId) -> None:
    """A stream begun again has small ids and a greater epoch: it continues the old one, and not the other way round."""
    old, new = Position(1, 9_000, 5), Position(2, 10, 0)
    assert await store.store(room, Segment(None, old, b"old", b""))
    assert await store.store(room, Segment(old, new, b"new", b""))
    assert await store.store(room, Segment(None, Position(1, 99_000, 0), b"stale", b"")) is False
    assert [segment.state for segment in await store.load(room)] == [b"old", b"new"]


async def test_store_racing_writers_keep_a_chain(store: SnapshotStore, room: RoomId) -> None:
    """Writers that know nothing of each other leave a whole chain whose end never goes back."""
    random_source = random.Random(7)
    ends: list[Position] = []

    async def write(number: int) -> None:
        for _ in range(12):
            chain = await store.load(room)
            ends.append(chain[-1].upto if chain else at(0))
            keep = random_source.randint(0, len(chain))
            after = chain[keep - 1].upto if keep else None
            upto = Position(1, ends[-1].ms + random_source.randint(0, 3), number)
            if after is None or after < upto:
                await store.store(room, Segment(after, upto, os.urandom(50), b""))

    await asyncio.gather(*map(write, range(6)))
    chain = await store.load(room)
    assert [segment.after for segment in chain] == [None, *(segment.upto for segment in chain[:-1])]
    assert max(ends) <= chain[-1].upto
    info = await store.info(room)
    assert info is not None
    assert info[1:4] == (50 * len(chain), len(chain), chain[-1].upto)


async def test_store_same_place_one_wins(store: SnapshotStore, room: RoomId) -> None:
    """Of writers that continue one link to different ends, the furthest is what stays."""
    assert await store.store(room, link(None, 10))
    order = random.Random(3).sample(range(11, 31), 20)
    written = await asyncio.gather(*(store.store(room, link(10, upto, b"%d" % upto)) for upto in order))
    assert written[order.index(30)] is True
    assert await store.load(room) == [link(None, 10), link(10, 30, b"30")]


async def test_store_is_binary_safe(store: SnapshotStore, room: RoomId) -> None:
    """Every byte value comes back as it was, in states and in clocks."""
    segment = link(None, 10, bytes(range(256)) * 3, bytes(reversed(range(256))))
    assert await store.store(room, segment)
    assert await store.load(room) == [segment]


async def test_store_big_state(store: SnapshotStore, room: RoomId) -> None:
    """A state of 20 MB is stored and loaded whole."""
    state = random.Random(1).randbytes(1 << 20) * 20
    assert await store.store(room, link(None, 10, state))
    assert (await store.load(room))[0].state == state
    info = await store.info(room)
    assert info is not None
    assert info.size == 20 << 20


async def test_quarantine_and_release(store: SnapshotStore, room: RoomId) -> None:
    """A room set aside does not load, says why, still takes writes, and is back when released."""
    assert await store.store(room, link(None, 10))
    assert await store.release(room) is False
    await store.quarantine(room, "first")
    await store.quarantine(room, "decoder died: 'x'")
    with pytest.raises(Quarantined, match="decoder died: 'x'"):
        await store.load(room)
    info = await store.info(room)
    assert info is not None
    assert info.quarantined == "decoder died: 'x'"
    assert await store.store(room, link(10, 20))
    assert await store.release(room) is True
    assert await store.release(room) is False
    assert await store.load(room) == [link(None, 10), link(10, 20)]


async def test_quarantine_room_never_stored(store: SnapshotStore, room: RoomId) -> None:
    """A room can be set aside before it is stored; released, nothing is known of it."""
    await store.quarantine(room, "")
    with pytest.raises(Quarantined):
        await store.load(room)
    info = await store.info(room)
    assert info is not None
    assert info[:4] == (room, 0, 0, Position(0, 0, 0))
    assert info.quarantined == ""
    assert [found.room for found in await store.list(room)] == [room]
    assert await store.release(room) is True
    assert await store.load(room) == []
    assert await store.info(room) is None
    assert await store.delete(room) is False


async def test_delete_forgets_all(store: SnapshotStore, room: RoomId) -> None:
    """A deleted room has no chain, no history and no quarantine, and may begin again from its first segment."""
    assert await store.store(room, link(None, 10))
    assert await store.store(room, link(10, 20))
    await store.archive(room, [entry(1)])
    await store.quarantine(room, "bad")
    other = RoomId(room + "2")
    assert await store.store(other, link(None, 10))
    await store.archive(other, [entry(1)])
    assert await store.delete(room) is True
    assert await store.delete(room) is False
    assert await store.load(room) == []
    assert await store.info(room) is None
    assert await store.history(room, None) == []
    assert await store.store(room, link(None, 5))
    assert await store.load(other) == [link(None, 10)]
    assert await store.history(other, None) == [entry(1)]


async def test_delete_for_good(store: SnapshotStore, room: RoomId) -> None:
    """Nothing of a deleted epoch is stored or archived again, whoever still has it; a later epoch begins anew."""
    assert await store.store(room, link(None, 10))
    assert await store.deleted(room) == 0
    assert await store.delete(room, 1) is True
    assert await store.store(room, link(None, 20)) is False
    await store.archive(room, [entry(1)])
    assert (await store.load(room), await store.info(room), await store.history(room, None)) == ([], None, [])
    assert await store.deleted(room) == 1
    later = Segment(None, at(1, epoch=2), b"later", b"")
    await store.archive(room, [entry(1, epoch=2)])
    assert await store.store(room, later)
    assert await store.load(room) == [later]
    assert await store.history(room, None) == [entry(1, epoch=2)]
    assert await store.delete(room) is True
    assert await store.deleted(room) == 1


async def test_load_even_quarantined(store: SnapshotStore, room: RoomId) -> None:
    """An operator may look at a room that was set aside."""
    assert await store.store(room, link(None, 10))
    await store.quarantine(room, "bad")
    assert await store.load(room, even_quarantined=True) == [link(None, 10)]
    unstored = RoomId(room + "2")
    await store.quarantine(unstored, "bad")
    assert await store.load(unstored, even_quarantined=True) == []


async def test_delete_archive_alone(store: SnapshotStore, room: RoomId) -> None:
    """A history without a chain is something to delete, but not a stored room to list."""
    await store.archive(room, [entry(1)])
    assert await store.info(room) is None
    assert await store.list(room) == []
    assert await store.delete(room) is True
    assert await store.history(room, None) == []


async def test_history_keeps_order_and_content(store: SnapshotStore, room: RoomId) -> None:
    """Entries come back as they went in: who, where, when, byte for byte, in order over calls and epochs."""
    entries = [
        entry(1, ("ann", b"\x00\xff"), ("", b""), ("ann", b"third")),
        entry(2, ("boß 🙂", bytes(range(256)))),
        Entry(at(3), NodeId("node-b"), ()),
        entry(4, node="node-b"),
        entry(1, epoch=2),
        entry(900, ("x" * 300, b"u" * 70_000), epoch=2, node=""),
    ]
    await store.archive(room, [])
    await store.archive(room, entries[:2])
    await store.archive(room, entries[2:])
    assert await every(store, room) == entries
    assert await every(store, room, limit=1) == entries
    assert await every(store, room, entries[1].position) == entries[2:]
    assert await store.history(room, entries[-1].position) == []


async def test_history_in_pages(store: SnapshotStore, room: RoomId) -> None:
    """A page is at least one entry and about `limit`; the pages together are the whole."""
    entries = [entry(number) for number in range(300)]
    for start in range(0, 300, 7):
        await store.archive(room, entries[start : start + 7])
    for limit in (1, 10, 64, 299, 1000):
        page = await store.history(room, None, limit)
        assert 1 <= len(page) <= limit + 7
        assert len(page) >= min(limit, 300)
        assert await every(store, room, entries[100].position, limit) == entries[101:]


async def test_archive_again_keeps_every_entry_once(store: SnapshotStore, room: RoomId) -> None:
    """However entries are grouped, repeated, overlapped or late, each is in the history once and in order."""
    entries = [entry(number) for number in range(60)]
    source = random.Random(11)
    archived: set[int] = set()
    for _ in range(40):
        start = source.randrange(60)
        chosen = [number for number in range(start, min(60, start + 15)) if source.random() < 0.8]
        await store.archive(room, [entries[number] for number in chosen])
        archived.update(chosen)
        assert await every(store, room, limit=10) == [entries[number] for number in sorted(archived)]


async def test_archive_at_once(store: SnapshotStore, room: RoomId) -> None:
    """Nodes that archive overlapping stretches at the same time keep each entry once, in order."""
    entries = [entry(number) for number in range(100)]
    stretches = [(0, 40), (0, 41), (20, 60), (5, 45), (60, 100), (50, 90), (30, 70)]
    await asyncio.gather(*(store.ping() for _ in stretches))
    for number in range(5):
        raced = RoomId(f"{room}/{number}")
        await asyncio.gather(*(store.archive(raced, entries[start:end]) for start, end in stretches))
        assert await every(store, raced) == entries


async def test_list_in_pages(store: SnapshotStore, room: RoomId) -> None:
    """A listing goes by name in pages, complete and without repeats, with what `info` says of each room."""
    names = [RoomId(f"{room}/{number:02}") for number in range(25)]
    for name in random.Random(5).sample(names, 25):
        await store.store(name, link(None, 10))
    await store.quarantine(names[3], "bad")
    found: list[RoomId] = []
    while page := await store.list(f"{room}/", found[-1] if found else None, 10):
        assert len(page) <= 10
        for info in page:
            assert info == await store.info(info.room)
        found += [info.room for info in page]
    assert found == names
    assert [info.room for info in await store.list(f"{room}/", names[23])] == [names[24]]
    assert await store.list(f"{room}/", RoomId(f"{room}0")) == []
    assert len(await store.list(f"{room}/", RoomId(room))) == 25


async def test_names_of_any_text(store: SnapshotStore, room: RoomId) -> None:
    """A prefix is taken as it is (no pattern), and names sort by code point whatever language they are in."""
    tails = [
        "",
        " ",
        "%",
        "%%",
        "/",
        "A",
        "_",
        "_x",
        "a",
        "a/b",
        "a%",
        "ab",
        "é",
        "中文/頁",
        "\U0010ffff",
        "🙂",
        "🙂🙂",
    ]
    tails += ["'; DROP TABLE relay.room; --", "\\", "\\%", '"', "\ud7ff", "\ue000", "\uffff"]
    names = sorted(RoomId(room + tail) for tail in tails)
    names.append(RoomId(room + "\U0010ffff" * ((512 - len(room)) // 4)))
    for name in names:
        assert await store.store(name, link(None, 10, name.encode()))
        await store.archive(name, [entry(1, (name, name.encode()))])
    for name in names:
        assert [segment.state for segment in await store.load(name)] == [name.encode()]
        assert await store.history(name, None) == [entry(1, (name, name.encode()))]
        found = [info.room for info in await store.list(name)]
        assert found == sorted(known for known in names if known.startswith(name))
    for after in names:
        following = [info.room for info in await store.list(room, after)]
        assert following == sorted(known for known in names if known > after)


async def test_ping_answers(store: SnapshotStore) -> None:
    """A store that is there answers a ping."""
    await store.ping()
