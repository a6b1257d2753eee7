"""Who has a room open."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from fakes import InlineCodec, Peer, alone, pass_time, turns, typed, until

from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.room.neighbours import GATHER
from relay.room.registry import Registry
from relay.room.room import Limits
from relay.room.where import Holder, who_has
from relay.shard.memory import MemoryChannels, Switchboard
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import NodeId, RoomId

ROOM = RoomId("shared")


@pytest.fixture
async def relay() -> AsyncIterator[Callable[[str], Registry]]:
    """`relay(id)`: a relay on the same stores; all are closed in the end."""
    streams: dict[Any, Any] = {}
    snapshots = MemorySnapshotStore()
    registries: list[Registry] = []

    def start(name: str) -> Registry:
        journal = MemoryJournal(NodeId(name))
        journal._streams = streams
        codec: Any = InlineCodec()
        channels = partial(MemoryChannels, BOARD, NodeId(name))
        registry = Registry(
            NodeId(name), journal, snapshots, codec, Counters(), Limits(), channels=lambda heard, reset: channels(heard)
        )
        registry.start()
        registries.append(registry)
        return registry

    yield start
    for registry in registries:
        await registry.close(1.0)
    BOARD.listeners.clear()
    await asyncio.sleep(2 * GATHER)  # what gathered is told, to nobody
    await alone()


BOARD = Switchboard()
ask = partial(who_has, partial(MemoryChannels, BOARD, NodeId("asker")), ROOM)


async def test_nobody(relay: Any) -> None:
    """A room that is open nowhere is had by nobody, which takes no waiting."""
    relay("a")
    async with asyncio.timeout(10):
        assert await ask(patience=60) == []


async def test_two(relay: Any) -> None:
    """Every relay that has it answers with its clients and how far it has read; one of them is home."""
    first, second = relay("a"), relay("b")
    for registry, clients in ((first, 2), (second, 1)):
        room = await registry.open(ROOM)
        for number in range(clients):
            registry.join(room, Peer(f"{number}"))
    await until(lambda: len(first.neighbours.others(first.loaded(ROOM))) == 1)
    await until(lambda: len(second.neighbours.others(second.loaded(ROOM))) == 1)
    async with asyncio.timeout(10):
        found = await ask(patience=60)
    assert [(one.node, one.home, one.clients, one.unsaved) for one in found] == [("a", True, 2, 0), ("b", False, 1, 0)]
    room = first.loaded(ROOM)
    member = next(iter(room.members))
    room.submit(member, typed(7, 0))
    room.flush()
    await until(lambda: room.log.saved)
    found = await ask(patience=60)
    assert found[0].position == str(max(room.log.saved_positions()))


async def test_asking_shares_nothing(relay: Any) -> None:
    """A question does not make a room shared: asking costs nothing later."""
    registry = relay("a")
    room = await registry.open(ROOM)
    await asyncio.sleep(0.01)
    await ask()
    assert registry.neighbours.others(room) == []
    assert room.on_saved is None


async def test_silent(relay: Any) -> None:
    """Whoever listens and does not answer is not waited for."""
    registry = relay("a")
    await registry.open(ROOM)
    mute = MemoryChannels(BOARD, NodeId("mute"), lambda room, node, said: None)
    await mute.listen(ROOM)
    asking = asyncio.ensure_future(ask(patience=60))  # noqa: TID251
    await turns(20)
    assert not asking.done()
    pass_time(60)
    assert [one.node for one in await asking] == ["a"]
    await mute.close()


@pytest.mark.parametrize("said", [b"", b"h", b"a", b"a[1]", b'a{"node": "x"}', b'b{"node": "x"}'])
def test_garbled(said: bytes) -> None:
    """What is no answer is none."""
    assert Holder.decode(said) is None


def test_round_trip() -> None:
    """An answer is read as it was said."""
    holder = Holder(NodeId("a"), False, 3, "1:2-3", 4)
    assert Holder.decode(holder.encode()) == holder
