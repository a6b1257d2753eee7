"""Snapshots: archived and stored before anything is trimmed, retried when a service was away, poison set aside."""

import asyncio
from typing import Any

import pytest
from fakes import (
    NODE,
    FakeJournal,
    FakeSnapshots,
    InlineCodec,
    Peer,
    deleted,
    deletes,
    held,
    make_room,
    turns,
    typed,
    updates,
)

from relay.errors import RelayError, Unavailable
from relay.metrics import Counters
from relay.room import compactor as module
from relay.room.compactor import Compactor
from relay.room.join import answer
from relay.room.room import Room


class Bench:
    """A room with a compactor, and its one author."""

    def __init__(self) -> None:
        self.journal = FakeJournal()
        self.snapshots = FakeSnapshots(self.journal.calls)
        self.codec = InlineCodec()
        self.poisoned: list[Room] = []
        codec: Any = self.codec
        self.counters = Counters()
        self.compactor = Compactor(NODE, self.journal, self.snapshots, codec, self.counters, 16384, self._poison)
        self.author = Peer("ada")

    def _poison(self, room: Room, error: RelayError) -> None:
        self.poisoned.append(room)

    async def room_(self) -> Room:
        self.room = await make_room(self.journal)
        self.room.attach(self.author)
        return self.room

    async def write(self, *edits: bytes) -> None:
        for edit in edits:
            self.room.submit(self.author, edit)
            self.room.flush()
            await turns()

    async def stored(self) -> set[tuple[int, int]]:
        return held([segment.state for segment in await self.snapshots.load(self.room.name)])


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    await bench.room_()
    bench.journal.calls.clear()
    return bench


async def test_store_then_trim(bench: Bench) -> None:
    """What was typed is archived, then stored, and only then trimmed from the journal."""
    await bench.write(typed(1, 0), typed(1, 1))
    bench.journal.calls.clear()
    assert await bench.compactor.snapshot(bench.room, rest=False)
    assert bench.journal.calls == ["archive", "store", "trim"]
    assert await bench.stored() == {(1, 0), (1, 1)}
    assert await bench.journal.length(bench.room.name) == 0
    assert not bench.room.log.flushes
    history = await bench.snapshots.history(bench.room.name, None)
    assert [edit for entry in history for edit in entry.edits] == [("ada", typed(1, 0)), ("ada", typed(1, 1))]


async def test_nothing_to_do(bench: Bench) -> None:
    """A room without new edits is stored as it is."""
    assert await bench.compactor.snapshot(bench.room, rest=False)
    assert bench.journal.calls == []


async def test_edits_meanwhile_stay(bench: Bench) -> None:
    """Edits that arrive while a snapshot is made stay in the journal and in the room, behind it."""
    await bench.write(typed(1, 0))
    bench.snapshots.gate = asyncio.Event()
    making = asyncio.get_running_loop().create_task(bench.compactor.snapshot(bench.room, rest=False))
    await turns()
    await bench.write(typed(1, 1))
    bench.snapshots.gate.set()
    assert await making
    assert await bench.stored() == {(1, 0)}
    assert await bench.journal.length(bench.room.name) == 1
    assert bench.room.log.saved == 1
    reader = Peer("reader")
    bench.room.attach(reader)
    answer(bench.room, reader, b"\0")
    assert held(updates(reader.heard())) == {(1, 0), (1, 1)}


async def test_unsaved_edits_are_not_taken(bench: Bench) -> None:
    """What the journal does not have yet has no place in the order, so no snapshot holds it."""
    await bench.write(typed(1, 0))
    bench.journal.holding = True
    await bench.write(typed(1, 1))
    assert await bench.compactor.snapshot(bench.room, rest=False)
    assert await bench.stored() == {(1, 0)}
    bench.journal.answer()
    await turns()
    assert bench.room.log.saved == 1


@pytest.mark.parametrize("service", ["snapshots", "journal"])
async def test_service_away(bench: Bench, service: str) -> None:
    """With a service away nothing is lost, the room waits a moment before the next try, and that succeeds."""
    await bench.write(typed(1, 0))
    getattr(bench, service).down = True
    assert not await bench.compactor.snapshot(bench.room, rest=False)
    assert bench.compactor.busy(bench.room)
    assert await bench.journal.length(bench.room.name) == 1
    getattr(bench, service).down = False
    assert await bench.compactor.snapshot(bench.room, rest=False)
    assert not bench.compactor.busy(bench.room)
    assert await bench.stored() == {(1, 0)}


async def test_codec_pool_closed(bench: Bench) -> None:
    """A codec that is stopping is a service away, not poison."""
    await bench.write(typed(1, 0))
    bench.codec.failing = Unavailable("the codec pool is closed")
    assert not await bench.compactor.snapshot(bench.room, rest=False)
    assert bench.poisoned == []


async def test_poison(bench: Bench) -> None:
    """A document on which the codec dies is reported once and not tried again; nothing of it is trimmed."""
    await bench.write(typed(1, 0))
    bench.codec.dies = {"compact"}
    assert not await bench.compactor.snapshot(bench.room, rest=False)
    assert bench.poisoned == [bench.room]
    assert bench.compactor.busy(bench.room)
    bench.compactor.wake(bench.room)
    await turns()
    assert bench.poisoned == [bench.room]
    assert await bench.journal.length(bench.room.name) == 1


async def test_one_at_a_time(bench: Bench) -> None:
    """A room is snapshotted by one task at a time; who asks meanwhile gets a later snapshot, with what came since."""
    await bench.write(typed(1, 0))
    bench.codec.gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    first = loop.create_task(bench.compactor.snapshot(bench.room, rest=False))
    await turns()
    await bench.write(typed(1, 1))
    bench.compactor.wake(bench.room)
    second = loop.create_task(bench.compactor.snapshot(bench.room, rest=False))
    third = loop.create_task(bench.compactor.snapshot(bench.room, rest=False))
    await turns()
    assert bench.codec.jobs == ["compact"]
    bench.codec.gate.set()
    assert await asyncio.gather(first, second, third) == [True, True, True]
    assert await bench.stored() == {(1, 0), (1, 1)}
    assert not bench.room.log.flushes


async def test_small_tail_does_not_rewrite_a_large_base(bench: Bench) -> None:
    """A little typing in a long document adds a small segment; it is merged when the neighbours have grown alike."""
    await bench.write(typed(1, 0, "x" * 500))
    await bench.compactor.snapshot(bench.room, rest=False)
    await bench.write(typed(1, 500))
    await bench.compactor.snapshot(bench.room, rest=False)
    first, second = await bench.snapshots.load(bench.room.name)
    assert second.after == first.upto
    await bench.write(typed(1, 501, "y" * 400))
    await bench.compactor.snapshot(bench.room, rest=False)
    assert len(await bench.snapshots.load(bench.room.name)) == 1
    assert len(await bench.stored()) == 901


async def test_room_at_rest_is_one_segment(bench: Bench) -> None:
    """A small room that comes to rest is stored as one segment."""
    await bench.write(typed(1, 0, "x" * 500))
    await bench.compactor.snapshot(bench.room, rest=False)
    await bench.write(typed(1, 500))
    await bench.compactor.snapshot(bench.room, rest=True)
    assert len(await bench.snapshots.load(bench.room.name)) == 1


async def test_rest_rewrites_no_more_than_was_typed(bench: Bench) -> None:
    """A room that comes to rest after each key rewrites its last kilobyte, not its document."""
    await bench.write(typed(1, 0, "x" * 5000))
    await bench.compactor.snapshot(bench.room, rest=True)
    written = bench.counters.snapshot_bytes
    for clock in range(5000, 5050):
        await bench.write(typed(1, clock))
        assert bench.compactor.wants_rest(bench.room)
        await bench.compactor.snapshot(bench.room, rest=True)
        assert not bench.compactor.wants_rest(bench.room)
    assert len(await bench.snapshots.load(bench.room.name)) == 2
    assert bench.counters.snapshot_bytes - written < 50 * 100
    await bench.write(typed(1, 5050, "y" * 3000))
    await bench.compactor.snapshot(bench.room, rest=True)
    assert len(await bench.snapshots.load(bench.room.name)) == 1
    assert len(await bench.stored()) == 8050


async def test_slow_reader_across_a_snapshot(bench: Bench) -> None:
    """A reader that was paused while what it missed became a snapshot gets it from there, deletes included."""
    reader = Peer("reader")
    bench.room.attach(reader)
    await bench.write(typed(1, 0))
    reader.heard()
    bench.room.pause(reader)
    await bench.write(typed(1, 1), deleted(1, 0))
    await bench.compactor.snapshot(bench.room, rest=True)
    await bench.write(typed(1, 2))
    bench.room.catch_up(reader)
    found = updates(reader.heard())
    assert held(found) >= {(1, 1), (1, 2)}
    assert deletes(found) == {(1, 0)}


async def test_slow_author_across_a_snapshot(bench: Bench) -> None:
    """An author paused before its flush was saved, and snapshotted since, gets the others' part of that flush."""
    other = Peer("other")
    bench.room.attach(other)
    bench.journal.holding = True
    bench.room.submit(bench.author, typed(1, 0))
    bench.room.submit(other, typed(2, 0))
    bench.room.flush()
    bench.room.pause(other)
    bench.journal.answer()
    await turns()
    await bench.compactor.snapshot(bench.room, rest=True)
    bench.room.catch_up(other)
    assert (1, 0) in held(updates(other.heard()))


async def test_lost_journal_meanwhile(bench: Bench) -> None:
    """A journal that was lost while a snapshot was stored: the room keeps its flushes, which are appended again."""
    await bench.write(typed(1, 0))
    bench.snapshots.gate = asyncio.Event()
    making = asyncio.get_running_loop().create_task(bench.compactor.snapshot(bench.room, rest=False))
    await turns()
    bench.journal.forget()
    bench.room.saving.fail(Unavailable("gone"))
    opened = await bench.journal.open(bench.room.name, None)
    bench.room.log.reopen(opened.entries)
    bench.room.saving.resume(opened.epoch)
    bench.snapshots.gate.set()
    await making
    await turns()
    assert len(bench.room.log.flushes) == 1
    assert await bench.compactor.snapshot(bench.room, rest=False)
    assert await bench.stored() == {(1, 0)}
    assert not bench.room.log.flushes


async def test_other_node_stored_more(bench: Bench) -> None:
    """A refused store trims nothing, and is not repeated at every keystroke."""
    await bench.write(typed(1, 0))

    async def refuse(room: Any, segment: Any) -> bool:
        return False

    bench.snapshots.store = refuse  # type: ignore[method-assign]
    assert not await bench.compactor.snapshot(bench.room, rest=False)
    assert await bench.journal.length(bench.room.name) == 1
    jobs = len(bench.codec.jobs)
    bench.compactor.wake(bench.room)
    await turns()
    assert len(bench.codec.jobs) == jobs


async def test_closed_meanwhile(bench: Bench) -> None:
    """A room that was deleted or set aside while its snapshot was made is neither stored nor trimmed nor remembered."""
    await bench.write(typed(1, 0))
    bench.codec.gate = asyncio.Event()
    making = asyncio.get_running_loop().create_task(bench.compactor.snapshot(bench.room, rest=False))
    await turns()
    bench.journal.calls.clear()
    bench.room.closed = True
    bench.compactor.forget(bench.room)
    bench.codec.gate.set()
    await making
    assert bench.journal.calls == []


async def test_fails_after_it_was_forgotten(bench: Bench) -> None:
    """A snapshot that fails after its room left memory keeps nothing of the room alive."""
    await bench.write(typed(1, 0))
    bench.snapshots.gate = asyncio.Event()
    making = asyncio.get_running_loop().create_task(bench.compactor.snapshot(bench.room, rest=False))
    await turns()
    bench.room.closed = True
    bench.compactor.forget(bench.room)
    bench.snapshots.down = True
    bench.snapshots.gate.set()
    await making
    await turns()
    assert bench.compactor._not_before == {}
    assert bench.compactor._busy == {}


async def test_waiting_room_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the pause that a failure earns, a room that grows is snapshotted again."""
    monkeypatch.setattr(module, "RETRY", 0.0)
    await bench.write(typed(1, 0))
    bench.snapshots.down = True
    assert not await bench.compactor.snapshot(bench.room, rest=False)
    bench.snapshots.down = False
    bench.compactor.wake(bench.room)
    await turns(30)
    assert await bench.stored() == {(1, 0)}
