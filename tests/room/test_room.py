"""A room: everybody gets an edit, its author hears that it is saved once the journal has it, and nobody misses one."""

import asyncio
from time import perf_counter

import pytest
from fakes import (
    FakeJournal,
    FakeSocket,
    Peer,
    acknowledged,
    deleted,
    held,
    make_room,
    pass_time,
    presence,
    rough,
    turns,
    typed,
    until,
    updates,
)

from relay import closing
from relay.codec.worker import JOBS
from relay.errors import Deny, Malformed, StreamLost, Unavailable
from relay.journal import Entry
from relay.protocol.presence import decode
from relay.room import room as module
from relay.room.join import answer
from relay.room.room import Limits, Room
from relay.snapshot import Segment
from relay.types import NodeId, Position
from relay.yjs.compact import compact
from relay.yjs.update import TooManyStructs, parse


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
async def room(journal: FakeJournal) -> Room:
    return await make_room(journal)


def enter(room: Room, *names: str, hocuspocus: bool = True, ack: bool = False) -> list[Peer]:
    members = [Peer(name, hocuspocus=hocuspocus, ack=ack) for name in names]
    for member in members:
        room.attach(member)
    return members


async def flush(room: Room) -> None:
    room.flush()
    await turns()


async def some_updates(peer: Peer) -> list[bytes]:
    """Those that come first."""
    found: list[bytes] = []
    await until(lambda: found.extend(peer.updates()) or found)
    return found


# -- acknowledgement --


async def test_others_hear_before_the_journal_has_it(room: Room, journal: FakeJournal) -> None:
    """Everybody but the author has the edit while the journal does not; the author hears nothing."""
    ada, bob = enter(room, "ada", "bob")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    await flush(room)
    assert bob.updates() == [typed(1, 0)]
    assert ada.heard() == []
    journal.answer()
    await turns()
    assert ada.heard() == [b"\x08\x01"]
    assert bob.heard() == []


async def test_one_status_for_each_update(room: Room) -> None:
    """A Hocuspocus client gets exactly one SyncStatus for each update, several in one flush or one that is known."""
    (ada,) = enter(room, "ada")
    for clock in range(3):
        room.submit(ada, typed(1, clock))
    room.submit(ada, typed(1, 1))
    await flush(room)
    assert ada.heard() == [b"\x08\x01"] * 4
    room.submit(ada, typed(1, 2))
    await flush(room)
    assert ada.heard() == [b"\x08\x01"]


async def test_edits_delivered_are_counted(room: Room) -> None:
    """An edit counts once for everybody but its author, also for those who share its flush."""
    ada, bob, _ = enter(room, "ada", "bob", "carol")
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    await turns()
    assert room.counters.edits_out == 2 * 2
    room.submit(ada, typed(1, 1))
    await flush(room)
    await turns()
    assert room.counters.edits_out == 2 * 2 + 2


async def test_duplicate_of_an_edit_in_flight_waits_with_it(room: Room, journal: FakeJournal) -> None:
    """Repeating an edit that the journal does not have yet is acknowledged when it has it."""
    ada, bob = enter(room, "ada", "bob")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    await flush(room)
    room.submit(bob, typed(1, 0))
    await flush(room)
    assert acknowledged(bob.heard()) == 0
    journal.answer()
    await turns()
    assert (acknowledged(ada.heard()), acknowledged(bob.heard())) == (1, 1)


async def test_opted_in_ack_for_each_update(room: Room) -> None:
    """A y-websocket client with `?ack=1` gets one ack for each update too."""
    (ada,) = enter(room, "ada", hocuspocus=False, ack=True)
    room.submit(ada, typed(1, 0))
    room.submit(ada, typed(1, 1))
    await flush(room)
    assert acknowledged(ada.heard()) == 2


async def test_echo_only_after_the_journal_has_it(room: Room, journal: FakeJournal) -> None:
    """A y-websocket author gets the merged frame that holds its own edit when that is saved, and not before."""
    ada, bob, eve = enter(room, "ada", "bob", "eve", hocuspocus=False)
    journal.holding = True
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    (merged,) = eve.updates()
    assert held([merged]) == {(1, 0), (2, 0)}
    assert ada.heard() == bob.heard() == []
    journal.answer()
    await turns()
    assert ada.updates() == bob.updates() == [merged]


async def test_echoes_of_one_author_alone_come_together(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A y-websocket author who types alone sees its saved edits come back a little later, in one write."""
    monkeypatch.setattr("relay.room.saving.ECHO_WINDOW", 60.0)
    ada, bob = enter(room, "ada", "bob", hocuspocus=False)
    for clock in range(3):
        room.submit(ada, typed(1, clock))
        await flush(room)
    assert held(bob.updates()) == {(1, 0), (1, 1), (1, 2)}
    assert ada.heard() == []
    pass_time(60)
    await turns()
    assert held(ada.updates()) == {(1, 0), (1, 1), (1, 2)}


async def test_author_alone_gets_no_echo_over_hocuspocus(room: Room) -> None:
    """A Hocuspocus author whose flush holds nothing of others hears SyncStatus alone; with others, their edits too."""
    ada, bob = enter(room, "ada", "bob")
    room.submit(ada, typed(1, 0))
    await flush(room)
    assert ada.heard() == [b"\x08\x01"]
    bob.heard()
    room.submit(ada, typed(1, 1))
    room.submit(bob, typed(2, 0))
    await flush(room)
    assert held(ada.updates()) == held(bob.updates()) == {(1, 1), (2, 0)}


async def test_departed_author(room: Room, journal: FakeJournal) -> None:
    """An author who left is written nothing, and its edit is journalled and reaches the others all the same."""
    ada, bob = enter(room, "ada", "bob")
    room.submit(ada, typed(1, 0))
    room.detach(ada)
    await flush(room)
    assert ada.heard() == []
    assert bob.updates() == [typed(1, 0)]
    assert await journal.length(room.name) == 1


async def test_flushes_at_the_end_of_the_turn(room: Room) -> None:
    """An idle room sends at once, without being asked."""
    ada, bob = enter(room, "ada", "bob")
    room.submit(ada, typed(1, 0))
    await turns(1)
    assert bob.updates() == [typed(1, 0)]


async def test_cursors_gather_for_a_moment(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cursors that move at about the same time share a frame; an edit takes along those that wait."""
    monkeypatch.setattr(module, "CURSORS", 60.0)
    ada, bob, eve = enter(room, "ada", "bob", "eve")
    room.announce(ada, presence((1, 1, "{}")))
    await turns()
    room.announce(bob, presence((2, 1, "{}")))
    assert eve.heard() == []
    pass_time(60)
    await turns()
    assert len(eve.heard()) == 1
    room.announce(ada, presence((1, 2, "{}")))
    room.submit(bob, typed(2, 0))
    await turns()
    assert len(eve.heard()) == 2
    pass_time(60)
    await turns()
    assert eve.heard() == []


async def test_busy_room_gathers(room: Room) -> None:
    """After a flush that took long, edits gather until it is paid off."""
    ada, bob = enter(room, "ada", "bob")
    room.pace.ready = perf_counter() + 60
    for clock in range(5):
        room.submit(ada, typed(1, clock))
        await turns(1)
    for _ in range(2):
        assert bob.heard() == []
        pass_time(30)
        await turns()
    found = bob.updates()
    assert len(found) == 1
    assert held(found) == {(1, clock) for clock in range(5)}


# -- what is refused --


async def test_malformed_update_touches_nobody(room: Room) -> None:
    """Bytes that are no update raise Malformed and leave the room as it was."""
    ada, bob = enter(room, "ada", "bob")
    with pytest.raises(Malformed):
        room.submit(ada, b"\1\1\1")
    await flush(room)
    assert ada.heard() == bob.heard() == []
    assert room.log.size == 0


async def test_many_structs_go_elsewhere(journal: FakeJournal) -> None:
    """An update of more structs than the loop may read raises TooManyStructs, and nothing is taken of it."""
    room = await make_room(journal, Limits(inline_structs=2))
    (ada,) = enter(room, "ada")
    with pytest.raises(TooManyStructs):
        room.submit(ada, rough(1, 0, ["a", "b", "c"]))
    assert room.known.vector() == {}


async def test_document_over_its_limit(journal: FakeJournal) -> None:
    """New edits of a document over its limit are refused with 4413; repeating old ones is not an edit."""
    room = await make_room(journal, Limits(document=100))
    (ada,) = enter(room, "ada")
    room.submit(ada, typed(1, 0, "x" * 120))
    await flush(room)
    ada.heard()
    with pytest.raises(Deny) as refused:
        room.submit(ada, typed(1, 120))
    assert refused.value.code == closing.DOCUMENT_TOO_BIG.code
    room.submit(ada, typed(1, 0, "x" * 120))
    await flush(room)
    assert acknowledged(ada.heard()) == 1


async def test_room_full(journal: FakeJournal) -> None:
    """One client too many is told to come back later."""
    room = await make_room(journal, Limits(clients=1))
    enter(room, "ada")
    with pytest.raises(Deny) as refused:
        enter(room, "bob")
    assert refused.value.code == closing.OVERLOADED.code


async def test_sections_of_one_client_are_joined(room: Room, journal: FakeJournal) -> None:
    """An update of which Yjs would read the last section alone is passed on in a form that it reads whole."""
    ada, bob = enter(room, "ada", "bob")
    room.submit(ada, rough(1, 0, ["ab", "cd"]))
    await flush(room)
    (got,) = bob.updates()
    assert parse(got).plain
    assert held([got]) == {(1, clock) for clock in range(4)}


async def test_sections_are_joined_for_co_authors_too(room: Room, journal: FakeJournal) -> None:
    """Likewise when the journal is away and an author is told of another's edit alone."""
    ada, bob = enter(room, "ada", "bob")
    room.saving.fail(Unavailable("down"))
    room.submit(ada, rough(1, 0, ["ab", "cd"]))
    room.submit(bob, typed(2, 0))
    await flush(room)
    (got,) = bob.updates()
    assert parse(got).plain
    assert held([got]) == {(1, clock) for clock in range(4)}


# -- large updates --


def large(client: int, clock: int, size: int) -> tuple[bytes, bytes]:
    update = typed(client, clock, "x" * size)
    return update, JOBS["summarise"](update)[1]


async def test_large_update_travels_unmerged_before_what_builds_on_it(room: Room) -> None:
    """What a codec process read is passed on as it came, before the small edits of its tick."""
    ada, bob = enter(room, "ada", "bob")
    room.submit_large(ada, *large(1, 0, 20_000))
    room.submit(ada, typed(1, 20_000))
    await flush(room)
    assert bob.updates() == [typed(1, 0, "x" * 20_000), typed(1, 20_000)]
    assert acknowledged(ada.heard()) == 2


async def test_large_update_that_is_known(room: Room, journal: FakeJournal) -> None:
    """A large update with nothing new in it is acknowledged; it is neither journalled nor sent again."""
    ada, bob = enter(room, "ada", "bob")
    update, clocks = large(1, 0, 20_000)
    room.submit_large(ada, update, clocks)
    await flush(room)
    room.submit(ada, deleted(1, 5))
    await flush(room)
    assert len(bob.updates()) == 2
    ada.heard()
    room.submit_large(ada, update[:-1] + deleted(1, 5)[1:], clocks)
    await flush(room)
    assert acknowledged(ada.heard()) == 1
    assert bob.heard() == []
    assert await journal.length(room.name) == 2


async def test_large_update_of_new_deletes(room: Room, journal: FakeJournal) -> None:
    """A large update whose structs are all known but not its deletes is an edit."""
    ada, bob = enter(room, "ada", "bob")
    update, clocks = large(1, 0, 20_000)
    room.submit_large(ada, update, clocks)
    await flush(room)
    bob.heard()
    again = update[:-1] + deleted(1, 5)[1:]
    room.submit_large(ada, again, clocks)
    await flush(room)
    assert bob.updates() == [again]


async def test_large_update_over_the_limit(journal: FakeJournal) -> None:
    """A large update that would take the document over its limit is refused with 4413."""
    room = await make_room(journal, Limits(document=10_000))
    (ada,) = enter(room, "ada")
    with pytest.raises(Deny) as refused:
        room.submit_large(ada, *large(1, 0, 20_000))
    assert refused.value.code == closing.DOCUMENT_TOO_BIG.code


# -- the journal is away --


async def test_nothing_is_acknowledged_while_away(room: Room, journal: FakeJournal) -> None:
    """With the journal away everybody sees everybody's edits, authors others' without their own; none is acked."""
    ada, bob, eve = enter(room, "ada", "bob", "eve")
    journal.down = True
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    assert room.saving.away
    assert held(eve.updates()) == {(1, 0), (2, 0)}
    assert [held([u]) for u in ada.updates()] == [{(2, 0)}]
    assert [held([u]) for u in bob.updates()] == [{(1, 0)}]
    room.submit(ada, typed(1, 1))
    await flush(room)
    assert held(bob.updates()) == {(1, 1)}
    assert ada.heard() == []


async def test_return_appends_again_in_order(room: Room, journal: FakeJournal) -> None:
    """When the journal is back, what it does not have is appended in order, and then acknowledged."""
    (ada,) = enter(room, "ada", hocuspocus=False, ack=True)
    journal.down = True
    for clock in range(3):
        room.submit(ada, typed(1, clock))
        await flush(room)
    journal.down = False
    room.saving.resume(room.saving.epoch)
    await turns()
    entries = await journal.read(room.name, None, None)
    assert [edit.update for entry in entries for edit in entry.edits] == [typed(1, clock) for clock in range(3)]
    said = ada.heard()
    assert acknowledged(said) == 3
    assert room.log.saved == 3
    assert list(room.log.unsaved()) == []


async def test_lost_stream_is_rebuilt(room: Room, journal: FakeJournal) -> None:
    """A journal that comes back empty gets all that no snapshot holds, saved or not; acknowledged once."""
    (ada,) = enter(room, "ada")
    room.submit(ada, typed(1, 0))
    await flush(room)
    journal.forget()
    room.submit(ada, typed(1, 1))
    await flush(room)
    assert room.saving.away
    assert acknowledged(ada.heard()) == 1
    opened = await journal.open(room.name, None)
    room.log.reopen(opened.entries)
    room.saving.resume(opened.epoch)
    await turns()
    entries = await journal.read(room.name, None, None)
    assert [edit.update for entry in entries for edit in entry.edits] == [typed(1, 0), typed(1, 1)]
    assert acknowledged(ada.heard()) == 1
    assert room.log.saved == 2


async def test_answer_to_an_append_from_before_the_outage(room: Room, journal: FakeJournal) -> None:
    """An answer that arrives after its flush was appended again counts for nothing: the second append's does."""
    (ada,) = enter(room, "ada")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    await flush(room)
    room.saving.fail(Unavailable("timed out"))
    room.saving.resume(room.saving.epoch)
    journal.answer(1)
    await turns()
    assert room.log.saved == 0
    journal.answer()
    await turns()
    assert room.log.saved == 1
    assert acknowledged(ada.heard()) == 1
    assert list(room.log.unsaved()) == []


async def test_late_refusal_from_before_the_outage(room: Room, journal: FakeJournal) -> None:
    """Nor does a refusal that arrives after the room has resumed send it away again."""
    (ada,) = enter(room, "ada")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    await flush(room)
    (flush_,) = room.log.flushes
    stale = room.saving._term
    room.saving.fail(Unavailable("timed out"))
    room.saving.resume(room.saving.epoch)
    room.saving._appended(flush_, stale, StreamLost("old"))
    assert not room.saving.away


async def test_failure_is_reported_once(room: Room, journal: FakeJournal) -> None:
    """Many refused flushes are one outage."""
    (ada,) = enter(room, "ada")
    told: list[object] = []
    room.saving._on_failed = lambda room, error: told.append(error)
    journal.down = True
    for clock in range(3):
        room.submit(ada, typed(1, clock))
        room.flush()
    await turns()
    assert len(told) == 1


# -- counted --


async def test_bytes_out(room: Room) -> None:
    """What is sent to one member is counted like what is sent to all: documents, echoes, catch-ups and presence."""
    ada, bob = enter(room, "ada", "bob", hocuspocus=False)
    room.announce(ada, presence((1, 1, "{}")))
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    room.pause(bob)
    room.submit_large(ada, *large(1, 1, 100_000))
    await flush(room)
    drain(room, bob)
    answer(room, ada, b"\0")
    room.tell_presence(bob)
    sockets = [ada.socket, bob.socket]
    assert room.counters.bytes_out == sum(len(socket.data) for socket in sockets if isinstance(socket, FakeSocket))
    assert room.counters.frames_out == len(ada.heard()) + len(bob.heard())


async def test_append_is_timed(room: Room, journal: FakeJournal) -> None:
    """How long the journal takes is measured by what it has answered."""
    (ada,) = enter(room, "ada")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    await flush(room)
    assert room.counters.journal_append_seconds.count == 0
    await asyncio.sleep(0.002)
    journal.answer()
    await turns()
    assert room.counters.journal_append_seconds.count == 1
    assert 0.002 <= room.counters.journal_append_seconds.sum < 10


# -- slow readers --


def fill(room: Room, member: Peer) -> None:
    """The member's socket fills up with its next write."""
    assert isinstance(member.socket, FakeSocket)
    member.socket.full = lambda: room.pause(member)


def drain(room: Room, member: Peer) -> None:
    member.socket.paused = False
    room.catch_up(member)


async def test_slow_reader_gets_one_catch_up(room: Room) -> None:
    """A paused reader is written nothing; once drained, one update makes it whole."""
    ada, bob = enter(room, "ada", "bob")
    room.pause(bob)
    for clock in range(5):
        room.submit(ada, typed(1, clock))
        await flush(room)
    assert bob.heard() == []
    assert room.counters.slow_readers == 1
    room.catch_up(bob)
    found = bob.updates()
    assert len(found) == 1
    assert held(found) == {(1, clock) for clock in range(5)}
    assert room.counters.slow_readers == 0
    room.submit(ada, typed(1, 5))
    await flush(room)
    assert held(bob.updates()) == {(1, 5)}


async def test_socket_that_fills_in_the_middle_of_a_flush(room: Room) -> None:
    """A flush of several messages that fills a socket with the first is not forgotten for the rest."""
    ada, bob = enter(room, "ada", "bob")
    fill(room, bob)
    room.submit_large(ada, *large(1, 0, 20_000))
    room.submit(ada, typed(1, 20_000))
    await flush(room)
    got = bob.updates()
    drain(room, bob)
    got += bob.updates()
    assert held(got) == {(1, clock) for clock in range(20_001)}


async def test_socket_that_fills_in_the_middle_of_what_another_relay_wrote(room: Room) -> None:
    """An entry of the journal that is several messages and fills a socket with the first is not forgotten either."""
    (bob,) = enter(room, "bob")
    fill(room, bob)
    payloads = [typed(1, 0), typed(2, 0)]
    room.absorb(Entry(Position(1, 1, 0), NodeId("other"), ()), payloads, payloads)
    got = bob.updates()
    drain(room, bob)
    assert held(got + bob.updates()) == {(1, 0), (2, 0)}


async def test_slow_reader_gets_the_chain_of_another_relay(room: Room) -> None:
    """Segments that another relay stored reach readers that are slow, or get slow with the first, once they drained."""
    bob, eve = enter(room, "bob", "eve")
    room.pause(bob)
    fill(room, eve)
    links = [compact([typed(client, 0)]) for client in (1, 2)]
    ends = [None, Position(1, 1, 0), Position(1, 2, 0)]
    room.adopt([Segment(after, upto, *link) for after, upto, link in zip(ends, ends[1:], links)])
    got = eve.updates()
    drain(room, bob)
    drain(room, eve)
    assert held(bob.updates()) == {(1, 0), (2, 0)}
    assert held(got + eve.updates()) == {(1, 0), (2, 0)}


async def test_socket_of_two_members_that_fills_with_the_first(room: Room) -> None:
    """Two places of one socket in one room: the flush that fills it at the first is not lost for the second."""
    ada, one, two = enter(room, "ada", "one", "two")
    two.socket, two.prefix = one.socket, b"\x05doc\0s"
    room.fanout.remove(two)
    room.detach(two)
    room.attach(two)
    assert isinstance(one.socket, FakeSocket)

    def full() -> None:
        room.pause(one)
        room.pause(two)

    one.socket.full = full
    room.submit(ada, typed(1, 0))
    await flush(room)
    one.socket.paused = False
    room.catch_up(one)
    room.catch_up(two)
    said = one.socket.take()
    assert any(held(updates([m.removeprefix(two.prefix)])) == {(1, 0)} for m in said if m.startswith(two.prefix))


async def test_slow_author_is_acknowledged_when_drained(room: Room) -> None:
    """Acknowledgements wait for a slow reader like everything else, and none is lost."""
    ada, bob = enter(room, "ada", "bob")
    room.pause(ada)
    room.submit(ada, typed(1, 0))
    room.submit(ada, typed(1, 1))
    room.submit(bob, typed(2, 0))
    await flush(room)
    assert ada.heard() == []
    room.catch_up(ada)
    said = ada.heard()
    assert acknowledged(said) == 2
    assert (2, 0) in held(updates(said))


async def test_catch_up_keeps_back_own_unsaved_edits(room: Room, journal: FakeJournal) -> None:
    """A slow author that drains before the journal answered gets the others' edits; its own come when saved."""
    ada, bob = enter(room, "ada", "bob", hocuspocus=False)
    journal.holding = True
    room.pause(ada)
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    room.catch_up(ada)
    assert held(ada.updates()) == {(2, 0)}
    journal.answer()
    await turns()
    assert (1, 0) in held(ada.updates())


async def test_author_paused_between_flush_and_saved(room: Room, journal: FakeJournal) -> None:
    """An author that stopped reading before its flush was saved gets that flush with its catch-up."""
    ada, bob = enter(room, "ada", "bob", hocuspocus=False)
    journal.holding = True
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    room.pause(ada)
    journal.answer()
    await turns()
    assert ada.heard() == []
    room.catch_up(ada)
    assert held(ada.updates()) == {(1, 0), (2, 0)}


async def test_catch_up_says_who_is_here_last(room: Room) -> None:
    """Cursors point into text: they come after it."""
    ada, bob = enter(room, "ada", "bob")
    room.pause(bob)
    room.submit(ada, typed(1, 0))
    room.announce(ada, presence((1, 1, "{}")))
    await flush(room)
    room.catch_up(bob)
    assert [said[0] for said in bob.heard()] == [0, 1]


async def test_joins_while_its_socket_is_full(room: Room) -> None:
    """Who joins with a full socket is answered when it has drained, whole."""
    (ada,) = enter(room, "ada")
    room.submit(ada, typed(1, 0))
    await flush(room)
    bob = Peer("bob")
    bob.socket.paused = True
    room.attach(bob)
    answer(room, bob, b"\0")
    room.submit(ada, typed(1, 1))
    await flush(room)
    assert bob.heard() == []
    drain(room, bob)
    said = bob.heard()
    assert held(updates(said)) == {(1, 0), (1, 1)}
    assert said[-1][:2] == b"\0\1"


async def test_slow_reader_that_leaves(room: Room) -> None:
    """A slow reader that leaves is no slow reader any more; draining afterwards does nothing."""
    _, bob = enter(room, "ada", "bob")
    room.pause(bob)
    room.detach(bob)
    assert room.counters.slow_readers == 0
    room.catch_up(bob)
    assert bob.heard() == []


# -- presence --


async def test_presence_reaches_all_its_sender_included(room: Room) -> None:
    """Clients reconnect when they hear nothing: their own awareness comes back to them."""
    ada, bob = enter(room, "ada", "bob")
    room.announce(ada, presence((1, 1, "{}")))
    await flush(room)
    assert ada.heard() == bob.heard() == [b"\1\6" + presence((1, 1, "{}"))]


async def test_presence_of_a_tick_is_one_message(room: Room) -> None:
    """The latest state of each client id goes out, the earlier ones of the tick do not."""
    ada, bob = enter(room, "ada", "bob")
    room.announce(ada, presence((1, 1, '{"x":1}')))
    room.announce(ada, presence((1, 2, '{"x":2}')))
    await flush(room)
    (said,) = bob.heard()
    assert said[2:] == presence((1, 2, '{"x":2}'))


async def test_presence_ends_with_its_owner(room: Room) -> None:
    """When a client goes, the others hear that its client ids did."""
    ada, bob = enter(room, "ada", "bob")
    room.announce(ada, presence((1, 7, "{}")))
    await flush(room)
    bob.heard()
    room.detach(ada)
    await flush(room)
    (said,) = bob.heard()
    assert [(state.client, state.null) for state in decode(said[2:])] == [(1, True)]


async def test_question_who_is_here(room: Room) -> None:
    """A question for presence is answered with all states, or with none of them."""
    ada, bob = enter(room, "ada", "bob")
    room.tell_presence(bob)
    assert bob.heard() == [b"\1\1\0"]
    room.announce(ada, presence((1, 7, "{}")))
    await flush(room)
    bob.heard()
    room.tell_presence(bob)
    assert [said[2:] for said in bob.heard()] == [presence((1, 7, "{}"))]


async def test_malformed_presence(room: Room) -> None:
    """Broken awareness raises Malformed and changes nothing."""
    (ada,) = enter(room, "ada")
    with pytest.raises(Malformed):
        room.announce(ada, b"\5")
    assert not room.presence.held


# -- the end --


async def test_dismissed(room: Room) -> None:
    """Deleting or locking a document lets everybody go for that reason."""
    ada, bob = enter(room, "ada", "bob")
    room.dismiss(closing.DELETED)
    assert ada.left == bob.left == [closing.DELETED]


async def test_closed_room_does_nothing(journal: FakeJournal) -> None:
    """A room that left memory flushes nothing, and late answers of the journal wake nobody."""
    room = await make_room(journal, Limits(tail=10))
    grown: list[Room] = []
    room.on_grown = grown.append
    (ada,) = enter(room, "ada")
    journal.holding = True
    room.submit(ada, typed(1, 0, "x" * 400))
    await flush(room)
    room.closed = True
    room.submit(ada, typed(1, 400))
    room.flush()
    journal.answer()
    await turns()
    assert grown == []
    assert journal.calls == ["open", "append"]


async def test_grown_tail_is_reported(journal: FakeJournal) -> None:
    """Once the journalled tail is larger than it should be, somebody is told, when it is saved."""
    room = await make_room(journal, Limits(tail=30))
    grown: list[Room] = []
    room.on_grown = grown.append
    (ada,) = enter(room, "ada")
    room.submit(ada, typed(1, 0))
    await flush(room)
    assert grown == []
    room.submit(ada, typed(1, 1, "x" * 30))
    await flush(room)
    assert grown == [room]
    assert isinstance(room.log.flushes[-1].position, Position)


async def test_flush_waits_for_authors_that_wait_for_each_other(journal: FakeJournal) -> None:
    """While two authors wait for each other's edits, the next edits gather: one flush carries them all."""
    room = await make_room(journal, Limits(flush_max=60.0))
    ada, bob, eve = enter(room, "ada", "bob", "eve")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    eve.heard()
    room.submit(ada, typed(1, 1))
    await turns()
    room.submit(bob, typed(2, 1))
    await turns()
    assert eve.heard() == []
    journal.answer()
    (merged,) = await some_updates(eve)
    assert held([merged]) == {(1, 1), (2, 1)}


async def test_busy_room_waits_for_all_answers(journal: FakeJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Authors answer each other's edits: in a busy room a flush leaves with as many as the one before carried, and
    those that came before its authors had it."""
    monkeypatch.setattr(module, "ANSWERS", 60.0)
    room = await make_room(journal, Limits(flush_max=60.0))
    ada, bob, eve = enter(room, "ada", "bob", "eve")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    room.pace.busy = True
    room.submit(ada, typed(1, 1))
    journal.answer()
    await turns()
    eve.heard()
    room.submit(bob, typed(2, 1))
    await turns()
    assert eve.heard() == []
    room.submit(ada, typed(1, 2))
    await turns()
    (merged,) = eve.updates()
    assert held([merged]) == {(1, 1), (2, 1), (1, 2)}


async def test_flush_does_not_wait_for_long(room: Room, journal: FakeJournal) -> None:
    """A journal that does not answer holds nobody up for more than the longest pause of a room."""
    ada, bob, eve = enter(room, "ada", "bob", "eve")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    eve.heard()
    room.submit(ada, typed(1, 1))
    assert held(await some_updates(eve)) == {(1, 1)}


async def test_told_early_once(room: Room, journal: FakeJournal) -> None:
    """Authors who got the others' edits before the journal had them get only their own when it has."""
    ada, bob = enter(room, "ada", "bob", hocuspocus=False)
    journal.holding = True
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    room.submit(bob, typed(2, 1))
    await flush(room)
    assert ada.updates() == [typed(2, 0), typed(2, 1)]
    assert bob.updates() == [typed(1, 0)]
    journal.answer()
    await turns()
    room.saving._write_echoes()
    assert ada.updates() == [typed(1, 0)]
    assert bob.updates() == [typed(2, 0), typed(2, 1)]


async def test_order_while_the_journal_is_slow(room: Room, journal: FakeJournal) -> None:
    """Nobody gets an edit before the one its author made first, however late the journal has that."""
    ada, bob = enter(room, "ada", "bob")
    journal.holding = True
    room.submit(ada, typed(1, 0))
    room.submit(bob, typed(2, 0))
    await flush(room)
    assert ada.heard() == bob.heard() == []
    room.submit(bob, typed(2, 1))
    await flush(room)
    assert ada.updates() == [typed(2, 0), typed(2, 1)]
    assert bob.updates() == [typed(1, 0)]
    journal.answer()
    await turns()
    assert (acknowledged(ada.heard()), acknowledged(bob.heard())) == (1, 2)
