"""A room that is open in two relays: edits and cursors cross, and a relay that goes silent takes its cursors along."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from fakes import InlineCodec, Peer, alone, held, turns, typed, until, updates

from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.protocol.presence import decode, encode
from relay.room import neighbours as module
from relay.room import registry as registry_module
from relay.room.registry import Registry
from relay.room.room import Limits, Room
from relay.shard.memory import MemoryChannels, Switchboard
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import NodeId, RoomId
from relay.yjs.lib0 import write_bytes, write_uint

ROOM = RoomId("shared")


class Node:
    """A relay with one client in the room."""

    def __init__(self, name: str, streams: dict[Any, Any], snapshots: MemorySnapshotStore, board: Switchboard) -> None:
        journal = MemoryJournal(NodeId(name))
        journal._streams = streams
        codec: Any = InlineCodec()
        self.name = NodeId(name)
        self.board = board
        self.registry = Registry(
            self.name,
            journal,
            snapshots,
            codec,
            Counters(),
            Limits(),
            channels=lambda heard, reset: MemoryChannels(board, self.name, heard),
        )
        self.registry.start()
        self.peer = Peer(name)

    async def enter(self) -> Room:
        self.room = await self.registry.open(ROOM)
        self.registry.join(self.room, self.peer)
        return self.room

    def seen(self) -> set[int]:
        """The client ids with a cursor, as this relay's client knows."""
        known: dict[int, bool] = {}
        for message in self.heard:
            if message[:1] == b"\1":
                for state in decode(message[2:] if message[1] < 128 else message[3:]):
                    known[state.client] = not state.null
        return {client for client, there in known.items() if there}

    @property
    def heard(self) -> list[bytes]:
        self._heard = [*getattr(self, "_heard", []), *self.peer.heard()]
        return self._heard


def cursor(client: int, clock: int, state: bytes = b"{}") -> bytes:
    return encode([write_uint(client) + write_uint(clock) + write_bytes(state)])


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Node, Node]]:
    monkeypatch.setattr(registry_module, "TICK", 0.02)
    monkeypatch.setattr(module, "SILENT", 0.1)
    make = partial(Node, streams={}, snapshots=MemorySnapshotStore(), board=Switchboard())
    ada, bob = make("ada"), make("bob")
    yield ada, bob
    await ada.registry.close(1)
    await bob.registry.close(1)
    ada.board.listeners.clear()
    await asyncio.sleep(2 * module.GATHER)  # what gathered is told, to nobody
    await alone()


async def test_edits_cross(pair: tuple[Node, Node]) -> None:
    """What is typed in one relay reaches the clients of the other, and back."""
    ada, bob = pair
    await ada.enter()
    ada.room.submit(ada.peer, typed(1, 0))
    await bob.enter()
    await until(lambda: ada.room.on_saved and bob.room.on_saved)
    ada.room.submit(ada.peer, typed(1, 1))
    bob.room.submit(bob.peer, typed(2, 0))
    await until(lambda: (2, 0) in held(updates(ada.heard)))
    await until(lambda: (1, 1) in held(updates(bob.heard)))
    assert ada.room.known.vector() == bob.room.known.vector() == {1: 2, 2: 1}


async def test_edit_whose_message_was_lost(pair: tuple[Node, Node]) -> None:
    """A relay that heard nothing of new entries finds them a moment later."""
    ada, bob = pair
    await ada.enter()
    await bob.enter()
    await until(lambda: ada.room.on_saved and bob.room.on_saved)
    ada.room.on_saved = None
    ada.room.submit(ada.peer, typed(1, 0))
    await until(lambda: (1, 0) in held(updates(bob.heard)))


async def test_edits_trimmed_before_they_were_read(pair: tuple[Node, Node]) -> None:
    """What another relay has stored and trimmed is found in its snapshot."""
    ada, bob = pair
    await ada.enter()
    await bob.enter()
    bob.board.cut |= {ada.name, bob.name}
    await until(lambda: not bob.registry.neighbours or not bob.registry.neighbours.others(bob.room))
    ada.room.submit(ada.peer, typed(1, 0))
    await until(lambda: ada.room.log.saved == 1)
    assert await ada.registry.compactor.snapshot(ada.room, rest=True)
    assert held(updates(bob.heard)) == set()
    bob.board.cut.clear()
    bob.registry._unheard()
    await until(lambda: (1, 0) in held(updates(bob.heard)))


async def test_cursors_cross(pair: tuple[Node, Node]) -> None:
    """Cursors of one relay's clients show in the other, those from before it joined too, and vanish with them."""
    ada, bob = pair
    await ada.enter()
    ada.room.announce(ada.peer, cursor(1, 1))
    await turns()
    await bob.enter()
    await until(lambda: 1 in bob.seen())
    bob.room.announce(bob.peer, cursor(2, 1))
    await until(lambda: 2 in ada.seen())
    ada.registry.leave(ada.room, ada.peer)
    await until(lambda: 1 not in bob.seen())


async def test_dead_relay_takes_its_cursors_along(pair: tuple[Node, Node]) -> None:
    """A relay that says nothing any more is taken to be gone."""
    ada, bob = pair
    await ada.enter()
    await bob.enter()
    ada.room.announce(ada.peer, cursor(1, 1))
    await until(lambda: 1 in bob.seen())
    bob.board.cut.add(ada.name)
    bob.board.listeners[ROOM].pop(ada.name)
    await until(lambda: 1 not in bob.seen())
    await until(lambda: bob.room.on_saved is None)


async def test_client_that_moves_to_another_relay(pair: tuple[Node, Node]) -> None:
    """Its client id belongs to whoever serves it now."""
    ada, bob = pair
    await ada.enter()
    await bob.enter()
    ada.room.announce(ada.peer, cursor(7, 1))
    await until(lambda: 7 in bob.seen())
    bob.room.announce(bob.peer, cursor(7, 1, b'{"x":1}'))
    await until(lambda: any(b'{"x":1}' in message for message in bob.heard))


async def test_garbled_message(pair: tuple[Node, Node]) -> None:
    """A message that makes no sense changes nothing."""
    ada, _ = pair
    await ada.enter()
    for said in (b"p\xff\xff\xff", b"?", b"e"):
        ada.registry._heard(ROOM, NodeId("stranger"), said)
    ada.registry._heard(RoomId("not open"), NodeId("stranger"), b"h")
    await turns()
    ada.room.submit(ada.peer, typed(1, 0))
    await until(lambda: ada.room.log.saved == 1)


async def test_one_home(pair: tuple[Node, Node]) -> None:
    """Of two relays that know of each other one makes the snapshots."""
    ada, bob = pair
    await ada.enter()
    await bob.enter()
    first, second = ada.registry.neighbours, bob.registry.neighbours
    assert first is not None
    assert second is not None
    await until(lambda: first.others(ada.room) and second.others(bob.room))
    assert first.is_home(ada.room) != second.is_home(bob.room)
