"""What does a client's connect cost inside the process, without the kernel? From the request's head to the first sync.

    python -m benchmarks.connect [--connects 5000] [--rooms 500] [--json PATH]

Every client has a token of its own (RS256), which nobody has seen before; the rooms are open. Sockets are fakes that do
nothing, so the figures are our own code. Microseconds of CPU per connect, best of five:

    verify     checking the token
    handshake  reading the request's head and answering it
    join       the rest of what the head sets off: the connection's objects, its grant, its place in the room
    sync       the client's Step1 answered, and its Step2 read

What sockets add, and a peer beside it: `python -m benchmarks.compare --scenarios idle --servers relay,y-websocket`.
"""

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks._report import Report, parser
from benchmarks.compare.tokens import key_pair, tokens
from benchmarks.compare.wire import framed, opening
from relay.codec.pool import CodecPool
from relay.dispatch import Dispatch
from relay.gate import Gate
from relay.journal.memory import MemoryJournal
from relay.metrics import Counters
from relay.protocol.handshake import accept, parse_request
from relay.room.registry import Registry
from relay.room.room import Limits
from relay.server.context import ConnectionLimits, Context
from relay.server.front import Front, HttpHandler
from relay.snapshot.memory import MemorySnapshotStore
from relay.tokens import Verifier
from relay.types import NodeId, RoomId

NODE = NodeId("benchmark")
AT_ONCE = 20
STEP1, STEP2 = framed(b"\0\0\1\0"), framed(b"\0\1\2\0\0")


class NullTransport:
    """Counts what is written and forgets it."""

    def __init__(self) -> None:
        self.writes = 0
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        self.writes += 1

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def abort(self) -> None:
        pass

    def get_extra_info(self, name: str) -> object:
        return "127.0.0.1", 1


class Parts(NamedTuple):
    """Seconds of CPU of all connects."""

    verify: float
    handshake: float
    join: float
    sync: float


async def verified(key: Path, everybody: Sequence[str]) -> float:
    """Each token, once."""
    verifier = Verifier(key=key)
    started = time.process_time()
    for token in everybody:
        await verifier.verify(token)
    return time.process_time() - started


def answered(heads: Sequence[bytes]) -> float:
    """Each head read and answered."""
    started = time.process_time()
    for head in heads:
        accept(parse_request(head[: head.find(b"\r\n\r\n")]))
    return time.process_time() - started


async def by_the_loop(work: Callable[[], None]) -> float:
    """Seconds of CPU until it and what it set off are done. The loop calls it, as it calls a protocol: no task is."""
    loop = asyncio.get_running_loop()
    started = time.process_time()
    loop.call_soon(work)
    for _ in range(3):
        await asyncio.sleep(0)
    return time.process_time() - started


def come(context: Context, transports: Sequence[NullTransport], heads: Sequence[bytes]) -> None:
    """A connection is made, and its head comes."""
    for transport, head in zip(transports, heads):
        transport.protocol = Front(context, HttpHandler())
        transport.protocol.connection_made(transport)
        transport.protocol.data_received(head)


def ask(transports: Sequence[NullTransport]) -> None:
    """The client asks for the document, and answers that it has nothing."""
    for transport in transports:
        transport.protocol.data_received(STEP1)
        transport.protocol.data_received(STEP2)


async def connected(key: Path, rooms: int, heads: Sequence[bytes]) -> tuple[float, float]:
    """All come, some at once, and stay: seconds for their heads, and for the first sync."""
    counters = Counters()
    registry = Registry(
        NODE, MemoryJournal(NODE), MemorySnapshotStore(), CodecPool(1, counters), counters, Limits()
    )  # fmt: skip
    dispatch = Dispatch([Gate(Verifier(key=key))])
    context = Context(registry, dispatch, counters, ConnectionLimits(per_address=0), authenticated=True)
    for number in range(rooms):
        await registry.open(RoomId(f"room{number}"))
    here: list[NullTransport] = []
    head_seconds = sync_seconds = 0.0
    for at in range(0, len(heads), AT_ONCE):
        coming = [NullTransport() for _ in heads[at : at + AT_ONCE]]
        head_seconds += await by_the_loop(partial(come, context, coming, heads[at:]))
        sync_seconds += await by_the_loop(partial(ask, coming))
        here += coming
    assert all(transport.writes == 3 for transport in here), "response, Step1, Step2"
    for transport in here:
        transport.protocol.connection_lost(None)
    return head_seconds, sync_seconds


async def measure(key: Path, rooms: int, everybody: Sequence[str]) -> Parts:
    heads = [opening("127.0.0.1", f"/ws/room{n % rooms}?token={token}") for n, token in enumerate(everybody)]
    verify, handshake = await verified(key, everybody), answered(heads)
    head, sync = await connected(key, rooms, heads)
    return Parts(verify, handshake, head - verify - handshake, sync)


def main(options: argparse.Namespace) -> None:
    report = Report("connect", options.json)
    gc.disable()
    with tempfile.TemporaryDirectory() as directory:
        private, public = key_pair(Path(directory))
        everybody = list(tokens(str(private), options.connects))
        runs = [uvloop.run(measure(public, options.rooms, everybody)) for _ in range(5)]
    best = min(runs, key=sum)
    each = {name: seconds / options.connects * 1e6 for name, seconds in best._asdict().items()}
    report.row(**each, all=sum(each.values()))
    report.write()


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--connects", type=int, default=5000)
    made.add_argument("--rooms", type=int, default=500)
    main(made.parse_args())
