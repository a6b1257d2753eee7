"""Services that several relays of one process share, and everything between that may be slow, cut, or lie still.

Time is virtual and every delay is chosen by the test, so that what happened once happens again.
"""

import asyncio
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from fakes import InlineCodec

from relay.errors import Unavailable
from relay.journal import Appended, Counted, Opened
from relay.journal.memory import MemoryJournal
from relay.shard import Heard
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import Edit, NodeId, Position, RoomId

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while anything can run, and jumps to the next timer when nothing can."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everything waits, and nothing will ever happen"
        self._loop.now += max(timeout, 0.0)
        return super().select(0)


class Waiting(NamedTuple):
    """A call that is held up: before it takes effect, or after it has and before it is answered."""

    node: NodeId
    what: str
    go: "asyncio.Future[bool]"


class World:
    """The servers, and who reaches them.

    held: the next calls to be held up, by node and name (`answered`: after they took effect); away: services that are
    down for all, or (node, service) pairs; gossip: what becomes of messages between relays; crashed: nodes that do
    nothing any more.
    """

    def __init__(self) -> None:
        self.streams: dict[RoomId, Any] = {}
        self.snapshots = MemorySnapshotStore()
        self.journals: dict[NodeId, Journal] = {}
        self.listeners: dict[NodeId, Heard] = {}
        self.held: set[tuple[NodeId, str]] = set()
        self.waiting: list[Waiting] = []
        self.letters: list[Callable[[], None]] = []
        self.gossip = "heard"
        self.away: set[object] = set()
        self.crashed: set[NodeId] = set()
        self.appended: Callable[[], None] = lambda: None
        self._ms = 1_000

    def time_ns(self) -> int:
        """The servers' clock: never the same millisecond twice."""
        self._ms += 1
        return self._ms * 1_000_000

    def reaches(self, node: NodeId, service: str) -> bool:
        return service not in self.away and (node, service) not in self.away

    async def call(self, node: NodeId, service: str, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """One call over the network."""
        await self._pass(node, name)
        if not self.reaches(node, service):
            raise Unavailable(f"{service} is away")
        result = await work()
        await self._pass(node, f"{name} answered")
        if not self.reaches(node, service):
            raise Unavailable(f"the answer of {service} was lost")
        return result

    async def _pass(self, node: NodeId, what: str) -> None:
        if node in self.crashed:
            await asyncio.get_running_loop().create_future()
        if (node, what) not in self.held:
            return
        self.held.discard((node, what))
        waiting = Waiting(node, what, asyncio.get_running_loop().create_future())
        self.waiting.append(waiting)
        if not await waiting.go:
            raise Unavailable("the connection broke")
        if node in self.crashed and what.endswith("answered"):
            await asyncio.get_running_loop().create_future()

    def let_go(self, number: int, go: bool) -> None:
        """A held call goes on, or fails."""
        waiting = self.waiting.pop(number)
        if not waiting.go.done():
            waiting.go.set_result(go)

    def crash(self, node: NodeId) -> None:
        """Everything in its memory is gone; what it had sent may still arrive."""
        self.crashed.add(node)
        self.listeners.pop(node, None)
        self.held = {held for held in self.held if held[0] != node}
        journal = self.journals.pop(node)
        journal.connected = False
        for command, _ in journal.commands:
            command(lambda _: None)
        journal.commands.clear()
        journal.replies.clear()
        self.appended()


class _Reply:
    def __init__(self, journal: "Journal", done: Callable[[Any], None]) -> None:
        self.journal, self.done = journal, done
        self.value: Any = None

    def arrive(self, value: Any) -> None:
        self.value = value
        self.journal.hear()


class Journal(MemoryJournal):
    """One node's way to the journal: appends and counts in one ordered connection, everything else in calls.

    stalled: what is sent does not arrive; deaf: what is answered does not.
    """

    def __init__(self, world: World, node: NodeId) -> None:
        super().__init__(node)
        self._streams = world.streams
        self._world = world
        self.connected = True
        self.stalled = self.deaf = False
        self.commands: deque[tuple[Callable[[Callable[[Any], None]], None], Callable[[Any], None]]] = deque()
        self.replies: deque[_Reply] = deque()
        self.on_state: Callable[[bool], None] = lambda up: None
        world.journals[node] = self

    # -- the connection --

    def append(self, room: RoomId, epoch: int, edits: Sequence[Edit], done: Appended, *, soon: bool = True) -> None:
        def command(answer: Callable[[Any], None]) -> None:
            MemoryJournal.append(self, room, epoch, edits, answer)
            self._world.appended()

        self._send(command, done)

    def count(self, room: RoomId, epoch: int, done: Counted) -> None:
        self._send(lambda answer: MemoryJournal.count(self, room, epoch, answer), done)

    def _send(self, command: Callable[[Callable[[Any], None]], None], done: Callable[[Any], None]) -> None:
        if self._node in self._world.crashed:
            return
        if not self.connected:
            asyncio.get_running_loop().call_soon(done, Unavailable("not connected"))
            return
        self.commands.append((command, done))
        self.arrive()

    def arrive(self) -> None:
        """What was sent reaches the server."""
        while self.commands and not self.stalled:
            command, done = self.commands.popleft()
            reply = _Reply(self, done)
            self.replies.append(reply)
            command(reply.arrive)

    def hear(self) -> None:
        """Answers come in, in order."""
        while self.replies and not self.deaf and self.replies[0].value is not None:
            reply = self.replies.popleft()
            reply.done(reply.value)

    def flow(self) -> None:
        """Nothing is held up any more."""
        self.stalled = self.deaf = False
        self.arrive()
        self.hear()

    def cut(self, arrives: int) -> None:
        """The connection breaks; the first commands that were on their way may still arrive."""
        if not self.connected:
            return
        for command, _ in list(self.commands)[:arrives]:
            command(lambda _: None)
        dones = [reply.done for reply in self.replies] + [done for _, done in self.commands]
        self.replies.clear()
        self.commands.clear()
        self.connected = self.stalled = self.deaf = False
        asyncio.get_running_loop().call_soon(self.on_state, False)
        for done in dones:
            done(Unavailable("the connection broke"))

    def connect(self) -> None:
        """The connection is made again, if the server is there."""
        if not self.connected and self._world.reaches(self._node, "journal"):
            self.connected = True
            self.on_state(True)

    # -- calls --

    async def _call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        return await self._world.call(self._node, "journal", name, work)

    async def open(self, room: RoomId, after: Position | None) -> Opened:
        return await self._call("open", lambda: MemoryJournal.open(self, room, after))

    async def read(self, room: RoomId, after: Position | None, upto: Position | None, limit: int = 1000) -> Any:
        return await self._call("read", lambda: MemoryJournal.read(self, room, after, upto, limit))

    async def trim(self, room: RoomId, upto: Position) -> None:
        await self._call("trim", lambda: MemoryJournal.trim(self, room, upto))

    async def retire(self, room: RoomId, upto: Position) -> bool:
        return await self._call("retire", lambda: MemoryJournal.retire(self, room, upto))

    async def epoch(self, room: RoomId) -> int:
        return await self._call("epoch", lambda: MemoryJournal.epoch(self, room))

    async def ping(self) -> None:
        if not self.connected:
            raise Unavailable("not connected")
        await self._call("ping", lambda: MemoryJournal.ping(self))


class Snapshots:
    """One node's way to the snapshots."""

    def __init__(self, world: World, node: NodeId) -> None:
        self._world, self._node = world, node

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world.snapshots, name)

        def call(*arguments: Any, **options: Any) -> Awaitable[Any]:
            return self._world.call(self._node, "snapshots", name, lambda: method(*arguments, **options))

        return call


class Channels:
    """One node's way to the others: each message is heard, lost, heard twice, or heard when the test says."""

    def __init__(self, world: World, node: NodeId, heard: Heard, reset: Callable[[], None]) -> None:
        self._world, self._node, self._heard = world, node, heard

    async def listen(self, room: RoomId) -> None:
        await self._world.call(self._node, "journal", "listen", self._listen)

    async def _listen(self) -> None:
        self._world.listeners[self._node] = self._heard

    async def stop(self, room: RoomId) -> None:
        self._world.listeners.pop(self._node, None)

    async def tell(self, room: RoomId, message: bytes) -> int:
        if self._node in self._world.crashed or not self._world.reaches(self._node, "journal"):
            raise Unavailable("the journal is away")
        loop = asyncio.get_running_loop()
        others = [(node, heard) for node, heard in self._world.listeners.items() if node != self._node]
        for node, heard in others:
            if self._world.gossip == "delayed":
                self._world.letters.append(lambda heard=heard: heard(room, self._node, message))  # type: ignore[misc]
            elif self._world.gossip != "lost" and self._world.reaches(node, "journal"):
                for _ in range(1 + (self._world.gossip == "twice")):
                    loop.call_soon(heard, room, self._node, message)
        return len(others)

    async def close(self) -> None:
        self._world.listeners.pop(self._node, None)


class Codec(InlineCodec):
    """One node's codec: its work may take long."""

    def __init__(self, world: World, node: NodeId) -> None:
        super().__init__()
        self._world, self._node = world, node

    async def _run(self, job: str, *arguments: object) -> Any:
        return await self._world.call(self._node, "codec", job, lambda: InlineCodec._run(self, job, *arguments))
