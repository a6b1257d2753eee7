"""A joiner gets what it lacks, whatever it has, and is told that it is in sync last."""

import asyncio
from typing import Any

import pytest
from fakes import (
    NAME,
    FakeJournal,
    InlineCodec,
    Peer,
    deleted,
    deletes,
    held,
    make_room,
    presence,
    turns,
    typed,
    updates,
)

from relay.codec.worker import JOBS
from relay.errors import Malformed
from relay.room import join
from relay.room.join import answer, answer_after_diff, needs_codec
from relay.room.log import Stored
from relay.room.room import Room
from relay.snapshot import Segment
from relay.types import Position
from relay.yjs.vector import encode_vector


def segment(number: int, *edits: bytes) -> Segment:
    state, clocks = JOBS["compact"](list(edits))
    return Segment(Position(1, number - 1, 0) if number > 1 else None, Position(1, number, 0), state, clocks)


async def room_of(*segments: Segment, tail: tuple[bytes, ...] = ()) -> Room:
    room = await make_room(FakeJournal(), segments=segments)
    author = Peer("author")
    room.attach(author)
    for update in tail:
        room.submit(author, update)
        room.flush()
        await turns()
    room.detach(author)
    room.presence.changed.clear()
    return room


async def asks(room: Room, vector: dict[int, int] | bytes) -> list[bytes]:
    member = Peer("joiner")
    room.attach(member)
    answer(room, member, vector if isinstance(vector, bytes) else encode_vector(vector))
    return member.heard()


BASE = (segment(1, typed(1, 0, "abcd")), segment(2, typed(1, 4, "ef"), typed(2, 0, "x"), deleted(1, 0)))
TAIL = (typed(1, 6), typed(2, 1))
EVERYTHING = {(1, clock) for clock in range(7)} | {(2, 0), (2, 1)}


async def test_empty_room() -> None:
    """A joiner of an empty room gets an empty Step2."""
    assert await asks(await room_of(), {}) == [b"\0\1\2\0\0"]


async def test_empty_client() -> None:
    """An empty client gets the stored bytes as they are, then the tail, and the last message alone is the Step2."""
    room = await room_of(*BASE, tail=TAIL)
    said = await asks(room, {})
    assert [message[:2] for message in said] == [b"\0\2", b"\0\2", b"\0\1"]
    found = updates(said)
    assert found[:2] == [link.state for link in BASE]
    assert held(found) == EVERYTHING
    assert deletes(found) == {(1, 0)}


@pytest.mark.parametrize("one", range(8))
@pytest.mark.parametrize("two", range(3))
async def test_partial_client(one: int, two: int) -> None:
    """A client with any part gets at least the rest, and every delete, since its vector says nothing of those."""
    room = await room_of(*BASE, tail=TAIL)
    found = updates(await asks(room, {1: one, 2: two}))
    has = {(1, clock) for clock in range(one)} | {(2, clock) for clock in range(two)}
    assert held(found) | has == EVERYTHING
    assert deletes(found) == {(1, 0)}


async def test_client_with_everything_gets_deletes_alone() -> None:
    """A client whose vector covers all of a snapshot is sent its deletes, not its contents."""
    room = await room_of(*BASE)
    found = updates(await asks(room, {1: 6, 2: 1}))
    assert held(found) == set()
    assert deletes(found) == {(1, 0)}


async def test_segment_of_deletes_alone() -> None:
    """Deletes that make up a whole segment reach a client that has everything else."""
    room = await room_of(segment(1, typed(1, 0, "abc")), segment(2, deleted(1, 1)))
    assert deletes(updates(await asks(room, {1: 3}))) == {(1, 1)}
    assert deletes(updates(await asks(room, {}))) == {(1, 1)}


async def test_client_that_claims_too_much() -> None:
    """A vector beyond what exists, or of clients that nobody knows, gets the deletes and no error."""
    room = await room_of(*BASE, tail=TAIL)
    found = updates(await asks(room, {1: 2**50, 2: 2**50, 77: 5}))
    assert deletes(found) == {(1, 0)}


TOO_LONG = b"\1\x80\x80\x80\x80\x80\x80\x80\x80\x80\1\1"


@pytest.mark.parametrize("vector", [b"", b"\1", b"\1\1", b"\xff\xff\xff\xff\x0f\1\1", b"\0\0", TOO_LONG])
async def test_malformed_vector(vector: bytes) -> None:
    """A broken vector raises Malformed."""
    room = await room_of(*BASE)
    with pytest.raises(Malformed):
        await asks(room, vector)
    with pytest.raises(Malformed):
        needs_codec(room, vector)


async def test_huge_vector() -> None:
    """A vector that would take long to read counts as an empty one: it costs its sender bytes, and nobody time."""
    room = await room_of(*BASE)
    vector = encode_vector(dict.fromkeys(range(1, 200000), 9))
    assert not needs_codec(room, vector)
    assert updates(await asks(room, vector)) == [link.state for link in BASE]


async def test_gap_is_sent() -> None:
    """Structs that wait for missing ones are sent like all others."""
    room = await room_of(segment(1, typed(1, 0), typed(1, 5)), tail=(typed(1, 9),))
    assert held(updates(await asks(room, {1: 1}))) == {(1, 5), (1, 9)}


async def test_who_is_here_comes_last() -> None:
    """Presence follows the Step2; a room where nobody is says nothing of it."""
    room = await room_of(*BASE)
    assert all(message[0] == 0 for message in await asks(room, {}))
    other = Peer("other")
    room.attach(other)
    room.announce(other, presence((5, 1, "{}")))
    said = await asks(room, {})
    assert [message[0] for message in said] == [0, 0, 1]
    assert said[-1][2:] == presence((5, 1, "{}"))


async def test_edits_not_saved_yet_are_sent() -> None:
    """A joiner gets what the journal does not have yet, as everybody in the room has it."""
    journal = FakeJournal()
    room = await make_room(journal)
    journal.holding = True
    author = Peer("author")
    room.attach(author)
    room.submit(author, typed(1, 0))
    room.flush()
    assert held(updates(await asks(room, {}))) == {(1, 0)}


async def test_tail_is_gathered_once() -> None:
    """Joiners share one gathered tail until there is another flush."""
    room = await room_of(tail=TAIL)
    await asks(room, {})
    first = join.tail(room)
    assert join.tail(room)[0] is first[0]
    author = Peer("author")
    room.attach(author)
    room.submit(author, typed(1, 7))
    room.flush()
    assert held(join.tail(room)) == held(first) | {(1, 7)}


def large(number: int, client: int) -> Segment:
    return segment(number, typed(client, 0, "x" * 20_000), typed(client, 20_000, "y" * 100))


async def test_part_of_a_large_segment() -> None:
    """A client that has part of a large segment waits for a codec process, and gets the rest of it."""
    room = await room_of(large(1, 1), tail=(typed(1, 20_100),))
    vector = encode_vector({1: 20_000})
    assert needs_codec(room, vector)
    assert not needs_codec(room, encode_vector({}))
    assert not needs_codec(room, encode_vector({1: 20_100}))
    member = Peer("joiner")
    room.attach(member)
    codec: Any = InlineCodec()
    await answer_after_diff(room, member, vector, codec)
    found = updates(member.heard())
    assert held(found) == {(1, clock) for clock in range(20_000, 20_101)}
    assert sum(map(len, found)) < 1000


async def test_very_many_authors() -> None:
    """A comparison with a segment by very many authors takes turns with others, and comes to the same answer."""
    authors = range(1, 3001)
    room = await room_of(segment(1, *(typed(client, 0, "ab") for client in authors)), tail=(typed(1, 2),))
    codec: Any = InlineCodec()
    assert not needs_codec(room, b"\0")
    for have, missing in (
        (dict.fromkeys(authors, 2), {(1, 2)}),
        ({1: 2}, {(client, clock) for client in authors for clock in (0, 1)} - {(1, 0), (1, 1)} | {(1, 2)}),
        ({1: 2, 3000: 1}, {(client, 0) for client in range(2, 3000)} | {(3000, 1), (1, 2)}),
    ):
        vector = encode_vector(have)
        assert needs_codec(room, vector)
        member = Peer("joiner")
        room.attach(member)
        await answer_after_diff(room, member, vector, codec)
        found = held(updates(member.heard()))
        assert missing <= found
        assert len(found) <= len(missing) + 3000 * (len(have) < 3000)
        room.detach(member)


async def test_codec_dies_on_a_diff() -> None:
    """When the codec fails, the joiner gets the whole segment: it is no fault of its own."""
    room = await room_of(large(1, 1))
    member = Peer("joiner")
    room.attach(member)
    codec: Any = InlineCodec()
    codec.dies = {"diff"}
    await answer_after_diff(room, member, encode_vector({1: 20_000}), codec)
    assert updates(member.heard()) == [room.log.segments[0].segment.state]


async def test_leaves_during_a_diff() -> None:
    """A client that left while its diff was made is written nothing: its address may be open again."""
    room = await room_of(large(1, 1))
    member = Peer("joiner", hocuspocus=True)
    room.attach(member)
    codec: Any = InlineCodec()
    codec.gate = asyncio.Event()
    answering = asyncio.get_running_loop().create_task(
        answer_after_diff(room, member, encode_vector({1: 20_000}), codec)
    )
    await turns()
    room.detach(member)
    codec.gate.set()
    await answering
    assert member.heard() == []


async def test_compacted_during_a_diff() -> None:
    """Segments replaced while a diff was made are answered as they are now: nothing is missing."""
    room = await room_of(large(1, 1), large(2, 2))
    member = Peer("joiner")
    room.attach(member)
    codec: Any = InlineCodec()
    codec.gate = asyncio.Event()
    answering = asyncio.get_running_loop().create_task(
        answer_after_diff(room, member, encode_vector({1: 20_000, 2: 20_000}), codec)
    )
    await turns()
    both = segment(1, *(stored.segment.state for stored in room.log.segments))
    room.log.segments = [Stored(both, 0)]
    codec.gate.set()
    await answering
    missing = {(client, clock) for client in (1, 2) for clock in range(20_000, 20_100)}
    assert missing <= held(updates(member.heard()))


async def test_large_states_are_shared() -> None:
    """A large state is written as the very bytes that are stored, behind its header."""
    room = await room_of(segment(1, typed(1, 0, "x" * 100_000)))
    written: list[bytes] = []
    member = Peer("joiner")
    room.attach(member)
    member.socket.write = written.append  # type: ignore[method-assign]
    answer(room, member, b"\0")
    assert any(data is room.log.segments[0].segment.state for data in written)
    assert room.name == NAME
