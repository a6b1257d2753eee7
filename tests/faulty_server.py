"""A y-websocket server that loses, doubles or swaps what it passes on."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pycrdt import Doc, read_message, write_message
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.compare.swarm import Target

__all__ = ["Passing", "Swaps", "doubles", "loses", "server", "whole"]

Passing = Callable[[int, bytes, Callable[[bytes], None]], None]


@contextmanager
def server(passing: Passing) -> Iterator[Target]:
    """A relay of one room; `passing` says what becomes of the n-th update on its way to one of the others."""
    loop = asyncio.new_event_loop()
    started: list[int] = []
    ready = threading.Event()
    counts: dict[ServerConnection, int] = {}
    doc: Doc[Any] = Doc()

    async def serving(connection: ServerConnection) -> None:
        counts[connection] = 0
        try:
            async for message in connection:
                assert isinstance(message, bytes)
                if message[:2] == b"\0\0":
                    await connection.send(b"\0\1" + write_message(doc.get_update()))
                elif message[:2] == b"\0\2":
                    doc.apply_update(read_message(message[2:]))
                    for other in [each for each in counts if each is not connection]:
                        counts[other] += 1
                        out: list[bytes] = []
                        passing(counts[other], message, out.append)
                        for each in out:
                            with suppress(ConnectionClosed):
                                await other.send(each)
        except ConnectionClosed:
            pass
        finally:
            del counts[connection]

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
