"""One room open in several relays on the same journal and snapshots: whatever they do, no journalled edit is lost."""

from typing import Any

import pytest
from fakes import InlineCodec, Peer, held, turns, typed, until, updates

from relay.journal import Entry
from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.room import outside, recovery
from relay.room.load import replay
from relay.room.registry import Registry
from relay.room.room import Limits, Room
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId

ROOM = RoomId("shared")
NEVER = Position(0, 0, 0)


class Relay:
    """A registry with a room of its own on stores that others use too, and one client in it."""

    def __init__(self, name: str, streams: dict[Any, Any], snapshots: MemorySnapshotStore) -> None:
        self.journal = MemoryJournal(NodeId(name))
        self.journal._streams = streams
        self.snapshots = snapshots
        codec: Any = InlineCodec()
        self.registry = Registry(NodeId(name), self.journal, snapshots, codec, Counters(), Limits(tail=1 << 30))
        self.peer = Peer(name)
        self.heard: list[bytes] = []
        self.clock = 0
        self.room: Room | None = None

    async def enter(self) -> Room:
        if self.room is None or self.room.closed:
            self.room = await self.registry.open(ROOM)
            self.registry.join(self.room, self.peer)
        return self.room

    async def type(self, client: int) -> tuple[int, int]:
        room = await self.enter()
        room.submit(self.peer, typed(client, self.clock))
        room.flush()
        await turns()
        self.clock += 1
        return client, self.clock - 1

    async def read(self) -> None:
        """Read what others have put into the journal, as a relay does when it is told of it."""
        room = await self.enter()
        have = room.log.saved_positions()
        entries = await self.journal.read(ROOM, room.log.upto(), None)
        codec: Any = InlineCodec()
        await replay(room, [entry for entry in entries if entry.position not in have], codec, 200)

    def at_rest(self) -> bool:
        """Whether the journal has all that it knows."""
        room = self.registry.rooms[ROOM]
        return not room.saving.away and room.log.saved == len(room.log.flushes)

    async def snapshot(self, rest: bool = True) -> bool:
        return await self.registry.compactor.snapshot(await self.enter(), rest=rest)


@pytest.fixture
async def relays(monkeypatch: pytest.MonkeyPatch) -> list[Relay]:
    monkeypatch.setattr(recovery, "RETRY", 0.001)
    streams: dict[Any, Any] = {}
    snapshots = MemorySnapshotStore()
    return [Relay(f"n{number}", streams, snapshots) for number in range(3)]


async def everything(relay: Relay) -> set[tuple[int, int]]:
    """What a relay that starts now loads."""
    fresh = Relay("fresh", relay.journal._streams, relay.snapshots)
    room = await fresh.enter()
    states = [stored.segment.state for stored in room.log.segments]
    return held(states + [payload for flush in room.log.flushes for payload in flush.payloads])


async def test_snapshot_takes_in_what_another_relay_wrote(relays: list[Relay]) -> None:
    """A relay that snapshots past another's entries holds them, and its clients get them."""
    ada, bob, _ = relays
    await bob.enter()
    typed_ = {await ada.type(1), await bob.type(2), await ada.type(1)}
    assert await ada.snapshot()
    assert held(updates(ada.peer.heard())) >= {(2, 0)}
    assert await everything(ada) == typed_


async def test_snapshot_that_others_overtook(relays: list[Relay]) -> None:
    """A relay whose entries and neighbours' another has stored and trimmed takes that chain for its own."""
    ada, bob, eve = relays
    await bob.enter()
    await eve.enter()
    wanted = {await ada.type(1), await bob.type(2)}
    assert await ada.snapshot()
    wanted |= {await bob.type(2), await eve.type(3)}
    assert await bob.snapshot()
    assert await eve.snapshot()
    assert held(updates(eve.peer.heard())) >= {(1, 0), (2, 0), (2, 1)}
    assert await everything(eve) == wanted


async def test_edit_read_back_before_it_is_answered(relays: list[Relay]) -> None:
    """An edit known twice, since it was read before its append was answered, does not hide one of another relay."""
    ada, bob, _ = relays
    room = await ada.enter()
    wanted = {await bob.type(2), await ada.type(1)}
    (flush,) = room.log.flushes
    room.absorb(Entry(flush.position or NEVER, NodeId("n0"), tuple(flush.edits)), flush.payloads, [])
    assert await ada.snapshot()
    assert await everything(ada) == wanted


async def test_journal_forgot_what_another_relay_never_read(relays: list[Relay]) -> None:
    """A relay that finds a stored chain past an edit of its own, which the journal forgot, keeps and repeats it."""
    ada, bob, _ = relays
    await bob.enter()
    wanted = {await ada.type(1)}
    ada.journal._streams.clear()
    wanted |= {await bob.type(2)}
    await until(lambda: not bob.registry.rooms[ROOM].saving.away)
    assert await bob.snapshot()
    assert not await ada.snapshot()
    await until(lambda: ada.registry.rooms[ROOM].log.saved == 1)
    assert await everything(bob) == wanted
    assert await ada.snapshot()
    assert await everything(bob) == wanted


async def test_journal_forgot_a_quiet_room(relays: list[Relay]) -> None:
    """A room at rest whose stream is gone, though no connection broke, is appended again and stored."""
    ada, _, _ = relays
    wanted = {await ada.type(1)}
    ada.journal._streams.clear()
    assert not await ada.snapshot()
    await until(lambda: ada.registry.rooms[ROOM].log.saved == 1)
    assert await ada.snapshot()
    ada.journal._streams.clear()
    assert await everything(ada) == wanted


async def test_journal_that_forgets_again_and_again(relays: list[Relay]) -> None:
    """Every relay appends again what the stream lost, and reads what the others append: however often the journal
    forgets, the stream does not grow, and nothing of it is missing."""
    ada = relays[0]
    wanted = {await relay.type(number) for number, relay in enumerate(relays, 1) for _ in range(4)}
    for relay in relays:
        await relay.read()
    lengths = []
    for number in range(5):
        ada.journal._streams.clear()
        for relay in relays if number % 2 else relays[::-1]:
            await relay.registry.recovery.check(ROOM)
        await until(lambda: all(relay.at_rest() for relay in relays))
        for relay in relays:
            await relay.read()
        lengths.append(await ada.journal.length(ROOM))
        assert await everything(ada) == wanted
    assert max(lengths) <= len(relays) * len(wanted), lengths
    for relay in relays:
        assert len(relay.registry.rooms[ROOM].log.flushes) <= 2 * len(relays) * len(wanted)
    assert await ada.snapshot()
    assert await everything(ada) == wanted


async def test_edits_from_outside_do_not_repeat_the_tail(relays: list[Relay]) -> None:
    """An edit from outside begins a new epoch, which has what the one before it had: nobody appends that again, and
    everybody gets the edit."""
    ada, bob, _ = relays
    wanted = {await ada.type(1), await bob.type(2), await ada.type(1)}
    operator = MemoryJournal(NodeId("outside"))
    operator._streams = ada.journal._streams
    for number in range(5):
        await outside.write(operator, ada.snapshots, ROOM, [Edit(Actor("api"), typed(9, number))])
        wanted.add((9, number))
        for relay in (ada, bob):
            await relay.registry.recovery.check(ROOM)
        await until(lambda: ada.at_rest() and bob.at_rest())
    for relay in (ada, bob):
        assert held(updates(relay.peer.heard())) >= {(9, number) for number in range(5)}
    assert await ada.journal.length(ROOM) <= len(wanted) + 2
    assert await everything(ada) == wanted
