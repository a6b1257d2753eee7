"""Whatever a relay does to a history on its way through a room, Yjs makes the same document of it."""

import asyncio
import random
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from relay_process import Relay
from typists import Typist, uint, until

from relay.yjs.update import parse

RESTLESS = (
    *("--snapshot-bytes", "1KiB", "--snapshot-idle", "200ms", "--idle-unload", "1s"),
    *("--reconnect-jitter", "50ms", "--inline-parse", "100", "--slow-reader-bytes", "64KiB"),
    *("--max-connections-per-address", "0"),
)
"""Snapshots all the time, and codec processes for more than a few keystrokes."""
END = b"the-end"
LAST = b"\1\1\x4d\0\4\1\3end\7" + END + b"\0"
"""An edit by nobody in the histories: whoever has it has all that was sent before it."""
Start = Callable[..., Relay]


class Case(NamedTuple):
    """Two ways to the same document, and what is applied to both after the first look."""

    name: str
    expected: Sequence[bytes]
    actual: Sequence[bytes]
    then: Sequence[bytes] = ()


class Peer(Typist):
    """A client that sends what it is given, and keeps what it gets. It may come back: `before` is what it has then."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.before: list[bytes] = []
        self.sent: list[bytes] = []

    def send(self, update: bytes, *, step2: bool = False) -> None:
        self.sent.append(update)
        self.say((b"\0\1" if step2 else b"\0\2") + uint(len(update)) + update)

    def ask(self) -> None:
        """For the whole document, once more."""
        self.say(b"\0\0\1\0")

    @property
    def settled(self) -> bool:
        """Everything it sent is acknowledged."""
        return self.acknowledged == len(self.sent)

    @property
    def got(self) -> list[bytes]:
        assert self.updates is not None
        return self.updates

    @property
    def has(self) -> list[bytes]:
        """All that its document is made of, in about the order in which it came."""
        return [*self.before, *self.sent, *self.got]


async def enter(relay: Relay, room: str, number: int, before: Sequence[bytes] = (), vector: bytes = b"\0") -> Peer:
    """A client joins; every other one speaks Hocuspocus."""
    peer = await Peer.join(relay.port, room, number, hocuspocus=number % 2 == 1, keep=True, vector=vector)
    peer.before = list(before)
    return peer


class Plan(NamedTuple):
    """What is sent of a history, in which order; what never is; what must be there before it is sent."""

    sent: list[bytes]
    lost: list[bytes]
    late: frozenset[int]


def plan(history: Any, dice: random.Random) -> Plan:
    """In order, a little out of it, in none at all, or with pieces missing; each with some pieces twice."""
    edits = [update for index, update in enumerate(history.log) if index not in history.uploads]
    # An upload repeats others' structs, as its client's document has them: it comes after what it repeats.
    uploads = [history.log[index] for index in sorted(history.uploads)]
    match history.seed % 4:
        case 0:
            order, late, lost = list(history.log), set(history.uploads), []
        case 1:
            order = [x for _, x in sorted((at + dice.random() * 8, x) for at, x in enumerate(edits))]
            order, late, lost = order + uploads, set(range(len(edits), len(history.log))), []
        case 2:
            order = dice.sample(edits, len(edits)) + uploads
            late, lost = set(range(len(edits), len(history.log))), []
        case _:
            kept = [dice.random() < 0.85 for _ in edits]
            order = [update for update, keep in zip(edits, kept) if keep]
            lost = [update for update, keep in zip(edits, kept) if not keep]
            late = set()
    sent, waits = [], set()
    for index, update in enumerate(order):
        if index in late:
            waits.add(len(sent))
        sent.append(update)
        if dice.random() < 0.1 and not late:
            sent.append(dice.choice(order[: index + 1]))
    return Plan(sent, lost, frozenset(waits))


class Session:
    """One history in one room: three write, one reads along, one comes and goes, one stops reading for a while."""

    def __init__(self, relay: Relay, history: Any) -> None:
        self.relay = relay
        self.dice = random.Random(history.seed)
        self.log = history.log
        self.room = f"room-{history.seed}"
        self.plan = plan(history, self.dice)
        self.at = 0
        self.peers: list[Peer] = []
        self.unsaved: list[bytes] = []

    @property
    def writers(self) -> list[Peer]:
        return self.peers[:3]

    async def come(self, vectors: Sequence[bytes] = ()) -> None:
        """Everybody joins, or joins again with what they have."""
        before = [peer.has for peer in self.peers] or [[]] * 6
        vectors = vectors or [b"\0"] * 6
        first = self.dice.randrange(2)
        joins = [enter(self.relay, self.room, first + n, before[n], vectors[n]) for n in range(6)]
        self.peers = list(await asyncio.gather(*joins))
        for update in self.unsaved:  # whoever was not told that it is saved sends it again
            self.dice.choice(self.writers).send(update, step2=True)
        self.unsaved = []

    async def write(self, upto: float) -> None:
        """Send the plan up to this share of it."""
        end = int(len(self.plan.sent) * upto)
        while self.at < end:
            if self.at in self.plan.late:
                await self.settled()
            self.dice.choice(self.writers).send(self.plan.sent[self.at], step2=self.dice.random() < 0.1)
            self.at += 1
            if self.dice.random() < 0.03 and (peer := self.dice.choice(self.peers)).closed is None:
                peer.ask()
            if self.dice.random() < 0.5:
                await asyncio.sleep(self.dice.choice((0, 0.002, 0.01, 0.02)))

    async def settled(self) -> None:
        def waiting() -> object:
            return [(p.closed, p.denied, p.acknowledged, len(p.sent)) for p in self.writers]

        await until(lambda: all(peer.settled for peer in self.writers), 20, lambda: (self.room, waiting()))

    def leave(self, peers: Sequence[Peer]) -> None:
        """Without a word; who was not told that its edit is saved has it still, and remembers to send it."""
        for peer in peers:
            self.unsaved += peer.sent[peer.acknowledged :]
            peer.leave()

    async def end(self) -> None:
        """One more edit, after all others."""
        await self.settled()
        self.peers[0].send(LAST)
        self.plan.sent.append(LAST)
        self.log = [*self.log, LAST]
        readers = self.peers[1:]
        await until(lambda: all(any(END in u for u in p.got) for p in readers), 20, lambda: f"{self.room}: the end")
        await self.settled()

    def cases(self, joiners: Sequence[tuple[str, Sequence[bytes]]]) -> Iterator[Case]:
        names = ["writer", "second writer", "third writer", "reader", "one who returned", "slow reader"]
        seen = [*zip(names, [peer.has for peer in self.peers]), *joiners]
        for name, has in seen:
            expected = self.plan.sent if self.plan.lost else self.log
            yield Case(f"{self.room}, {name}", expected, has, self.plan.lost)


async def hold(relay: Relay, yjs: Any, seeds: Sequence[int], endings: Sequence[signal.Signals]) -> int:
    """Play the histories side by side, with a restart for each of `endings`; the number of documents compared."""
    sessions = [Session(relay, history) for history in yjs.histories(seeds)]

    async def all_of(step: Callable[[Session], Any]) -> None:
        await asyncio.gather(*map(step, sessions))

    async def come_back() -> None:
        vectors = yjs.vectors([peer.has for session in sessions for peer in session.peers])
        back = [session.come(vectors[6 * at : 6 * at + 6]) for at, session in enumerate(sessions)]
        await asyncio.gather(*back)

    async def some(session: Session, share: float) -> None:
        slow = session.peers[5].transport
        slow.pause_reading()
        await session.write(share - 0.1)
        session.leave(session.peers[4:5])
        await session.write(share)
        slow.resume_reading()

    await all_of(Session.come)
    parts = len(endings) + 1
    for part, how in enumerate(endings, 1):
        await all_of(lambda session, part=part: some(session, part / parts))
        await asyncio.sleep(0.02)
        if how is signal.SIGTERM:
            await asyncio.to_thread(relay.stop)
        else:
            await asyncio.to_thread(relay.kill, children=part % 2 == 0)
        for session in sessions:
            session.leave(session.peers)
        await asyncio.to_thread(relay.start)
        await come_back()
    await all_of(lambda session: some(session, 0.95))
    await asyncio.sleep(1.3)
    await all_of(lambda session: session.write(1))
    await all_of(Session.settled)
    for session in sessions:
        session.leave(session.peers[4:5])
    vectors = yjs.vectors([session.peers[4].has for session in sessions])
    for session, vector in zip(sessions, vectors):
        peer = session.peers[4]
        session.peers[4] = await enter(relay, session.room, peer.client, peer.has, vector)
    await all_of(Session.end)
    await until(lambda: relay.metrics()["relay_snapshot_bytes_total"], 20, "something was stored")

    cases: list[Case] = []
    partial = [s.plan.sent[: s.dice.randrange(len(s.plan.sent))] for s in sessions]
    everything = [s.plan.sent for s in sessions]
    vectors = yjs.vectors([*partial, *everything])
    for at, session in enumerate(sessions):
        wanted = [
            ("joiner", [], b"\0"),
            ("Hocuspocus joiner", [], b"\0"),
            ("joiner with a part", partial[at], vectors[at]),
            ("Hocuspocus joiner with everything", everything[at], vectors[len(sessions) + at]),
        ]
        joins = [enter(relay, session.room, n, has, vector) for n, (_, has, vector) in enumerate(wanted, 2)]
        joiners = await asyncio.gather(*joins)
        cases += session.cases([(name, peer.has) for (name, _, _), peer in zip(wanted, joiners)])
        session.leave([*session.peers, *joiners])
    differences = [text for at in range(0, len(cases), 100) for text in yjs.differences(cases[at : at + 100])]
    assert differences == []
    assert relay.running
    return len(cases)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts relays with the given flags; all of them are stopped at the end."""
    started: list[Relay] = []

    def one(*flags: str) -> Relay:
        (tmp_path / str(len(started))).mkdir()
        started.append(Relay(tmp_path / str(len(started)), flags))
        return started[-1]

    yield one
    for relay in started:
        relay.stop()


async def test_histories_survive_rooms(yjs: Any, start: Start) -> None:
    """Twenty-four histories through rooms that are snapshotted, killed and stopped meanwhile read as they do in Yjs."""
    relay = await asyncio.to_thread(start, *RESTLESS)
    assert await hold(relay, yjs, range(24), [signal.SIGKILL, signal.SIGTERM]) == 240


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(10_000, 10_400, 40))
async def test_many_more_histories_survive_rooms(yjs: Any, start: Start, first: int) -> None:
    """The same of four hundred further histories, through more restarts."""
    relay = await asyncio.to_thread(start, *RESTLESS)
    endings = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]
    assert await hold(relay, yjs, range(first, first + 40), endings) == 400


async def test_bytes_stay_as_they_are(yjs: Any, start: Start) -> None:
    """Updates without deletes reach a reader as they were sent, and a later joiner with every struct byte for byte."""
    relay = await asyncio.to_thread(start)
    compared = 0

    async def play(history: Any) -> None:
        nonlocal compared
        room = f"exact-{history.seed}"
        author, reader = await enter(relay, room, history.seed), await enter(relay, room, history.seed + 1)
        sent = [
            update
            for index, update in enumerate(history.log)
            if index not in history.uploads and not parse(update).deletes
        ][:40]
        reader.got.clear()  # what an empty room answers
        for count, update in enumerate(sent, 1):
            author.send(update)
            await until(lambda count=count: len(reader.got) == count, 20, f"{room}: read")
        assert reader.got == sent
        await until(lambda: author.settled, 20, f"{room}: saved")
        joiner = await enter(relay, room, history.seed)
        (whole,) = joiner.got
        for layout in map(parse, sent):
            for structs in layout.structs.values():
                for _, _, begin, end in structs:
                    assert layout.update[begin:end] in whole
                    compared += 1
        first = await enter(relay, f"{room}-first", history.seed)
        first.send(sent[0])
        await until(lambda: first.settled, 20, f"{room}: saved")
        alone = await enter(relay, f"{room}-first", history.seed)
        assert alone.got == sent[:1]
        for peer in (author, reader, joiner, first, alone):
            peer.leave()

    await asyncio.gather(*map(play, yjs.histories(range(40, 46))))
    assert compared > 200


async def lag(relay: Relay, yjs: Any, seed: int, rounds: int) -> list[Case]:
    """A history by one who reads and two who mostly don't; another reads only at times. All get all of it."""
    (history,) = yjs.histories([seed])
    dice = random.Random(seed)
    room = f"slow-{seed}"
    log = [update for index, update in enumerate(history.log) if index not in history.uploads]
    flooder, *peers = await asyncio.gather(*(enter(relay, room, seed + n) for n in range(6)))
    slow = peers[1:]
    for peer in slow:
        peer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sent: list[bytes] = []
    for turn in range(rounds):
        for peer in slow:
            peer.transport.pause_reading()
        caught_up = relay.metrics()["relay_catch_ups_total"]
        while relay.metrics()["relay_slow_readers"] < len(slow):
            # More than the sockets between us take.
            clock = 1_000_000 * len(flooder.sent)
            where = b"\x84\x4e" + uint(clock - 1) if clock else b"\x04\1\x05flood"
            flood = b"\1\1\x4e" + uint(clock) + where + uint(1_000_000) + b"x" * 1_000_000 + b"\0"
            flooder.send(flood)
            sent.append(flood)
            assert clock < 40_000_000 * (turn + 1), "nobody is too slow"
            await until(lambda: flooder.settled, 20, f"{room}: saved")
        part = log[len(log) * turn // rounds : len(log) * (turn + 1) // rounds]
        for update in part[: len(part) // 2]:
            dice.choice(peers).send(update)
            sent.append(update)
            await asyncio.sleep(dice.choice((0, 0.005)))
        for peer in slow[:2]:
            peer.ask()
        for peer in slow:
            peer.transport.resume_reading()
        for update in part[len(part) // 2 :]:
            dice.choice(peers).send(update)
            sent.append(update)
        for peer in (*peers, flooder):
            await until(lambda peer=peer: peer.settled, 20, f"{room}: saved")
        wanted = caught_up + len(slow)
        await until(lambda n=wanted: relay.metrics()["relay_catch_ups_total"] >= n, 20, f"{room}: caught up")
    peers[0].send(LAST)
    sent.append(LAST)
    for peer in slow:
        await until(lambda peer=peer: any(END in update for update in peer.got), 20, f"{room}: the end")
    joiner = await enter(relay, room, seed)
    for peer in (*peers, flooder, joiner):
        peer.leave()
    names = ("quick", "first slow", "second slow", "third slow", "fourth slow", "joiner")
    return [Case(f"{room}, {name}", sent, peer.has) for name, peer in zip(names, (*peers, joiner))]


async def test_slow_readers_get_everything(yjs: Any, start: Start) -> None:
    """Readers and authors that stop reading a busy room read as Yjs does once they have caught up."""
    relay = await asyncio.to_thread(start, *RESTLESS)
    cases = await lag(relay, yjs, 50, 1)
    assert [text for case in cases for text in yjs.differences([case])] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(60, 70))
async def test_slow_readers_get_everything_again_and_again(yjs: Any, start: Start, seed: int) -> None:
    """The same of readers that stop again and again."""
    relay = await asyncio.to_thread(start, *RESTLESS)
    cases = await lag(relay, yjs, seed, 3)
    assert [text for case in cases for text in yjs.differences([case])] == []
