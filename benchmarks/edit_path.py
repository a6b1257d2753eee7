"""What does one edit cost inside the process, without the kernel? From a socket's bytes to the writes of everybody.

    python benchmarks/edit_path.py [--members 2] [--senders 1] [--batch 1] [--edits 20000]

Sockets and journal are fakes that do nothing, so the figure is our own code: read the frame, read the update, know
what is new, merge, frame, walk the members, hand to the journal, acknowledge. Microseconds per edit, best of five.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence

import uvloop

from relay.codec.pool import CodecPool
from relay.dispatch import Dispatch
from relay.gate import Gate
from relay.hooks import ConnectAsked
from relay.journal import Appended, Journal
from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.protocol.frames import frame
from relay.room.registry import Registry
from relay.room.room import Limits
from relay.server.connection import Connection
from relay.server.context import ConnectionLimits, Context
from relay.server.ywebsocket import YWebsocketSession
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import Edit, NodeId, Position, RoomId
from relay.yjs.lib0 import write_uint

ROOM = RoomId("benchmark")


class NullTransport:
    """Takes what is written and forgets it."""

    def write(self, data: bytes) -> None:
        pass

    def set_write_buffer_limits(self, high: int) -> None:
        pass


class NullJournal(MemoryJournal):
    """Says "saved" at the end of the turn and keeps nothing."""

    seq = 0

    def append(self, room: RoomId, epoch: int, edits: Sequence[Edit], done: Appended, *, soon: bool = True) -> None:
        self.seq += 1
        asyncio.get_running_loop().call_soon(done, Position(epoch, 1, self.seq))


def keystroke(client: int, clock: int) -> bytes:
    """A masked WebSocket frame with one character typed after the one before."""
    update = b"\1\1" + write_uint(client) + write_uint(clock)
    if clock:
        update += b"\x84" + write_uint(client) + write_uint(clock - 1) + b"\1x\0"
    else:
        update += b"\4\1\1t\1x\0"
    body = frame(b"\0\2" + write_uint(len(update)) + update)
    return bytes((0x82, 0x80 | body[1])) + bytes(4) + body[2:]


def context_of(journal: Journal, limits: Limits) -> Context:
    """What connections need, with an empty snapshot store, and as fast as they like."""
    counters = Counters()
    registry = Registry(NodeId("b"), journal, MemorySnapshotStore(), CodecPool(1, counters), counters, limits)
    fast = ConnectionLimits(burst_messages=1 << 40, burst_bytes=1 << 50)
    return Context(registry, Dispatch([Gate(None)]), counters, fast, authenticated=False)


async def measure(members: int, senders: int, batch: int, edits: int) -> float:
    context = context_of(NullJournal(NodeId("b")), Limits(tail=1 << 40, flush_share=0.0))
    counters = context.counters
    connections = []
    for _ in range(members):
        connection = Connection(context, NullTransport(), "127.0.0.1", None)  # type: ignore[arg-type]
        connection.session = YWebsocketSession(context, connection, ROOM, ConnectAsked("", "", ""), False)
        connections.append(connection)
    await asyncio.sleep(0.05)
    frames = [[keystroke(1000 + s, clock) for clock in range(edits)] for s in range(senders)]
    started = time.perf_counter()
    for clock in range(0, edits, batch):
        for sender in range(senders):
            receive = connections[sender].data_received
            for data in frames[sender][clock : clock + batch]:
                receive(data)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    took = time.perf_counter() - started
    assert counters.edits_in >= senders * (edits - batch), counters.edits_in
    return took / (edits * senders) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("members", 2), ("senders", 1), ("batch", 1), ("edits", 20000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    best = min(uvloop.run(measure(options.members, options.senders, options.batch, options.edits)) for _ in range(5))
    print(f"{best:.2f} µs per edit ({options.members} members, {options.senders} senders, batches of {options.batch})")


if __name__ == "__main__":
    main()
