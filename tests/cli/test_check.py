"""`relay rooms check`: what differs between snapshot, journal, history and relays is found, and nothing else."""

from typing import Any

import pytest
from fakes import InlineCodec, Peer, deleted, typed, until

from relay.cli.check import check_room
from relay.cli.services import Services
from relay.journal import Entry
from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.room import outside
from relay.room.registry import Registry
from relay.room.room import Limits, Room
from relay.shard.redis import RedisChannels
from relay.snapshot import Segment
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId

ROOM = RoomId("checked")


class House:
    """Stores, a relay on them, and what the command works with."""

    def __init__(self, url: str) -> None:
        codec: Any = InlineCodec()
        self.journal = MemoryJournal(NodeId("relay"))
        self.snapshots = MemorySnapshotStore()
        self.registry = Registry(
            NodeId("relay"),
            self.journal,
            self.snapshots,
            codec,
            Counters(),
            Limits(tail=1 << 30),
            channels=lambda heard, reset: RedisChannels(url, NodeId("relay"), heard, reset),
        )
        self.services = Services(self.journal, self.snapshots, codec, url)
        self.room: Room

    async def open(self, *edits: bytes) -> Peer:
        self.room, peer = await self.registry.open(ROOM), Peer("ann")
        self.registry.join(self.room, peer)
        for edit in edits:
            self.room.submit(peer, edit)
        self.room.flush()
        await until(lambda: self.room.log.saved == len(self.room.log.flushes) > 0)
        return peer

    async def wrong(self) -> list[str]:
        return (await check_room(self.services, ROOM)).wrong


@pytest.fixture
async def house(valkey: Any) -> Any:
    made = House(valkey.url)
    yield made
    neighbours = made.registry.neighbours
    assert neighbours is not None
    await made.registry.close(1.0)
    await neighbours._channels.close()


async def test_all_the_same(house: House) -> None:
    """A room that is open, stored in part, deleted from and typed in differs in nothing."""
    peer = await house.open(typed(1, 0, "abcdef"), deleted(1, 1, 2), typed(2, 0))
    assert (await check_room(house.services, ROOM)).relays == 1
    assert await house.wrong() == []
    assert await house.registry.compactor.snapshot(house.room, rest=True)
    assert await house.wrong() == []
    house.room.submit(peer, deleted(1, 4))
    house.room.submit(peer, typed(2, 1))
    house.room.flush()
    await until(lambda: house.room.log.saved == len(house.room.log.flushes) > 0)
    assert await house.wrong() == []


@pytest.mark.parametrize("more", [typed(2, 0), deleted(1, 4)], ids=["edit", "deletion"])
@pytest.mark.parametrize("where", ["relay", "stores"])
@pytest.mark.parametrize("large", [False, True])
async def test_relay_differs(house: House, more: bytes, where: str, large: bool) -> None:
    """A relay that has an edit or only a deletion more than is stored, or less, is named."""
    many = [deleted(1, 2 * clock) for clock in range(10_000 if large else 3) if clock != 2]
    await house.open(typed(1, 0, "a" * 30_000), *many)
    assert await house.wrong() == []
    if where == "relay":
        await house.open(more)
        stream = house.journal._streams[ROOM]
        last = stream.entries.pop()
        stream.entries[-1] = stream.entries[-1]._replace(position=last.position)
    else:
        stream = house.journal._streams[ROOM]
        last = stream.entries[-1]
        stream.entries[-1] = last._replace(edits=(*last.edits, Edit(Actor("eve"), more)))
    assert await house.wrong() == ["relay relay holds other edits or deletions than are stored"]


@pytest.mark.parametrize("lost", [typed(2, 0), deleted(1, 0)], ids=["edit", "deletion"])
async def test_history_has_more(house: House, lost: bytes) -> None:
    """What was archived and is not stored any more is found, deletions too."""
    await house.open(typed(1, 0, "abc"))
    assert await house.registry.compactor.snapshot(house.room, rest=True)
    entry = Entry(Position(1, 1, 1), NodeId("n"), (Edit(Actor("ann"), lost),))
    await house.snapshots.archive(ROOM, [entry])
    (wrong,) = await house.wrong()
    assert wrong.startswith("the history has, and what is stored has not: ")
    assert wrong.endswith("2:0+1" if lost == typed(2, 0) else "deletion of 1:0+1")


async def test_segment_lacks_what_it_claims(house: House) -> None:
    """A summary that does not fit its state is found, and one that can't be read."""
    codec = house.services.codec
    _, clocks = await codec.compact([typed(1, 0, "abc")])
    state, _ = await codec.compact([typed(1, 0, "a")])
    await house.snapshots.store(ROOM, Segment(None, Position(1, 1, 0), state, clocks))
    assert await house.wrong() == ["the segment up to 1:1-0 lacks ids that it claims"]
    await house.snapshots.delete(ROOM)
    await house.snapshots.store(ROOM, Segment(None, Position(1, 1, 0), state, b"\xff\xff\xff"))
    (wrong,) = await house.wrong()
    assert wrong.startswith("the summary of the segment up to 1:1-0 can't be read: ")


async def test_set_aside_or_unknown(house: House) -> None:
    """A room set aside says why; one that never was has nothing wrong."""
    assert await house.wrong() == []
    await outside.write(house.journal, house.snapshots, ROOM, [Edit(Actor("ann"), typed(1, 0))])
    await house.snapshots.quarantine(ROOM, "odd")
    assert await house.wrong() == ["set aside: odd"]
