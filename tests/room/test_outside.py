"""Rooms that are changed by somebody who does not have them open, while a registry does; no hint reaches it."""

from collections.abc import AsyncIterator

import pytest
from fakes import NAME, NODE, FakeJournal, FakeSnapshots, InlineCodec, Peer, held, rough, typed, until

from relay.closing import Closing
from relay.errors import Quarantined, Unavailable
from relay.metrics import Counters
from relay.room import outside
from relay.room.registry import Registry
from relay.room.room import Limits, Room
from relay.types import Actor, Edit, NodeId
from relay.yjs.merge import merge
from relay.yjs.update import parse


class Journal(FakeJournal):
    """What is written from outside says so."""

    async def intervene(self, *arguments: object) -> object:  # type: ignore[override]
        self._node = NodeId("outside")
        try:
            return await super().intervene(*arguments)  # type: ignore[arg-type]
        finally:
            self._node = NODE


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def snapshots() -> FakeSnapshots:
    return FakeSnapshots([])


@pytest.fixture
async def registry(journal: Journal, snapshots: FakeSnapshots) -> AsyncIterator[Registry]:
    codec = InlineCodec()
    made = Registry(NODE, journal, snapshots, codec, Counters(), Limits(), inline_parse=200)  # type: ignore[arg-type]
    yield made
    await made.close(1.0)


async def joined(registry: Registry) -> tuple[Room, Peer]:
    room, peer = await registry.open(NAME), Peer("ann")
    registry.join(room, peer)
    return room, peer


def codes(peer: Peer) -> list[int]:
    return [why.code for why in peer.left if isinstance(why, Closing)]


async def stored(journal: Journal, snapshots: FakeSnapshots) -> set[tuple[int, int]]:
    """The ids that the stores hold."""
    segments, entries = await outside.read(journal, snapshots, NAME)
    return held([s.state for s in segments] + [edit.update for entry in entries for edit in entry.edits])


LARGE = merge([parse(rough(7, 0, ["x" * 150, "y" * 150]))])


@pytest.mark.parametrize("update", [typed(2, 0, "two"), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("how", ["hint", "next edit"])
async def test_write_reaches_members_and_every_snapshot(
    registry: Registry, journal: Journal, snapshots: FakeSnapshots, update: bytes, how: str
) -> None:
    """An edit from outside comes to whoever is in the room, and no snapshot passes it by."""
    room, peer = await joined(registry)
    room.submit(peer, typed(1, 0, "one"))
    await until(lambda: room.log.saved == 1)
    await outside.write(journal, snapshots, NAME, [Edit(Actor("root"), update)])
    if how == "hint":
        await registry.recovery.check(NAME)
    else:
        room.submit(peer, typed(1, 3, "more"))
    await until(lambda: not room.saving.away and room.saving.epoch == journal._streams[NAME].epoch)
    await until(lambda: room.log.saved == len(room.log.flushes))
    wanted = held([update, typed(1, 0, "one"), *([typed(1, 3, "more")] if how == "next edit" else [])])
    assert held(peer.updates()) >= held([update])
    assert await registry.compactor.snapshot(room, rest=True)
    assert await stored(journal, snapshots) == wanted
    assert codes(peer) == []


async def test_snapshot_under_way_does_not_pass_an_edit_by(
    registry: Registry, journal: Journal, snapshots: FakeSnapshots
) -> None:
    """A snapshot that is made before the relay was told holds the outside edit, or ends before it."""
    room, peer = await joined(registry)
    room.submit(peer, typed(1, 0, "one"))
    await until(lambda: room.log.saved == 1)
    there = await outside.write(journal, snapshots, NAME, [Edit(Actor("root"), typed(2, 0, "two"))])
    assert await registry.compactor.snapshot(room, rest=True)
    (segment,) = await snapshots.load(NAME)
    assert segment.upto <= there
    assert await stored(journal, snapshots) == held([typed(1, 0, "one"), typed(2, 0, "two")])


@pytest.mark.parametrize("how", ["hint", "next edit"])
@pytest.mark.parametrize("snapshotted", [True, False])
async def test_deleted_room_does_not_come_back(
    registry: Registry, journal: Journal, snapshots: FakeSnapshots, how: str, snapshotted: bool
) -> None:
    """Members are sent away, and nothing of the room is appended or stored again; the name may begin again."""
    room, peer = await joined(registry)
    room.submit(peer, typed(1, 0, "one"))
    await until(lambda: room.log.saved == 1)
    if snapshotted:
        assert await registry.compactor.snapshot(room, rest=True)
    assert await outside.delete(journal, snapshots, NAME)
    if how == "hint":
        await registry.recovery.check(NAME)
    else:
        room.submit(peer, typed(1, 3, "more"))
    await until(lambda: codes(peer))
    assert codes(peer) == [4410]
    await until(lambda: registry.recovery._reappending is None)
    await registry.compactor.snapshot(room, rest=True)
    assert await stored(journal, snapshots) == set()
    assert await journal.rooms() == []
    again, peer = await joined(registry)
    again.submit(peer, typed(3, 0, "anew"))
    await until(lambda: again.log.saved == 1)
    assert await registry.compactor.snapshot(again, rest=True)
    assert await stored(journal, snapshots) == held([typed(3, 0, "anew")])


@pytest.mark.parametrize("how", ["hint", "next edit"])
async def test_deleted_after_the_journal_forgot(
    registry: Registry, journal: Journal, snapshots: FakeSnapshots, how: str
) -> None:
    """Where neither journal nor snapshot has anything of a room, its deletion holds for who has it in memory."""
    room, peer = await joined(registry)
    room.submit(peer, typed(1, 0, "one"))
    await until(lambda: room.log.saved == 1)
    journal._streams.clear()
    assert not await outside.delete(journal, snapshots, NAME)
    if how == "hint":
        await registry.recovery.check(NAME)
    else:
        room.submit(peer, typed(1, 3, "more"))
    await until(lambda: codes(peer))
    assert codes(peer) == [4410]
    await until(lambda: registry.recovery._reappending is None)
    assert await stored(journal, snapshots) == set()
    assert await journal.rooms() == []


async def test_delete_that_ends_half_way(registry: Registry, journal: Journal, snapshots: FakeSnapshots) -> None:
    """With the database away in the middle the room is as it was, can be stored, and deleted later."""
    room, peer = await joined(registry)
    room.submit(peer, typed(1, 0, "one"))
    await until(lambda: room.log.saved == 1)
    delete = snapshots.delete

    async def away(name: object, epoch: int = 0) -> bool:
        raise Unavailable("away")

    snapshots.delete = away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await outside.delete(journal, snapshots, NAME)
    await registry.recovery.check(NAME)
    await until(lambda: not room.saving.away and room.log.saved == len(room.log.flushes))
    assert await registry.compactor.snapshot(room, rest=True)
    assert await stored(journal, snapshots) == held([typed(1, 0, "one")])
    snapshots.delete = delete  # type: ignore[method-assign]
    assert await outside.delete(journal, snapshots, NAME)
    await registry.recovery.check(NAME)
    assert codes(peer) == [4410]


async def test_registry_deletes_the_same_way(registry: Registry, journal: Journal, snapshots: FakeSnapshots) -> None:
    """`Registry.delete` sends members away and leaves nothing; False for what never was."""
    room, peer = await joined(registry)
    room.submit(peer, typed(1, 0, "one"))
    await until(lambda: room.log.saved == 1)
    assert await registry.delete(NAME) is True
    assert codes(peer) == [4410]
    assert registry.loaded(NAME) is None
    assert await registry.delete(NAME) is False


async def test_check_sends_away_from_a_quarantined_room(
    registry: Registry, journal: Journal, snapshots: FakeSnapshots
) -> None:
    """Members of a room that an operator set aside are sent away; what they wrote is kept."""
    room, peer = await joined(registry)
    room.submit(peer, typed(1, 0, "one"))
    await until(lambda: room.log.saved == 1)
    await snapshots.quarantine(NAME, "odd")
    await registry.recovery.check(NAME)
    assert codes(peer) == [4423]
    with pytest.raises(Quarantined):
        await registry.open(NAME)
    with pytest.raises(Quarantined):
        await outside.write(journal, snapshots, NAME, [Edit(Actor(""), typed(2, 0))])
    await snapshots.release(NAME)
    assert await stored(journal, snapshots) == held([typed(1, 0, "one")])


async def test_check_of_a_room_that_nobody_changed(registry: Registry) -> None:
    """A hint that has come to nothing changes nothing, for a room that is open or not."""
    await registry.recovery.check(NAME)
    room, peer = await joined(registry)
    await registry.recovery.check(NAME)
    assert (room.saving.away, codes(peer), registry.loaded(NAME)) == (False, [], room)
