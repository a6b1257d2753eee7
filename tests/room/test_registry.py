"""Rooms are loaded once, never blank in place of a failure, kept while needed, stored before they are let go."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import (
    NAME,
    NODE,
    FakeJournal,
    FakeSnapshots,
    InlineCodec,
    Peer,
    acknowledged,
    held,
    presence,
    turns,
    typed,
    until,
    updates,
)

from relay import closing
from relay.errors import Deny, Quarantined, Unavailable
from relay.metrics import Counters
from relay.room import recovery
from relay.room import registry as module
from relay.room.join import answer
from relay.room.registry import Registry
from relay.room.room import Limits, Room
from relay.types import Actor, Edit, Position, RoomId


class House:
    """A registry and what it stands on."""

    def __init__(
        self, journal: FakeJournal | None = None, snapshots: FakeSnapshots | None = None, **options: Any
    ) -> None:
        self.journal: FakeJournal = journal or FakeJournal()
        self.snapshots: FakeSnapshots = snapshots or FakeSnapshots(self.journal.calls)
        self.codec = InlineCodec()
        limits = Limits(**options.pop("limits", {}))
        codec: Any = self.codec
        self.registry = Registry(NODE, self.journal, self.snapshots, codec, Counters(), limits, **options)

    def again(self) -> "House":
        """Another process over the same services."""
        return House(self.journal, self.snapshots)

    async def enter(self, *names: str, hocuspocus: bool = True) -> tuple[Room, list[Peer]]:
        room = await self.registry.open(NAME)
        members = [Peer(name, hocuspocus=hocuspocus) for name in names]
        for member in members:
            self.registry.join(room, member)
        return room, members

    async def write(self, room: Room, member: Peer, *edits: bytes) -> None:
        for edit in edits:
            room.submit(member, edit)
            room.flush()
            await turns()

    async def content(self) -> set[tuple[int, int]]:
        """What a joiner gets."""
        room, (member,) = await self.enter("reader")
        answer(room, member, b"\0")
        self.registry.leave(room, member)
        return held(updates(member.heard()))


@pytest.fixture
async def house() -> House:
    return House()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "SWEEP", 0.001)
    monkeypatch.setattr(recovery, "RETRY", 0.001)
    return


# -- loading --


async def test_single_flight(house: House) -> None:
    """Many who open a room at once share one load, and get one room."""
    rooms = await asyncio.gather(*(house.registry.open(NAME) for _ in range(20)))
    assert len(set(map(id, rooms))) == 1
    assert house.snapshots.loads == 1


async def test_one_who_gives_up_does_not_end_the_load(house: House) -> None:
    """A client that goes away while its room is loading leaves the load to the others."""
    house.snapshots.gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    first, second = (loop.create_task(house.registry.open(NAME)) for _ in range(2))
    await turns()
    first.cancel()
    house.snapshots.gate.set()
    assert (await second).name == NAME


async def test_load_that_is_broken_off(house: House) -> None:
    """Whoever waits for it is told to try again; who gives up itself has given up."""
    house.snapshots.gate = asyncio.Event()
    waiting = asyncio.ensure_future(house.registry.open(NAME))  # noqa: TID251
    await turns()
    loading = house.registry.loading(NAME)
    assert loading is not None
    loading.cancel()
    with pytest.raises(Unavailable):
        await waiting
    waiting = asyncio.ensure_future(house.registry.open(NAME))  # noqa: TID251
    await turns()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    house.snapshots.gate.set()
    await house.registry.open(NAME)


@pytest.mark.parametrize("service", ["journal", "snapshots"])
async def test_failed_load_is_no_blank_room(house: House, service: str) -> None:
    """With a service away the load fails and leaves no room; the next one finds the document."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    later = house.again()
    getattr(later, service).down = True
    with pytest.raises(Unavailable):
        await later.registry.open(NAME)
    assert later.registry.rooms == {}
    getattr(later, service).down = False
    assert await later.content() == {(1, 0)}


async def test_quarantined_document(house: House) -> None:
    """A document that was set aside does not open."""
    await house.snapshots.quarantine(NAME, "broken")
    with pytest.raises(Quarantined):
        await house.registry.open(NAME)
    assert house.registry.rooms == {}


async def test_poison_in_the_journal(house: House) -> None:
    """A journal whose bytes are no updates sets its document aside, and it stays that way."""
    opened = await house.journal.open(NAME, None)
    house.journal.append(NAME, opened.epoch, [Edit(Actor(""), b"\1\1\1")], lambda result: None)
    with pytest.raises(Quarantined):
        await house.registry.open(NAME)
    with pytest.raises(Quarantined):
        await house.again().registry.open(NAME)


async def test_too_many_rooms() -> None:
    """One room too many is refused for now."""
    house = House(max_rooms=1)
    await house.registry.open(NAME)
    with pytest.raises(Deny) as denied:
        await house.registry.open(RoomId("other"))
    assert denied.value.code == closing.OVERLOADED.code


async def test_stored_and_trimmed_while_loading(house: House) -> None:
    """A snapshot that is stored, and the journal trimmed, between the two reads of a load: nothing is missing."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0), typed(1, 1))
    later = house.again()
    read = later.snapshots.load

    async def load(name: RoomId) -> Any:
        if not room.log.segments:
            await house.write(room, ada, typed(1, 2))
            await house.registry.compactor.snapshot(room, rest=True)
            await house.write(room, ada, typed(1, 3))
        return await read(name)

    later.snapshots.load = load  # type: ignore[method-assign]
    assert await later.content() == {(1, 0), (1, 1), (1, 2), (1, 3)}


# -- restarts --


async def test_gaps_survive_restarts(house: House) -> None:
    """Edits that wait for a missing one are kept through the journal, through a snapshot, and found when it comes."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0), typed(1, 2))
    second = house.again()
    assert await second.content() == {(1, 0), (1, 2)}
    room, (ada,) = await second.enter("ada")
    await second.registry.compactor.snapshot(room, rest=True)
    third = second.again()
    assert await third.content() == {(1, 0), (1, 2)}
    room, (ada,) = await third.enter("ada")
    assert room.known.has_gaps
    await third.write(room, ada, typed(1, 1))
    assert not room.known.has_gaps
    assert room.known.vector() == {1: 3}


# -- unloading --


@pytest.mark.usefixtures("hasty")
async def test_empty_room_is_stored_and_let_go() -> None:
    """A room that nobody is in is snapshotted, leaves memory, and leaves nothing in the journal; it opens again."""
    house = House(idle_unload=0.0)
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.registry.start()
    await asyncio.sleep(0.01)
    assert NAME in house.registry.rooms
    house.registry.leave(room, ada)
    await until(lambda: NAME not in house.registry.rooms and not house.registry._unloading)
    assert await house.journal.rooms() == []
    house.registry._sweeper.cancel()  # type: ignore[union-attr]
    assert await house.content() == {(1, 0)}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("stored", [False, True])
async def test_room_that_was_only_looked_at(stored: bool) -> None:
    """Opening a room and writing nothing leaves no stream behind, whether the document exists or not."""
    house = House(idle_unload=0.0)
    if stored:
        room, (ada,) = await house.enter("ada")
        await house.write(room, ada, typed(1, 0))
        house.registry.leave(room, ada)
        await house.registry._unload(room)
    await house.registry.open(NAME)
    assert await house.journal.rooms() == [NAME]
    house.registry.start()
    await until(lambda: not house.registry.rooms and not house.registry._unloading)
    assert await house.journal.rooms() == []
    house.registry._sweeper.cancel()  # type: ignore[union-attr]


async def test_join_during_unload(house: House) -> None:
    """Somebody who comes while the room is being stored keeps it open."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.registry.leave(room, ada)
    house.snapshots.gate = asyncio.Event()
    unloading = asyncio.get_running_loop().create_task(house.registry._unload(room))
    await turns()
    again, _ = await house.enter("bob")
    assert again is room
    house.snapshots.gate.set()
    await unloading
    assert not room.closed
    assert house.registry.rooms[NAME] is room


async def test_visit_during_unload(house: House) -> None:
    """Somebody who comes, types and goes again while the room is being stored: the edit is not forgotten."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.registry.leave(room, ada)
    house.snapshots.gate = asyncio.Event()
    unloading = asyncio.get_running_loop().create_task(house.registry._unload(room))
    await turns()
    _, (bob,) = await house.enter("bob")
    room._due = True  # the next flush is a while away
    room.submit(bob, typed(2, 0))
    house.registry.leave(room, bob)
    house.snapshots.gate.set()
    await unloading
    await turns()
    assert await house.again().content() == {(1, 0), (2, 0)}


async def test_open_waits_for_the_end_of_an_unload(house: House) -> None:
    """A room that is opened again while its journal is being retired is loaded after that."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.registry.leave(room, ada)
    gate = asyncio.Event()
    retire = house.journal.retire

    async def slow(name: RoomId, upto: Position) -> bool:
        await gate.wait()
        return await retire(name, upto)

    house.journal.retire = slow  # type: ignore[method-assign]
    house.registry._unloading[NAME] = asyncio.get_running_loop().create_task(house.registry._unload(room))
    await until(lambda: room.closed)
    opening = asyncio.get_running_loop().create_task(house.registry.open(NAME))
    await turns()
    assert not opening.done()
    gate.set()
    assert await opening is not room
    assert await house.content() == {(1, 0)}


@pytest.mark.parametrize("why", ["unload", "quarantine", "delete"])
async def test_closed_rooms_are_freed_at_once(house: House, why: str) -> None:
    """A room that left memory, for whatever reason, waits for no garbage collector."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    if why == "unload":
        house.registry.leave(room, ada)
    del ada
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(thing, Room) for thing in gc.get_objects())
        if why == "unload":
            await house.registry._unload(room)
        elif why == "quarantine":
            await house.registry.quarantine(NAME, "for a test")
        else:
            await house.registry.delete(NAME)
        assert room.closed
        del room
        await turns()
        assert sum(isinstance(thing, Room) for thing in gc.get_objects()) == before - 1
    finally:
        gc.enable()


async def test_unload_only_when_stored(house: House) -> None:
    """With PostgreSQL away an empty room stays, and nothing of its journal goes."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.registry.leave(room, ada)
    house.snapshots.down = True
    await house.registry._unload(room)
    assert not room.closed
    assert await house.journal.length(NAME) == 1


# -- the journal is away --


@pytest.mark.usefixtures("hasty")
async def test_journal_returns(house: House) -> None:
    """Rooms append again what the journal missed as soon as it answers, in order, and then acknowledge."""
    room, (ada,) = await house.enter("ada")
    house.journal.down = True
    await house.write(room, ada, typed(1, 0), typed(1, 1))
    await asyncio.sleep(0.01)
    assert acknowledged(ada.heard()) == 0
    house.journal.down = False
    await until(lambda: not room.saving.away)
    await turns()
    assert acknowledged(ada.heard()) == 2
    entries = await house.journal.read(NAME, None, None)
    assert [edit.update for entry in entries for edit in entry.edits] == [typed(1, 0), typed(1, 1)]


@pytest.mark.usefixtures("hasty")
async def test_journal_that_forgot(house: House) -> None:
    """A journal that comes back empty is filled again from what the rooms hold, saved edits included."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.journal.forget()
    house.registry.recovery.doubt(lambda room: True)
    await until(lambda: not room.saving.away)
    await turns()
    assert await house.again().content() == {(1, 0)}


@pytest.mark.usefixtures("hasty")
async def test_room_that_can_not_be_looked_up_holds_up_no_other(house: House) -> None:
    """One room's stream that can't be opened does not keep the others from appending again."""
    room, (ada,) = await house.enter("ada")
    bad = await house.registry.open(RoomId("bad"))
    bad.saving.fail(Unavailable("down"))
    house.journal.refused.add(RoomId("bad"))
    house.journal.down = True
    await house.write(room, ada, typed(1, 0))
    house.journal.down = False
    await until(lambda: not room.saving.away)
    assert bad.saving.away
    house.journal.refused.clear()
    await until(lambda: not bad.saving.away)


async def test_journal_that_answers_but_refuses(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that is full is not asked more often than every so often."""
    monkeypatch.setattr(recovery, "RETRY", 0.02)
    room, (ada,) = await house.enter("ada")
    appends: list[object] = []

    def refuse(name: Any, epoch: Any, edits: Any, done: Any, **options: Any) -> None:
        appends.append(edits)
        asyncio.get_running_loop().call_soon(done, Unavailable("full"))

    house.journal.append = refuse  # type: ignore[method-assign]
    began = asyncio.get_running_loop().time()
    await house.write(room, ada, typed(1, 0))
    await until(lambda: len(appends) >= 6)
    assert asyncio.get_running_loop().time() - began > 4 * 0.019  # the first again comes at once
    del house.journal.append
    await until(lambda: not room.saving.away)
    await until(lambda: acknowledged(ada.heard()) == 1)


@pytest.mark.usefixtures("hasty")
async def test_unexpected_failure_does_not_end_the_retries(house: House) -> None:
    """Whatever goes wrong while rooms append again, they try again."""
    room, (ada,) = await house.enter("ada")
    house.journal.down = True
    await house.write(room, ada, typed(1, 0))
    ping = house.journal.ping
    failures = iter([ValueError("surprise"), None])

    async def surprising() -> None:
        if (error := next(failures, None)) is not None:
            raise error
        await ping()

    house.journal.ping = surprising  # type: ignore[method-assign]
    house.journal.down = False
    await until(lambda: not room.saving.away)


# -- set aside --


async def test_quarantine(house: House) -> None:
    """A document that is set aside lets its clients go with 4423, and stays as it is in the journal."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    await house.registry.quarantine(NAME, "operator")
    assert ada.left == [closing.QUARANTINED]
    assert room.closed
    assert await house.journal.length(NAME) == 1
    with pytest.raises(Quarantined):
        await house.registry.open(NAME)


async def test_delete(house: House) -> None:
    """A deleted document lets its clients go with 4410, and is empty when it is opened again."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    assert await house.registry.delete(NAME)
    assert ada.left == [closing.DELETED]
    assert await house.content() == set()
    assert not await house.registry.delete(RoomId("unknown"))


async def test_delete_during_a_snapshot(house: House) -> None:
    """A snapshot that was under way does not bring a deleted document back."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.codec.gate = asyncio.Event()
    snapshot = asyncio.get_running_loop().create_task(house.registry.compactor.snapshot(room, rest=True))
    await turns()
    await house.registry.delete(NAME)
    house.codec.gate.set()
    await snapshot
    assert await house.snapshots.load(NAME) == []
    assert await house.again().content() == set()


# -- the end --


async def test_close_stores_everything(house: House) -> None:
    """Stopping flushes what has gathered and stores every room; the next process finds all of it."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    room._due = True
    room.submit(ada, typed(1, 1))
    other = await house.registry.open(RoomId("other"))
    bob = Peer("bob")
    house.registry.join(other, bob)
    other._due = True
    other.submit(bob, typed(2, 0))
    assert await house.registry.close(5.0)
    await turns()
    assert await house.again().content() == {(1, 0), (1, 1)}
    assert await house.journal.length(RoomId("other")) + len(await house.snapshots.load(RoomId("other"))) == 1


async def test_close_after_the_journal_forgot(house: House) -> None:
    """What was saved and then forgotten by the journal is stored, or appended again, before the process ends."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.journal.forget()
    assert await house.registry.close(5.0)
    assert await house.again().content() == {(1, 0)}


async def test_close_without_a_journal(house: House) -> None:
    """Stopping does not wait for a journal that is away."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.journal.down = True
    room.submit(ada, typed(1, 1))
    async with asyncio.timeout(10):
        assert not await house.registry.close(30.0)


async def test_close_in_time(house: House) -> None:
    """Stopping does not wait for a store that hangs: the journal has what it would have stored."""
    room, (ada,) = await house.enter("ada")
    await house.write(room, ada, typed(1, 0))
    house.snapshots.gate = asyncio.Event()
    assert not await house.registry.close(0.01)
    house.snapshots.gate.set()
    await turns()


async def test_age_of_the_oldest_unsaved_edit(house: House) -> None:
    """Rooms with edits that no snapshot holds count, others do not."""
    room, (ada,) = await house.enter("ada")
    assert house.registry.oldest_unsaved() == 0
    await house.write(room, ada, typed(1, 0))
    room.stored_at -= 100
    assert house.registry.oldest_unsaved() >= 100


@pytest.mark.usefixtures("hasty")
async def test_sweep(house: House) -> None:
    """A quiet room is snapshotted; presence that nobody renews ends."""
    house = House(snapshot_idle=0.0, presence_timeout=0.0)
    room, (ada, bob) = await house.enter("ada", "bob")
    room.announce(ada, presence((1, 1, "{}")))
    await house.write(room, ada, typed(1, 0))
    house.registry.start()
    await until(lambda: room.log.segments and not room.presence.held)
    house.registry._sweeper.cancel()  # type: ignore[union-attr]
    await until(lambda: any(b"null" in said for said in bob.heard()))
