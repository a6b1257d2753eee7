"""Journal entries become a room as it was."""

from typing import Any

import pytest
from fakes import NODE, FakeJournal, InlineCodec, deleted, deletes, held, make_room, rough, typed

from relay.errors import CodecDied, Malformed
from relay.journal import Entry
from relay.room.join import tail
from relay.room.load import replay
from relay.room.room import Room
from relay.types import Actor, Edit, Position
from relay.yjs.update import parse


def entry(number: int, *updates: bytes) -> Entry:
    return Entry(Position(1, number, 0), NODE, tuple(Edit(Actor("ada"), update) for update in updates))


async def replayed(*entries: Entry, codec: Any = None) -> Room:
    room = await make_room(FakeJournal())
    await replay(room, entries, codec or InlineCodec(), 1000)
    return room


async def test_what_was_typed() -> None:
    """Everything is there, saved, in order, with what is known of it."""
    room = await replayed(entry(1, typed(1, 0), typed(2, 0)), entry(2, typed(1, 1), deleted(2, 0)))
    assert held(tail(room)) == {(1, 0), (1, 1), (2, 0)}
    assert deletes(tail(room)) == {(2, 0)}
    assert room.known.vector() == {1: 2, 2: 1}
    assert room.log.saved == room.number == 2
    assert [flush.position for flush in room.log.flushes] == [Position(1, 1, 0), Position(1, 2, 0)]


async def test_large_edit_goes_through_the_codec() -> None:
    """An update too large for the loop is read by a codec process, and comes before the small ones of its entry."""
    codec = InlineCodec()
    large = typed(1, 0, "x" * 2000)
    room = await replayed(entry(1, large, typed(1, 2000)), codec=codec)
    assert codec.jobs == ["summarise"]
    assert room.log.flushes[0].payloads == [large, typed(1, 2000)]
    assert room.known.vector() == {1: 2001}


async def test_rough_edit() -> None:
    """An update that Yjs would misread is passed on as it reads it whole."""
    room = await replayed(entry(1, rough(1, 0, ["ab", "cd"])))
    assert all(parse(update).plain for update in tail(room))
    assert held(tail(room)) == {(1, clock) for clock in range(4)}


async def test_many_entries() -> None:
    """More entries than are taken in at one turn of the loop are all there."""
    room = await replayed(*(entry(clock + 1, typed(1, clock)) for clock in range(250)))
    assert room.known.vector() == {1: 250}


async def test_poison() -> None:
    """Bytes that are no update, and bytes on which the codec dies, are told apart from services that are away."""
    with pytest.raises(Malformed):
        await replayed(entry(1, b"\1\1\1"))
    codec = InlineCodec()
    codec.dies = {"summarise"}
    with pytest.raises(CodecDied):
        await replayed(entry(1, typed(1, 0, "x" * 2000)), codec=codec)
