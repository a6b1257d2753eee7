"""One room open in several relays on the same journal and snapshots: whatever they do, no journalled edit is lost."""

import asyncio
import random
from typing import Any

import pytest
from fakes import InlineCodec, Peer, held, turns, typed, updates

from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.room.registry import Registry
from relay.room.room import Limits, Room
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import NodeId, RoomId

ROOM = RoomId("shared")


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

    async def snapshot(self, rest: bool = True) -> bool:
        return await self.registry.compactor.snapshot(await self.enter(), rest=rest)


@pytest.fixture
async def relays() -> list[Relay]:
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


@pytest.mark.parametrize("seed", range(60))
async def test_any_order_loses_nothing(relays: list[Relay], seed: int) -> None:
    """Relays type, snapshot, die and come back in any order: every journalled edit is in what is loaded next."""
    chance = random.Random(seed)
    wanted: set[tuple[int, int]] = set()
    client = 0
    for _ in range(40):
        number = chance.randrange(len(relays))
        relay = relays[number]
        match chance.choices(["type", "snapshot", "die"], [6, 3, 1])[0]:
            case "type":
                wanted.add(await relay.type(1 + number + 10 * client))
            case "snapshot":
                await relay.snapshot(rest=chance.random() < 0.5)
            case "die":
                client += 1
                relays[number] = Relay(f"n{number}", relay.journal._streams, relay.snapshots)
                relays[number].clock = 0
        assert await everything(relays[0]) == wanted


class Slow:
    """Makes the async calls of a store take a random number of turns before and after they take effect."""

    def __init__(self, store: Any, chance: random.Random) -> None:
        self._store, self._chance = store, chance

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)
        if name not in {"load", "store", "archive", "info", "read", "trim", "open"}:
            return call

        async def slowly(*args: Any, **kwargs: Any) -> Any:
            await turns(self._chance.randrange(8))
            result = await call(*args, **kwargs)
            await turns(self._chance.randrange(8))
            return result

        return slowly


@pytest.mark.parametrize("seed", range(40))
async def test_any_interleaving_loses_nothing(seed: int) -> None:
    """Relays that type and snapshot at the same time, every call taking its time, lose no journalled edit."""
    chance = random.Random(seed)
    streams: dict[Any, Any] = {}
    snapshots = MemorySnapshotStore()
    slow: Any = Slow(snapshots, chance)
    relays = [Relay(f"n{number}", streams, slow) for number in range(3)]
    for relay in relays:
        journal: Any = Slow(relay.journal, chance)
        relay.registry._journal = relay.registry.compactor._journal = journal
    wanted: set[tuple[int, int]] = set()

    async def types(number: int) -> None:
        for _ in range(15):
            wanted.add(await relays[number].type(1 + number))
            await turns(chance.randrange(20))

    async def snapshots_(number: int) -> None:
        for _ in range(6):
            await relays[number].snapshot(rest=chance.random() < 0.5)
            await turns(chance.randrange(30))

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            await relays[number].enter()
        for number in range(3):
            group.create_task(types(number))
            group.create_task(snapshots_(number))
    loaded = Relay("fresh", streams, snapshots)
    assert await everything(loaded) == wanted
