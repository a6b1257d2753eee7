"""One document in several relays, under every fault the services and the network can bring: nothing saved is lost.

A model chooses what happens next; after each step what is stored is compared with what was acknowledged, and at the
end, when all is well again, every editor with a reader who never met them.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from fakes import Peer, deletes, held, updates
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pycrdt import Doc, Text
from unreliable import Channels, Codec, Journal, Snapshots, VirtualLoop, World

from relay import closing
from relay.errors import RelayError, Unavailable
from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.room import outside
from relay.room.join import answer
from relay.room.registry import Registry
from relay.room.room import Limits, Room
from relay.snapshot.chain import check as check_links
from relay.tasks import running, spawn
from relay.types import Actor, Edit, NodeId, Position, RoomId
from relay.yjs.vector import decode_vector

ROOM = RoomId("model")
T = TypeVar("T")
NODES = 3
CLIENTS = 3
CALLS = ("open", "read", "trim", "retire", "load", "store", "archive", "info", "compact", "deleted")
EDITS = st.lists(
    st.tuples(
        st.integers(0, CLIENTS - 1), st.integers(0, 40), st.integers(1, 3), st.sampled_from([False, False, True])
    ),
    min_size=1,
    max_size=5,
)
SLOW = [call + stage for call in CALLS for stage in ("", " answered")]

Fact = tuple[str, int, int]
"""That a struct is there, or deleted: ("there" or "gone", client, clock)."""


@lru_cache(4096)
def facts(update: bytes) -> frozenset[Fact]:
    there = {("there", *one) for one in held([update])}
    return frozenset(there | {("gone", *one) for one in deletes([update])})


def all_facts(found: Any) -> set[Fact]:
    return set().union(*(facts(update) for update in found))


class Node:
    """A relay process: a registry, and its ways to the services."""

    lives = itertools.count()

    def __init__(self, world: World, number: int) -> None:
        self.id = NodeId(f"n{number}-{next(self.lives)}")
        self.journal = Journal(world, self.id)
        store: Any = Snapshots(world, self.id)
        codec: Any = Codec(world, self.id)
        self.registry = Registry(
            self.id,
            self.journal,
            store,
            codec,
            Counters(),
            Limits(tail=400, flush_share=0.0, flush_max=0.0),
            idle_unload=5.0,
            snapshot_idle=3.0,
            channels=partial(Channels, world, self.id),
        )
        self.journal.on_state = self.journal_state
        self.registry.start()

    def journal_state(self, up: bool) -> None:
        """As the journal on Redis says it: what it had promised may be forgotten once its connection broke."""
        self.registry.recovery.journal_state(up)
        if not up:
            self.registry.recovery.doubt(lambda room: True)

    def room(self) -> Room | None:
        return self.registry.loaded(ROOM)

    def holds(self) -> set[Fact]:
        """What its memory could give back to a journal that forgot."""
        room = self.room()
        if room is None:
            return set()
        flushes = [payload for flush in room.log.flushes for payload in flush.payloads]
        return all_facts(flushes + [stored.segment.state for stored in room.log.segments])

    def stop(self) -> None:
        for task in (self.registry._sweeper, self.registry._ticker):
            if task is not None:
                task.cancel()


class Client:
    """An editor with a document. It keeps what it typed until that was acknowledged, and through reconnects."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.doc: Doc[Any] = Doc(client_id=number)
        self.text = self.doc.get("t", type=Text)
        self.node: Node | None = None
        self.room: Room | None = None
        self.member: Peer | None = None
        self.owed: deque[frozenset[Fact]] = deque()
        self.saved: set[Fact] = set()
        self.received: set[Fact] = set()
        self.withheld: set[Fact] = set()
        self.attempts = 0

    def content(self) -> tuple[str, dict[int, int]]:
        return str(self.text), decode_vector(self.doc.get_state())

    async def connect(self, node: Node, stored: Callable[[], set[Fact]]) -> None:
        self.leave()
        attempt = self.attempts
        cold = node.room() is None and node.registry.loading(ROOM) is None
        before = stored() if cold else set()
        try:
            room = await node.registry.open(ROOM)
            self.withheld = before - node.holds()
            if self.attempts != attempt or room.closed:
                return
            member = Peer(str(self.number), ack=True)
            node.registry.join(room, member)
        except RelayError:
            return
        self.node, self.room, self.member = node, room, member
        answer(room, member, self.doc.get_state())
        self.hear()
        self.send(self.doc.get_update(room.known.encoded_vector()))

    def leave(self) -> None:
        self.attempts += 1
        if self.member is not None and self.node is not None and self.room is not None:
            self.hear()
            self.node.registry.leave(self.room, self.member)
        self.node = self.room = self.member = None
        self.owed.clear()

    def edit(self, place: int, length: int, erase: int) -> None:
        before = self.doc.get_state()
        size = len(self.text)
        place = place % (size + 1)
        if erase:
            if place == size:
                return
            del self.text[place : min(size, place + length)]
        else:
            self.text.insert(place, "abcdefghij"[:length])
        self.send(self.doc.get_update(before))

    def send(self, update: bytes) -> None:
        if self.member is None or self.room is None or self.room.closed or self.member.left:
            return
        self.room.submit(self.member, update)
        self.owed.append(facts(update))

    def hear(self) -> None:
        """Take in what was written to it."""
        if self.member is None:
            return
        for message in self.member.heard():
            if message == b"\x64\x01":
                self.saved |= self.owed.popleft()
            for update in updates([message]):
                self.doc.apply_update(update)
                self.received |= facts(update)


class Relays(RuleBasedStateMachine):
    """What may happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.world = World()
        ticks = itertools.count()
        self.patches = [
            patch("relay.journal.memory.time", self.world),
            patch("relay.room.compactor.perf_counter", self.loop.time),
            patch("relay.room.pace.perf_counter", lambda: next(ticks) * 1e-6),
        ]
        for each in self.patches:
            each.start()
        Node.lives = itertools.count()
        self.entries: dict[Position, frozenset[Fact]] = {}
        self.saved: set[Fact] = set()
        self.forgotten: set[Fact] = set()
        self.ever_forgotten: set[Fact] = set()
        self.gone: set[Fact] = set()
        self.deleted: set[Fact] = set()
        self.shown: set[Fact] = set()  # of that, by relays that had not heard of it; who got it may give it back
        self.harmed = False
        self.newcomers = itertools.count(1)
        self.world.appended = self.note

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def do(self, work: Callable[[], T]) -> T:
        """Something that needs the loop; then whatever follows from it."""

        async def doing() -> T:
            return work()

        result = self.run(doing())
        self.settle()
        return result

    def settle(self, seconds: float = 0.01) -> None:
        self.run(asyncio.sleep(seconds))
        for client in self.clients:
            client.hear()
            self.saved |= client.saved - self.deleted
            client.saved = set()
            self.shown |= self.deleted & client.received
            withheld = (client.withheld & self.saved) - self.ever_forgotten - self.deleted
            assert not withheld, f"not in a document that was just loaded: {sorted(withheld)}"
            client.withheld = set()
            if client.member is not None and client.member.left:
                why = client.member.left[0]
                assert why in (closing.DELETED, closing.OVERLOADED), why
                client.leave()
                if why is closing.DELETED:
                    self.clients[self.clients.index(client)] = self.newcomer()
        self.what_was_saved_is_stored()
        self.segments_hold_what_they_claim()

    def newcomer(self) -> Client:
        return Client(next(self.newcomers))

    @initialize()
    def begin(self) -> None:
        self.clients: list[Client] = []
        self.nodes: list[Node] = []
        self.nodes = self.do(lambda: [Node(self.world, number) for number in range(NODES)])
        self.clients = [self.newcomer() for _ in range(CLIENTS)]
        for client, node in zip(self.clients, self.nodes):
            self.connect(client, node)

    def connect(self, client: Client, node: Node) -> None:
        self.do(lambda: spawn("connect", client.connect(node, self.stored)))

    # -- what is stored --

    def note(self) -> None:
        stream = self.world.streams.get(ROOM)
        for entry in stream.entries if stream else ():
            if entry.position not in self.entries:
                self.entries[entry.position] = frozenset(all_facts(edit.update for edit in entry.edits))

    def chain(self) -> list[Any]:
        record = self.world.snapshots._records.get(ROOM)
        return list(record.chain) if record else []

    def stored(self) -> set[Fact]:
        """What somebody who comes now is given."""
        chain, stream = self.chain(), self.world.streams.get(ROOM)
        end = chain[-1].upto if chain else None
        tail = [entry for entry in (stream.entries if stream else ()) if end is None or entry.position > end]
        return all_facts([s.state for s in chain] + [edit.update for entry in tail for edit in entry.edits])

    def held(self) -> set[Fact]:
        return set().union(*(node.holds() for node in self.nodes))

    def forget(self, before: set[Fact]) -> None:
        """The journal forgot some of what was stored before, or a relay died. What a relay holds has to come back; the
        rest is lost, and no relay could help it."""
        self.forgotten |= before - self.stored()
        self.ever_forgotten |= self.forgotten
        gone = self.forgotten - self.held()
        self.gone |= gone
        self.harmed = self.harmed or bool(gone)

    def what_was_saved_is_stored(self) -> None:
        stored = self.stored()
        back = stored & self.deleted - self.shown
        assert not back, f"deleted, and has come back: {sorted(back)}"
        self.forgotten -= stored
        self.gone -= stored
        missing = self.saved - self.forgotten - stored
        assert not missing, f"saved and not stored: {sorted(missing)}"
        let_go = (self.saved & self.forgotten) - self.gone - self.held()
        assert not let_go, f"forgotten by the journal, and let go by who had it: {sorted(let_go)}"

    def segments_hold_what_they_claim(self) -> None:
        chain = self.chain()
        if chain:
            check_links(ROOM, chain, chain[-1].upto)
            there = all_facts(segment.state for segment in chain)
            for position, wanted in self.entries.items():
                assert position > chain[-1].upto or wanted <= there, f"claimed and not held: {position}"

    # -- clients --

    def edit(self, edits: list[tuple[int, int, int, int]]) -> None:
        def at_once() -> None:
            for number, place, length, erase in edits:
                self.clients[number].edit(place, length, erase)

        self.do(at_once)

    # Rules are equally likely: what matters more is there more often.
    edit_1 = rule(edits=EDITS)(edit)
    edit_2 = rule(edits=EDITS)(edit)
    edit_3 = rule(edits=EDITS)(edit)
    edit_4 = rule(edits=EDITS)(edit)

    @rule(number=st.integers(0, CLIENTS - 1), node=st.integers(0, NODES - 1))
    def reconnect(self, number: int, node: int) -> None:
        self.connect(self.clients[number], self.nodes[node])

    @rule()
    def everybody_comes(self) -> None:
        for number, client in enumerate(self.clients):
            if client.member is None:
                self.connect(client, self.nodes[number % NODES])

    @rule(number=st.integers(0, CLIENTS - 1))
    def leave(self, number: int) -> None:
        self.do(self.clients[number].leave)

    # -- relays --

    def end(self, number: int) -> None:
        node = self.nodes[number]
        for client in self.clients:
            if client.node in (node, None):
                client.leave()

        def again() -> None:
            self.world.crash(node.id)
            node.stop()
            self.nodes[number] = Node(self.world, number)
            self.nodes[number].journal.connected = self.world.reaches(self.nodes[number].id, "journal")
            self.forget(set())

        self.do(again)

    @rule(number=st.integers(0, NODES - 1))
    def crash(self, number: int) -> None:
        self.end(number)

    @rule(number=st.integers(0, NODES - 1))
    def drain(self, number: int) -> None:
        for client in self.clients:
            if client.node is self.nodes[number]:
                self.do(client.leave)
        node = self.nodes[number]
        held = node.holds() & self.saved
        stored = self.run(node.registry.close(2.0)) or self.undisturbed(node)
        self.settle()
        lacks = held - self.stored()
        assert not (stored and lacks), f"drained, and in no store: {sorted(lacks)}"
        self.end(number)

    def undisturbed(self, node: Node) -> bool:
        """Whether all services answer that relay at once, and all relays hear each other."""
        world, journal = self.world, node.journal
        well = journal.connected and not (journal.stalled or journal.deaf or world.away)
        return well and world.gossip == "heard" and not {n for n, *_ in (*world.held, *world.waiting)} & {node.id}

    def snapshot(self, number: int, rest: bool, held: str | None) -> None:
        """A snapshot begins; it may be held up on its way and be overtaken."""
        node = self.nodes[number]
        if (room := node.room()) is not None:
            if held is not None:
                self.world.held.add((node.id, held))
            self.do(lambda: spawn("snapshot", node.registry.compactor.snapshot(room, rest=rest)))

    snapshot_1 = rule(number=st.integers(0, NODES - 1), rest=st.booleans(), held=st.none())(snapshot)
    snapshot_2 = rule(number=st.integers(0, NODES - 1), rest=st.booleans(), held=st.sampled_from(SLOW))(snapshot)
    snapshot_3 = rule(number=st.integers(0, NODES - 1), rest=st.booleans(), held=st.sampled_from(SLOW))(snapshot)

    @rule(seconds=st.sampled_from([0.3, 2.5, 8.0]))
    def wait(self, seconds: float) -> None:
        self.settle(seconds)

    # -- services --

    @rule(call=st.sampled_from(SLOW), number=st.integers(0, NODES - 1))
    def hold(self, call: str, number: int) -> None:
        self.world.held.add((self.nodes[number].id, call))

    @precondition(lambda self: self.world.waiting)
    @rule(number=st.integers(0, 50), go=st.sampled_from([True, True, False]))
    def let_go(self, number: int, go: bool) -> None:
        self.do(lambda: self.world.let_go(number % len(self.world.waiting), go))

    @rule(number=st.integers(0, NODES - 1), how=st.sampled_from(["stalled", "deaf"]))
    def stall(self, number: int, how: str) -> None:
        setattr(self.nodes[number].journal, how, True)

    @rule(number=st.integers(0, NODES - 1))
    def flow(self, number: int) -> None:
        journal = self.nodes[number].journal
        self.do(journal.flow)

    @rule(number=st.integers(0, NODES - 1), arrives=st.integers(0, 3), back=st.booleans())
    def cut(self, number: int, arrives: int, back: bool) -> None:
        """The connection for appends breaks; without `back` nothing else of the journal is reached either."""
        node = self.nodes[number]

        if not back:
            self.world.away.add((node.id, "journal"))
        self.do(lambda: node.journal.cut(arrives))

    @rule(arrives=st.integers(0, 3))
    def journal_ends(self, arrives: int) -> None:
        self.world.away.add("journal")
        self.do(lambda: [node.journal.cut(arrives) for node in self.nodes])

    @precondition(lambda self: "journal" in self.world.away)
    @rule(how=st.sampled_from(["whole", "empty", "shorter"]), keeps=st.integers(0, 4))
    def journal_begins(self, how: str, keeps: int) -> None:
        stream = self.world.streams.get(ROOM)
        if stream is not None and how != "whole":
            before = self.stored()
            lost = stream.entries if how == "empty" else stream.entries[keeps:]
            for entry in lost:
                self.entries.pop(entry.position, None)
            if how == "empty":
                self.world.streams.clear()
            else:
                del stream.entries[keeps:]
                # What was trimmed had been written long before.
                stream.last = stream.entries[-1].position if stream.entries else Position(stream.epoch, 0, 0)
            self.forget(before)
        self.world.away.discard("journal")
        self.back()

    @rule(arrives=st.integers(0, 3), how=st.sampled_from(["whole", "empty", "shorter"]), keeps=st.integers(0, 4))
    def journal_restarts(self, arrives: int, how: str, keeps: int) -> None:
        self.journal_ends(arrives)
        self.journal_begins(how, keeps)

    @rule()
    def journal_forgets(self) -> None:
        """An operator empties it; no connection breaks."""
        before = self.stored()
        stream = self.world.streams.pop(ROOM, None)
        for entry in stream.entries if stream else ():
            self.entries.pop(entry.position, None)
        self.forget(before)

    @rule()
    def back(self) -> None:
        """Who can reach the journal connects."""
        if "journal" not in self.world.away:
            self.world.away = {away for away in self.world.away if not isinstance(away, tuple)}
        self.do(lambda: [node.journal.connect() for node in self.nodes])

    @rule()
    def snapshots_end_or_begin(self) -> None:
        self.world.away ^= {"snapshots"}
        self.settle()

    @rule(how=st.sampled_from(["heard", "lost", "twice", "delayed"]))
    def gossip(self, how: str) -> None:
        self.world.gossip = how

    @precondition(lambda self: self.world.letters)
    @rule(number=st.integers(0, 50))
    def late_letter(self, number: int) -> None:
        self.do(self.world.letters.pop(number % len(self.world.letters)))

    # -- from outside --

    @precondition(lambda self: not self.world.away)
    @rule()
    def write_from_outside(self) -> None:
        writer = self.newcomer()
        writer.text += "out"
        update = writer.doc.get_update()
        journal = MemoryJournal(NodeId("outside"))
        journal._streams = self.world.streams
        before = self.world.streams.get(ROOM)
        old = before.epoch if before else 0
        self.run(outside.write(journal, self.world.snapshots, ROOM, [Edit(Actor("api"), update)]))
        stream = self.world.streams[ROOM]
        self.entries = {
            p._replace(epoch=stream.epoch) if p.epoch == old and stream is before else p: found
            for p, found in self.entries.items()
        }
        self.note()
        self.saved |= facts(update)
        self.check()
        quiet = [node for node in self.nodes if self.undisturbed(node)]
        if len(quiet) == len(self.nodes):
            self.settle(3.0)  # after dozens of restarts in a row it took 1.2
            for client in self.clients:
                told = client.node not in quiet or facts(update) <= client.received
                assert told, f"{client.number} was not shown an edit from outside"

    @precondition(lambda self: not self.world.away)
    @rule()
    def delete(self) -> None:
        """A document is deleted: whoever was in it is sent away, and nothing of it comes back."""
        journal = MemoryJournal(NodeId("operator"))
        journal._streams = self.world.streams
        for client in self.clients:
            self.do(client.leave)
        self.deleted |= self.stored() | self.held()
        self.run(outside.delete(journal, self.world.snapshots, ROOM))
        self.entries.clear()
        self.saved.clear()
        self.forgotten.clear()
        self.gone.clear()
        self.clients = [self.newcomer() for _ in range(CLIENTS)]
        self.check()

    def check(self) -> None:
        async def check(node: Node) -> None:
            while True:
                try:
                    return await node.registry.recovery.check(ROOM)
                except Unavailable:
                    await asyncio.sleep(1)

        self.do(lambda: [spawn("check", check(node)) for node in self.nodes])

    # -- at the end --

    def teardown(self) -> None:
        try:
            if hasattr(self, "nodes"):
                self.heal()
        finally:
            self.close()

    def heal(self) -> None:
        world = self.world
        world.held.clear()
        world.away.clear()
        world.gossip = "heard"

        while world.waiting:
            self.do(lambda: world.let_go(0, True))
        for node in self.nodes:
            self.do(node.journal.flow)
            self.do(node.journal.connect)
        self.settle(30)
        if self.harmed:  # only its clients still have what was lost
            for client in self.clients:
                self.do(client.leave)
        for client, node in zip(self.clients, itertools.cycle(self.nodes)):
            if client.member is None:
                self.connect(client, node)
        self.settle(30)
        left = (self.forgotten - self.gone) & self.saved
        assert not left, f"not given back: {sorted(left)}"
        reader = self.newcomer()
        self.connect(reader, self.do(lambda: Node(world, NODES)))
        self.clients.append(reader)
        self.settle(10)
        assert reader.received >= self.stored()
        everything = reader.doc.get_update()
        for client in self.clients:
            assert client.member is not None, f"{client.number} is not let in"
            assert not client.owed, "never acknowledged"
            lacks = {one for one in reader.received if one[1] != client.number} - client.received
            assert not lacks, f"{client.number} was never sent {sorted(lacks)}"
            client.doc.apply_update(everything)  # pycrdt may leave for good what came before what it depends on
            assert client.content() == reader.content()

    def close(self) -> None:
        async def cancel() -> None:
            tasks = list(running)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(cancel())
        for each in self.patches:
            each.stop()
        asyncio.set_event_loop(None)
        self.loop.close()


def play(examples: int, steps: int, **options: Any) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Relays,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=checks,
            report_multiple_bugs=False,
            **options,
        ),
    )


# -- histories that need many steps in their order: written down, not waited for --


def adopted_with_gaps(model: Relays) -> None:
    """The journal forgets an edit before another relay has read it, and that one stores."""
    model.gossip("lost")
    model.edit([(0, 0, 1, False)])
    model.journal_forgets()
    model.edit([(1, 0, 1, False)])
    model.wait(0.5)
    model.snapshot(1, True, None)
    model.snapshot(0, True, None)


def counted_while_away(model: Relays) -> None:
    """The journal loses its end, so that it has as many entries as a relay knows, and not the same."""
    model.gossip("lost")
    model.edit([(0, 0, 1, False)])
    model.edit([(1, 0, 1, False)])
    model.edit([(0, 1, 1, False)])
    model.journal_ends(0)
    model.wait(0.3)
    model.journal_begins("shorter", 2)
    model.snapshot(0, True, "info")
    model.wait(0.3)
    model.wait(0.3)
    if model.world.waiting:
        model.let_go(0, True)


def written_from_outside(model: Relays) -> None:
    """An edit from outside, and the journal forgets it at once."""
    model.edit([(0, 0, 2, False), (1, 0, 1, False)])
    model.write_from_outside()
    model.journal_forgets()
    assert not model.gone
    model.write_from_outside()


def trimmed_while_loading(model: Relays) -> None:
    """A relay loads the document while another stores and trims it."""
    model.edit([(0, 0, 2, False)])
    model.crash(1)
    model.hold("open", 1)
    model.reconnect(1, 1)
    model.snapshot(0, True, None)
    model.let_go(0, True)
    model.hold("load", 1)


def store_that_comes_late(model: Relays) -> None:
    """A relay's store is overtaken by another's, which covers more."""
    model.edit([(0, 0, 2, False)])
    model.snapshot(0, True, "store")
    model.edit([(1, 0, 1, False)])
    model.snapshot(1, True, None)
    model.let_go(0, True)


def stores_that_cross(model: Relays) -> None:
    """A relay stores behind a link that another has merged away meanwhile."""
    model.edit([(0, 0, 3, False)] * 5)
    model.snapshot(0, True, None)
    model.edit([(1, 0, 1, False)])
    model.snapshot(1, True, "store")
    model.edit([(0, 0, 1, False)])
    model.snapshot(0, False, "store")
    model.let_go(0, True)
    model.let_go(0, True)


def trim_that_comes_late(model: Relays) -> None:
    """Another relay writes between a store and its trim."""
    model.edit([(0, 0, 2, False)])
    model.snapshot(0, True, "trim")
    model.edit([(1, 0, 1, False)])
    model.let_go(0, True)


def store_that_fails(model: Relays) -> None:
    """A store does not arrive, and its relay dies."""
    model.edit([(0, 0, 2, False)])
    model.leave(1)
    model.leave(2)
    model.snapshot(0, True, "store")
    model.let_go(0, False)
    model.crash(0)


def drained_after_the_journal_forgot(model: Relays) -> None:
    """A relay that is told to end is the only one that has an edit."""
    model.gossip("lost")
    model.edit([(0, 0, 2, False)])
    model.journal_forgets()
    model.gossip("heard")
    model.drain(0)


def deleted_after_the_journal_forgot(model: Relays) -> None:
    """A relay holds what no store has, and does not hear at once that it was deleted."""
    model.edit([(0, 0, 2, False)])
    model.journal_forgets()
    model.hold("deleted", 1)
    model.delete()
    model.wait(2.5)


HISTORIES = (
    adopted_with_gaps,
    counted_while_away,
    written_from_outside,
    trimmed_while_loading,
    store_that_comes_late,
    stores_that_cross,
    trim_that_comes_late,
    store_that_fails,
    drained_after_the_journal_forgot,
    deleted_after_the_journal_forgot,
)


@pytest.mark.parametrize("history", HISTORIES)
def test_by_hand(history: Callable[[Relays], None]) -> None:
    """Nothing saved is lost in histories that a play of dice seldom comes to."""
    model = Relays()
    try:
        model.begin()
        history(model)
    except BaseException:
        model.close()
        raise
    model.teardown()


def test_nothing_saved_is_lost() -> None:
    """The same histories every time, so that a change that breaks one is known by it."""
    play(200, 50, derandomize=True, database=None)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_saved_is_lost_in_long_histories() -> None:
    """Others every time, and longer ones."""
    play(2500, 60, database=None)
