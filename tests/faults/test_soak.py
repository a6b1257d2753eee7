"""Everything at once for a long time: memory stays where it was, nothing is lost, no error is logged."""

import asyncio
import json
import random
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Text
from relay_process import Relay
from typists import Typist, framed, percentile, spelled, uint, until

PAGES = [f"page-{n}" for n in range(6)]
LENGTH = 2000
"""Characters a page is kept at: what is typed is deleted again, so that only its history grows."""
PASTE = 30_000
NOISE = 200
"""Cursors of 60 KB that a sleeper does not read: more than the kernel keeps."""
FLAGS = ("--idle-unload", "3", "--slow-reader-bytes", "64KiB", "--snapshot-idle", "2", "--snapshot-bytes", "4KiB")


@dataclass(frozen=True, slots=True)
class Load:
    """How long, and how much of it warms up (seconds); how often (a second) an editor edits, somebody visits, somebody
    pastes; how long a reader sleeps (seconds)."""

    seconds: float
    warm_up: float
    edits: float
    visits: float
    pastes: float
    sleep: float


@dataclass(slots=True)
class Tally:
    """What happened."""

    edits: int = 0
    returns: int = 0
    visits: int = 0
    pasted: int = 0
    reopened: int = 0
    slept: int = 0
    sizes: list[tuple[float, int]] = field(default_factory=list)  # seconds into it, bytes

    def grown(self, warm_up: float) -> float:
        """By which part memory is greater at the end than after warming up; medians of a fifth of the time each."""
        sizes = [size for at, size in self.sizes if at >= warm_up]
        fifth = len(sizes) // 5
        return statistics.median(sizes[-fifth:]) / statistics.median(sizes[:fifth]) - 1


def cursor(client: int, clock: int, size: int) -> bytes:
    """An awareness message with one state of about `size` bytes."""
    state = b'{"cursor":"' + b"x" * size + b'"}'
    update = b"\1" + uint(client) + uint(clock) + uint(len(state)) + state
    return b"\1" + uint(len(update)) + update


class Editor:
    """Somebody who edits a page all the time, and whose connection comes and goes; the document stays."""

    def __init__(self, relay: Relay, page: str, client: int) -> None:
        self.page = page
        self.doc: Doc[Any] = Doc(client_id=client)
        self.text = self.doc.get("body", type=Text)
        self.link: Typist
        self._relay = relay
        self._client = client
        self._sent = 0
        self._clock = 0

    async def connect(self) -> None:
        """Ask for what is missing here, and offer everything there is here, as after a time offline."""
        self.link = await Typist.join(
            self._relay.port,
            self.page,
            self._client,
            hocuspocus=bool(self._client % 2),
            keep=True,
            vector=self.doc.get_state(),
        )
        self._sent = 0
        self._say(1, self.doc.get_update())

    def _say(self, kind: int, update: bytes) -> None:
        self.link.say(bytes((0, kind)) + uint(len(update)) + update)
        self._sent += 1

    def read(self) -> str:
        """Take in what has come; the text."""
        assert self.link.updates is not None
        for update in self.link.updates:
            self.doc.apply_update(update)
        self.link.updates.clear()
        return str(self.text)

    def edit(self) -> None:
        """A keystroke or two somewhere, or a deletion while the page is long."""
        length = len(self.read())
        at = random.randrange(length + 1)
        made: list[bytes] = []
        watching = self.doc.observe(lambda event: made.append(event.update))
        if length > LENGTH:
            at = min(at, length - 8)
            del self.text[at : at + random.randrange(1, 8)]
        else:
            self.text.insert(at, random.choice("abcdefghijklmnop \n") * random.randrange(1, 4))
        self.doc.unobserve(watching)
        for update in made:
            self._say(2, update)

    def point(self) -> None:
        self._clock += 1
        self.link.say(cursor(self._client, self._clock, 100))

    @property
    def saved(self) -> bool:
        return self.link.acknowledged == self._sent


class Soak:
    """The parts of the load, each of which goes on until time is up."""

    def __init__(self, relay: Relay, load: Load) -> None:
        self.relay = relay
        self.load = load
        self.tally = Tally()
        self.started = time.monotonic()
        self._numbers: Iterator[int] = iter(range(1000, 2**31))
        self._pasted: dict[str, dict[int, int]] = {}

    async def pace(self, per_second: float) -> AsyncIterator[None]:
        """Turns, at random moments."""
        while (left := self.started + self.load.seconds - time.monotonic()) > 0:
            yield
            await asyncio.sleep(min(left, random.uniform(0, 2) / per_second))

    async def edit(self, editor: Editor) -> None:
        """Type, delete, point, and lose the connection now and then."""
        await editor.connect()
        async for _ in self.pace(self.load.edits):
            editor.edit()
            self.tally.edits += 1
            if random.random() < 0.3:
                editor.point()
            if random.random() < 0.01:
                editor.link.leave()
                await asyncio.sleep(random.uniform(0, 2))
                await editor.connect()
                self.tally.returns += 1

    async def visit(self) -> None:
        """Come, type a little, see it saved, go: by closing, or without a word."""
        async for _ in self.pace(self.load.visits):
            client = next(self._numbers)
            typist = await Typist.join(self.relay.port, random.choice(PAGES), client, hocuspocus=bool(client % 2))
            typist.say(cursor(client, 1, 50))
            if random.random() < 0.2:
                typist.type(3)
                await until(lambda t=typist: t.saved == t.typed, 60, "a visitor's typing is saved")
            if random.random() < 0.5:
                typist.transport.write(framed(b"\x03\xe8", 0x88))
                await until(lambda t=typist: t.closed, 60, "a visitor's goodbye is answered")
            typist.leave()
            self.tally.visits += 1

    async def paste(self) -> None:
        """Begin a document with a paste that a codec process reads and with typing, or look one up that was left."""
        async for _ in self.pace(self.load.pastes):
            if self._pasted and random.random() < 0.3:
                room, typed = random.choice(list(self._pasted.items()))
                reader = await Typist.join(self.relay.port, room, 1)
                for client, count in typed.items():
                    assert reader.text(client) == spelled(count), f"{room} has not kept what was saved"
                reader.leave()
                self.tally.reopened += 1
                continue
            room = f"pasted-{next(self._numbers)}"
            authors = [
                await Typist.join(self.relay.port, room, next(self._numbers), hocuspocus=bool(n)) for n in range(2)
            ]
            authors[0].type(1, PASTE)
            for author in authors:
                author.type(20)
            await until(lambda a=authors: all(one.saved == one.typed for one in a), 60, "what was pasted is saved")
            one, other = authors
            await until(lambda a=one, b=other: a.text(b.client) == spelled(b.typed), 60, "one reads the other")
            await until(lambda a=one, b=other: b.text(a.client) == spelled(a.typed), 60, "the other reads the one")
            self._pasted[room] = {author.client: author.typed for author in authors}
            for author in authors:
                author.leave()
            self.tally.pasted += 1

    async def sleep(self) -> None:
        """A reader in a noisy room reads nothing for a while, then catches up."""
        author = await Typist.join(self.relay.port, "noisy", 2)
        sleeper = await Typist.join(self.relay.port, "noisy", 3, hocuspocus=True)
        sleeper.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        async for _ in self.pace(0.5 / self.load.sleep):
            sleeper.transport.pause_reading()
            for _ in range(NOISE):
                author.type()
                author.say(cursor(2, author.typed, 60_000))
                await asyncio.sleep(0.01)
            await asyncio.sleep(self.load.sleep)
            sleeper.transport.resume_reading()
            await until(lambda: sleeper.text(2) == spelled(author.typed), 60, "the sleeper has caught up")
            await until(lambda: author.saved == author.typed, 60, "what was typed is saved")
            self.tally.slept += 1

    async def watch(self) -> None:
        """Look at memory."""
        async for _ in self.pace(max(0.2, 200 / self.load.seconds)):
            self.tally.sizes.append((time.monotonic() - self.started, self.relay.rss()))


def seconds_of_cpu(pid: int) -> float:
    """CPU time of a process, without its children."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / 100


async def soak(relays: Callable[..., Relay], load: Load, most: float) -> None:
    """Run the load; memory may grow by `most` of itself after warming up."""
    relay = relays(*FLAGS)
    run = Soak(relay, load)
    editors = [Editor(relay, page, 2 + n) for page in PAGES for n in range(4)]
    async with asyncio.TaskGroup() as group:
        for editor in editors:
            group.create_task(run.edit(editor))
        for part in (run.visit(), run.paste(), run.sleep(), run.watch()):
            group.create_task(part)
    await until(lambda: all(editor.saved for editor in editors), 60, "all that was typed is saved")
    for page in PAGES:
        those = [editor for editor in editors if editor.page == page]
        await until(lambda t=those: len({editor.read() for editor in t}) == 1, 60, f"the editors of {page} agree")
        reader = await Typist.join(relay.port, page, 1)
        assert str(reader.doc.get("body", type=Text)) == those[0].read()
    tally = run.tally
    metrics = await asyncio.to_thread(relay.metrics)
    sizes = [size / 1e6 for at, size in tally.sizes if at >= load.warm_up]
    grown = tally.grown(load.warm_up)
    shares = [seconds_of_cpu(pid) / load.seconds for pid in (relay.pid, *relay.descendants())]
    print(
        f"{load.seconds:g} s: {tally.edits} edits, {tally.returns} reconnects, {tally.visits} visits, "
        f"{tally.pasted} pasted, {tally.reopened} reopened, {tally.slept} slept, "
        f"{metrics['relay_catch_ups_total']:g} catch-ups; MB at first {tally.sizes[0][1] / 1e6:.1f}, "
        f"after warming up {sizes[0]:.1f}, at the end {sizes[-1]:.1f}, "
        f"95 % below {percentile(sizes, 0.95):.1f}; grown {grown:+.1%}; CPU {shares[0]:.1%} and {sum(shares[1:]):.1%}"
    )
    assert min(tally.edits, tally.returns, tally.visits, tally.pasted, tally.reopened, tally.slept) > 0
    assert metrics["relay_catch_ups_total"] > 0
    assert {name: n for name, n in metrics.items() if name.startswith("relay_errors_total") and n} == {}
    logged = [json.loads(line) for line in relay.log.read_text().splitlines()]
    loud = [line for line in logged if line["level"] not in ("debug", "info")]
    assert [line["message"] for line in loud if not line["message"].startswith("no authentication")] == []
    assert grown <= most


@pytest.mark.slow
async def test_soak(relays: Callable[..., Relay]) -> None:
    """People of both protocols type, delete, point, come, go, paste, sleep and lose their connections: everything
    converges, nothing is lost, no error is logged, memory stays."""
    await soak(relays, Load(40, 15, edits=4, visits=4, pastes=2, sleep=3), 0.1)


@pytest.mark.long
@pytest.mark.timeout(2400)
async def test_soak_long(relays: Callable[..., Relay]) -> None:
    """As above, for half an hour."""
    await soak(relays, Load(1800, 300, edits=1.5, visits=2, pastes=1, sleep=10), 0.05)


CHURN = 200_000
"""Characters of a document that is pasted and left."""


@pytest.mark.slow
async def test_closed_documents_leave_memory(relays: Callable[..., Relay]) -> None:
    """Many documents are pasted and left at once: memory holds no more of them than were open together."""
    relay = relays("--idle-unload", "0.5", "--snapshot-idle", "0.5")
    numbers = iter(range(1000, 2**31))

    async def churn(documents: int) -> float:
        async def paste() -> None:
            for _ in range(documents // 8):
                client = next(numbers)
                typist = await Typist.join(relay.port, f"pasted-{client}", client)
                typist.type(1, CHURN)
                await until(lambda t=typist: t.saved == t.typed, 60, "what was pasted is saved")
                typist.leave()

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(paste())
        async with asyncio.timeout(60):
            while (await asyncio.to_thread(relay.metrics))["relay_rooms"]:
                await asyncio.sleep(0.2)
        return relay.rss() / 1e6

    warm, *later = [await churn(80) for _ in range(4)]
    print(f"MB after 80 documents {warm:.1f}, then {', '.join(f'{size:.1f}' for size in later)}")
    assert later[-1] - warm < 40 * CHURN / 1e6, "what 240 documents left behind is less than 40 of them"
