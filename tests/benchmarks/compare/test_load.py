"""benchmarks/compare/load.py, against servers that do not do as they should."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.compare.load import Order, run
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.swarm import Swarm, Target

Passing = Callable[[int, bytes, Callable[[bytes], None]], None]


@contextmanager
def server(passing: Passing) -> Iterator[Target]:
    """A relay without a document; `passing` says what becomes of the n-th update on its way to one of the others."""
    loop = asyncio.new_event_loop()
    started: list[int] = []
    ready = threading.Event()
    counts: dict[ServerConnection, int] = {}

    async def serving(connection: ServerConnection) -> None:
        counts[connection] = 0
        async for message in connection:
            assert isinstance(message, bytes)
            if message[:2] == b"\0\0":
                await connection.send(b"\0\1\2\0\0")
            elif message[:2] == b"\0\2":
                for other in counts:
                    if other is not connection:
                        counts[other] += 1
                        out: list[bytes] = []
                        passing(counts[other], message, out.append)
                        for each in out:
                            await other.send(each)

    async def live() -> None:
        async with serve(serving, "127.0.0.1", 0, compression=None) as it:
            started.append(next(iter(it.sockets)).getsockname()[1])
            ready.set()
            await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    ready.wait(10)
    try:
        yield Target("127.0.0.1", started[0], "/{room}", False)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def whole(_: int, message: bytes, send: Callable[[bytes], None]) -> None:
    send(message)


def loses(count: int, message: bytes, send: Callable[[bytes], None]) -> None:
    if count != 20:
        send(message)


def doubles(count: int, message: bytes, send: Callable[[bytes], None]) -> None:
    send(message)
    if count == 20:
        send(message)


class Swaps:
    """The 20th and the 21st change places."""

    def __init__(self) -> None:
        self.held = b""

    def __call__(self, count: int, message: bytes, send: Callable[[bytes], None]) -> None:
        if count == 20:
            self.held = message
            return
        send(message)
        if count == 21:
            send(self.held)


@pytest.mark.parametrize(
    ("passing", "wrong"),
    [(whole, "none"), (loses, "1 lost"), (doubles, "1 doubled"), (Swaps(), "1 disordered")],
    ids=["whole", "loses", "doubles", "swaps"],
)
@pytest.mark.parametrize("window", [0, 4], ids=["paced", "waiting"])
def test_a_server_is_found_out(passing: Passing, wrong: str, window: int) -> None:
    """One writer, one reader: what the server does to a single edit is what the result says."""
    kind = "closed" if window else "typing"
    scenario = Scenario("test", "", kind, writers=1, rate=0 if window else 300, window=window)
    with server(passing) as target:
        order = Order(scenario, target, prewarm=0, warmup=0.1, seconds=0.3, drain=0.5)
        result = run(order)
    assert result["faults"] == wrong
    assert result["count"] > 30
    assert result["p50_ms"] < 100


def test_only_this_machine_is_loaded() -> None:
    """Another address wants to be asked for."""
    with pytest.raises(SystemExit):
        Swarm(Target("192.0.2.1", 80, "/", False), 1)
