"""What tests of rooms and servers put in the place of sockets, services and codec processes; deterministic."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from relay.codec.worker import JOBS
from relay.errors import CodecDied, Unavailable
from relay.grants import Grant
from relay.journal import Appended, Opened
from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.room.member import Member
from relay.room.room import Limits, Room
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId
from relay.yjs.lib0 import read_bytes, write_bytes, write_uint
from relay.yjs.update import parse

NAME = RoomId("doc")
NODE = NodeId("node")


# -- updates --


def typed(client: int, clock: int, text: str = "a", after: tuple[int, int] | None = None) -> bytes:
    """One client's `text` at `clock`, behind its own last character (or `after`); at 0 it begins the root `t`."""
    if after is None and clock:
        after = (client, clock - 1)
    head = b"\x84" + write_uint(after[0]) + write_uint(after[1]) if after else b"\x04\x01\x01t"
    return b"\1\1" + write_uint(client) + write_uint(clock) + head + write_bytes(text.encode()) + b"\0"


def deleted(client: int, clock: int, length: int = 1) -> bytes:
    """An update that deletes and does nothing else."""
    return b"\0\1" + write_uint(client) + b"\1" + write_uint(clock) + write_uint(length)


def rough(client: int, clock: int, texts: Sequence[str]) -> bytes:
    """An update with a section for each text, all of one client: valid, but Yjs would read the last alone."""
    sections = []
    for text in texts:
        sections.append(typed(client, clock, text)[1:-1])
        clock += len(text)
    return write_uint(len(sections)) + b"".join(sections) + b"\0"


def held(updates: Sequence[bytes]) -> set[tuple[int, int]]:
    """The (client, clock) ids that updates hold."""
    ids: set[tuple[int, int]] = set()
    for update in updates:
        for client, structs in parse(update).structs.items():
            for clock, length, _, _ in structs:
                ids.update((client, clock + n) for n in range(length))
    return ids


def deletes(updates: Sequence[bytes]) -> set[tuple[int, int]]:
    """The ids that updates delete."""
    return {
        (client, clock + n)
        for update in updates
        for client, ranges in parse(update).deletes.items()
        for clock, length in ranges
        for n in range(length)
    }


# -- sockets and members --


class FakeSocket:
    """Keeps what a room writes. Told to fill up, it pauses like a transport does: in the middle of a write."""

    def __init__(self) -> None:
        self.deflate = False
        self.paused = False
        self.data = b""
        self.journal: list[bytes] = []
        self.full: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        self.data += data
        if self.full is not None:
            full, self.full = self.full, None
            self.paused = True
            full()

    def take(self) -> list[bytes]:
        """The payloads written since the last call."""
        data, self.data = self.data, b""
        return payloads(data)


def payloads(data: bytes) -> list[bytes]:
    """The payloads of unmasked frames."""
    out = []
    while data:
        length, at = data[1], 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(data[2:10], "big"), 10
        assert len(data) >= at + length, "half a frame"
        out.append(data[at : at + length])
        data = data[at + length :]
    return out


def masked(payload: bytes, first: int = 0x82, mask: bytes = b"\1\2\3\4") -> bytes:
    """A client's frame."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 128 | size))
    elif size < 65536:
        head = bytes((first, 254)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 255)) + size.to_bytes(8, "big")
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


SAVED = b"\x03doc\x08\x01"
PREFIX = b"\x03doc"


class Peer(Member):
    """A member with a socket of its own, and what it was told."""

    def __init__(self, actor: str = "", *, hocuspocus: bool = False, readonly: bool = False, ack: bool = False) -> None:
        self.left: list[Any] = []
        grant = Grant(Actor(actor), actor, readonly)
        if hocuspocus:
            super().__init__(FakeSocket(), grant, self.left.append, prefix=PREFIX, acknowledgement=SAVED)
        else:
            super().__init__(
                FakeSocket(), grant, self.left.append, echo=True, acknowledgement=b"\x64\x01" if ack else None
            )

    def heard(self) -> list[bytes]:
        """The messages since the last call, without the address."""
        assert isinstance(self.socket, FakeSocket)
        return [payload[len(self.prefix) :] for payload in self.socket.take()]

    def updates(self) -> list[bytes]:
        """The updates among `heard`."""
        return updates(self.heard())


def updates(messages: Sequence[bytes]) -> list[bytes]:
    """The updates in messages: of Updates and Step2s."""
    return [read_bytes(said, 2)[0] for said in messages if said[0] == 0 and said[1] in (1, 2)]


def acknowledged(messages: Sequence[bytes]) -> int:
    """How many edits the messages call saved."""
    return sum(said in (b"\x08\x01", b"\x64\x01") for said in messages)


def presence(*states: tuple[int, int, str]) -> bytes:
    """An awareness update of (client id, clock, JSON)."""
    out = [write_uint(client) + write_uint(clock) + write_bytes(state.encode()) for client, clock, state in states]
    return write_uint(len(states)) + b"".join(out)


# -- services --


class FakeJournal(MemoryJournal):
    """A journal that answers when told to, breaks when told to, and forgets when told to."""

    def __init__(self) -> None:
        super().__init__(NODE)
        self.holding = False
        self.down = False
        self.refused: set[RoomId] = set()
        self.waiting: list[Callable[[], None]] = []
        self.calls: list[str] = []

    def append(self, room: RoomId, epoch: int, edits: Sequence[Edit], done: Appended, *, soon: bool = True) -> None:
        self.calls.append("append")
        if self.down:
            asyncio.get_running_loop().call_soon(done, Unavailable("down"))
        elif self.holding:
            self.waiting.append(lambda: super(FakeJournal, self).append(room, epoch, edits, done))
        else:
            super().append(room, epoch, edits, done)

    def answer(self, count: int | None = None) -> None:
        """Take in what is held."""
        taken, self.waiting = self.waiting[:count], self.waiting[len(self.waiting[:count]) :]
        for append in taken:
            append()

    async def open(self, room: RoomId, after: Position | None) -> Opened:
        self.calls.append("open")
        if self.down or room in self.refused:
            raise Unavailable("down")
        return await super().open(room, after)

    async def ping(self) -> None:
        if self.down:
            raise Unavailable("down")

    async def trim(self, room: RoomId, upto: Position) -> None:
        self.calls.append("trim")
        if self.down:
            raise Unavailable("down")
        await super().trim(room, upto)

    async def retire(self, room: RoomId, upto: Position) -> bool:
        self.calls.append("retire")
        return await super().retire(room, upto)

    def forget(self) -> None:
        """Come back empty."""
        self._streams.clear()


class FakeSnapshots(MemorySnapshotStore):
    """A store that may be away, and says in which order it was called."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self.calls = calls
        self.down = False
        self.gate: asyncio.Event | None = None
        self.loads = 0

    async def _reached(self, call: str) -> None:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise Unavailable("down")

    async def load(self, room: RoomId, *, even_quarantined: bool = False) -> Any:
        self.loads += 1
        await self._reached("load")
        return await super().load(room, even_quarantined=even_quarantined)

    async def store(self, room: RoomId, segment: Any) -> bool:
        await self._reached("store")
        return await super().store(room, segment)

    async def archive(self, room: RoomId, entries: Any) -> None:
        await self._reached("archive")
        await super().archive(room, entries)


class InlineCodec:
    """The codec's jobs, run here. `gate` holds them up; `dies` names jobs that end their process."""

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None
        self.dies: set[str] = set()
        self.failing: Exception | None = None
        self.jobs: list[str] = []

    async def _run(self, job: str, *arguments: object) -> Any:
        self.jobs.append(job)
        if self.gate is not None:
            await self.gate.wait()
        if job in self.dies:
            raise CodecDied(f"died on {job}")
        if self.failing is not None:
            raise self.failing
        await asyncio.sleep(0)
        return JOBS[job](*arguments)

    async def summarise(self, update: bytes, known: bytes | None = None) -> tuple[bytes, bytes]:
        rewritten, clocks = await self._run("summarise", update, known)
        return rewritten or update, clocks

    async def compact(self, updates: Sequence[bytes]) -> tuple[bytes, bytes]:
        state, clocks = await self._run("compact", list(updates))
        return state, clocks

    async def diff(self, update: bytes, vector: bytes) -> bytes:
        found: bytes = await self._run("diff", update, vector)
        return found


async def turns(count: int = 10) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Until something is so; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def pass_time(seconds: float) -> None:
    """The loop's clock jumps: timers that are due by then are, whatever the machine is busy with. Not for uvloop."""
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds  # type: ignore[method-assign]


async def alone() -> None:
    """Until no task is left but the one that waits here."""
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def make_room(journal: MemoryJournal, limits: Limits | None = None, segments: Sequence[Any] = ()) -> Room:
    """A room that opened `journal`. Tests call its `flush` themselves. `grown` and `failed` collect its calls."""
    opened = await journal.open(NAME, None)
    room = Room(
        NAME, segments, opened.epoch, journal, Counters(), limits or Limits(),
        on_grown=lambda room: grown.append(room), on_failed=lambda room, error: failed.append(error),
    )  # fmt: skip
    grown: list[Room] = []
    failed: list[Exception] = []
    for segment in segments:
        room.known.load(segment.clocks, segment.state)
    return room
