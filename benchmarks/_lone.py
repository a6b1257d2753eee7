"""What the stages of an edit cost when edits are rare: one every 10 ms, and the core sleeps in between.

An edit comes in over a socket from another process, and more and more of the relay is put behind that socket: nothing;
the stages that touch no socket, each timed; the whole room with sockets and journal that do nothing; its readers'
sockets; the journal; its author's socket. What each step adds to this process's CPU is what that stage costs there, so
the stages add up to the whole. Measured one by one they would not: each would pay for caches that the one before it
had already filled.
"""

import asyncio
import itertools
import multiprocessing
import os
import selectors
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Self

from benchmarks.edit_path import NullJournal, NullTransport, context_of, keystroke
from relay import embedded
from relay.hooks import ConnectAsked
from relay.journal import Journal
from relay.journal.keys import stream_key
from relay.journal.redis import RedisJournal
from relay.journal.wire import pack
from relay.protocol import ywebsocket as protocol
from relay.protocol.frames import Inbox, frame
from relay.protocol.messages import Update
from relay.room.room import Limits
from relay.server.connection import Connection
from relay.server.ywebsocket import YWebsocketSession
from relay.types import NodeId, RoomId
from relay.yjs.known import Known
from relay.yjs.update import parse

__all__ = ["PAUSE", "Others", "lone", "packed", "updated"]

PAUSE = 0.01
SAMPLES = 50
ROUNDS = 10
ROOM = RoomId("benchmark")
PATIENCE = 0.5
numbers = itertools.count()


def updated(message: bytes) -> bytes:
    """The update in a protocol message."""
    update = protocol.decode(message)
    assert isinstance(update, Update)
    return update.update


def packed(update: bytes) -> bytes:
    """The journal's command for one edit."""
    return pack(b"XADD", stream_key(ROOM, 1), b"NOMKSTREAM", b"*", b"n", b"node-1", b"ann", update)


# -- the other ends --


def _others(pipe: Pipe, cores: set[int]) -> None:
    """Reads all that comes; told (rounds, count, pause), types that often on the first `count` connections."""
    os.sched_setaffinity(0, cores)
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    selector.register(listener, selectors.EVENT_READ)
    selector.register(pipe, selectors.EVENT_READ)
    pipe.send(listener.getsockname()[1])
    there: list[socket.socket] = []

    def look(timeout: float | None) -> bool:
        for key, _ in selector.select(timeout):
            if key.fileobj is listener:
                accepted, _ = listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(accepted, selectors.EVENT_READ)
                there.append(accepted)
            elif key.fileobj is pipe:
                told = pipe.recv()
                if told is None:
                    return False
                type_on(*told)
            elif not key.fileobj.recv(65536):  # type: ignore[union-attr]
                selector.unregister(key.fileobj)
        return True

    def type_on(rounds: int, count: int, pause: float) -> None:
        frames = [keystroke(1000, clock) for clock in range(rounds)]
        for data in frames:
            ends = time.monotonic() + pause
            for one in there[:count]:
                one.send(data)
            while (left := ends - time.monotonic()) > 0:
                look(left)

    while look(None):
        pass


class Heard(asyncio.Protocol):
    """One of our ends. `take`: gets what comes, on whichever of them."""

    count = 0
    take: Callable[[bytes], object] = staticmethod(lambda data: None)

    def data_received(self, data: bytes) -> None:
        Heard.count += 1
        Heard.take(data)


class Others:
    """Another process, on `cores`, and connections to it, as long as the `async with` block."""

    def __init__(self, cores: set[int], connections: int) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_others, args=(theirs, cores), daemon=True)
        self._connections = connections
        self.transports: list[asyncio.Transport] = []

    async def __aenter__(self) -> Self:
        self._process.start()
        port = await asyncio.to_thread(self._pipe.recv)
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            transport, _ = await loop.create_connection(Heard, "127.0.0.1", port)
            self.transports.append(transport)
        await asyncio.sleep(0.2)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pipe.send(None)
        for transport in self.transports:
            transport.abort()
        await asyncio.to_thread(self._process.join, 5)

    async def type(self, rounds: int, count: int, pause: float, take: Callable[[bytes], object]) -> float:
        """µs of our CPU for each frame that they send and that is given to `take`."""
        await asyncio.sleep(0.1)
        Heard.count, Heard.take = 0, staticmethod(take)
        self._pipe.send((rounds, count, pause))
        started = time.process_time()
        await asyncio.sleep(rounds * pause)  # looking more often would keep the core awake
        ends = time.monotonic() + PATIENCE
        while Heard.count < rounds * count and time.monotonic() < ends:  # two may have come as one
            await asyncio.sleep(0.05)
        cpu = time.process_time() - started
        Heard.take = staticmethod(lambda data: None)
        return cpu / Heard.count * 1e6


# -- steps --


class Timed:
    """The stages that touch no socket, each timed."""

    names = ("unframe", "decode", "check", "novelty", "frame", "pack")

    def __init__(self, samples: dict[str, list[int]]) -> None:
        self._samples = samples
        self._inbox, self._known = Inbox(1 << 20), Known()

    def take(self, data: bytes) -> None:
        clock = time.thread_time_ns
        at = [clock(), clock()]
        message = self._inbox.receive(data)[0]
        at.append(clock())
        update = updated(message)
        at.append(clock())
        layout = parse(update, 500)
        at.append(clock())
        self._known.add(layout)
        at.append(clock())
        frame(protocol.update(update))
        at.append(clock())
        packed(update)
        at.append(clock())
        for name, first, last in zip(("clock", *self.names), at, at[1:]):
            self._samples.setdefault(name, []).append(last - first)


async def room(journal: Journal, author: asyncio.Transport | None, readers: Sequence[asyncio.Transport]) -> Connection:
    """Its author's connection. Of the author and of the only reader there may be sockets that do nothing."""
    context = context_of(journal, Limits(tail=1 << 40))
    null = NullTransport()
    name = RoomId(f"benchmark-{next(numbers)}")  # in a room of before, the journal has these edits already
    made = []
    for transport in (author or null, *(readers or (null,))):
        connection = Connection(context, transport, "127.0.0.1", None)  # type: ignore[arg-type]
        connection.session = YWebsocketSession(context, connection, name, ConnectAsked("", "", ""), False)
        made.append(connection)
    await asyncio.sleep(0.1)
    return made[0]


async def lone(cores: set[int], readers: Sequence[int]) -> tuple[dict[str, float], dict[int, float], float]:
    """µs by stage; of a write, by how many there are; and of all of it with one reader. Medians of
    rounds in which the steps take turns, so that what disturbs a round disturbs all of them."""
    samples: dict[str, list[int]] = {}
    steps: dict[str, list[float]] = {}
    async with Others(cores, max(readers) + 1) as others:
        author, *rest = others.transports

        async def step(name: str, take: Callable[[bytes], object]) -> None:
            steps.setdefault(name, []).append(await others.type(SAMPLES, 1, PAUSE, take))

        async def with_room(name: str, journal: Journal, author: asyncio.Transport | None, count: int) -> None:
            connection = await room(journal, author, rest[:count])
            await step(name, connection.data_received)

        nothing = NullJournal(NodeId("b"))
        with tempfile.TemporaryDirectory(prefix="relay-stages-") as directory:
            async with await embedded.start(Path(directory) / "data", postgres=False, valkey=True) as own:
                journal = RedisJournal(own.redis_url, NodeId("stages"))
                await journal.start()
                for _ in range(ROUNDS):
                    await step("read", lambda data: None)
                    await step("timed", Timed(samples).take)
                    await with_room("alone", nothing, None, 0)
                    await with_room("written 1", nothing, None, 1)
                    await with_room("saved", journal, None, 1)
                    await with_room("whole", journal, author, 1)
                for count in [*readers] * 3:
                    await with_room(f"written {count}", nothing, None, count)
                await journal.close()
    usual = {name: statistics.median(found) for name, found in steps.items()}
    took = {name: statistics.median(each) / 1e3 for name, each in samples.items()}
    found = {name: max(0.0, took[name] - took["clock"]) for name in Timed.names}
    inside = sum(found[name] for name in Timed.names if name != "pack")
    writes = {count: max(0.0, usual[f"written {count}"] - usual["alone"]) / count for count in readers}
    found |= {
        "read": usual["read"],
        "room": max(0.0, usual["alone"] - usual["read"] - inside),
        "write": max(0.0, usual["written 1"] - usual["alone"]),
        "journal": max(0.0, usual["saved"] - usual["written 1"] - found["pack"]),
        "acknowledge": max(0.0, usual["whole"] - usual["saved"]),
    }
    return found, writes, usual["whole"]
