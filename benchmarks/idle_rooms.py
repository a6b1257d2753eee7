"""What does a room cost that is loaded and where nothing happens?

    python benchmarks/idle_rooms.py [--rooms 10000] [--size 1000] [--json PATH]

A `relay serve` with its own PostgreSQL and Valkey gets so many documents of `size` bytes, by one to five authors each;
it is started again, and all are opened from their snapshots. Memory is that of the relay's process (not that of its
databases), less the documents' bytes, a room; once with nobody there any more (a Hocuspocus socket opens a hundred, and
leaves), and once with a client in every room, whose own memory that includes.
"""

import asyncio
import time
from collections.abc import Callable

import uvloop
from _client import framed, uint
from _document import document
from _relay import Relay, cpu_seconds
from _report import Report, parser

EACH = 100
FLAGS = ("--idle-unload", "1h", "--snapshot-idle")


class Socket(asyncio.Protocol):
    """A Hocuspocus client with many documents, that counts what is loaded and what is saved."""

    def __init__(self) -> None:
        self.synced = self.saved = 0
        self.transport: asyncio.Transport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.write(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def say(self, name: str, message: bytes) -> None:
        self.transport.write(framed(uint(len(name)) + name.encode() + message))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = data.find(b"\r\n\r\n") + 4 if data.startswith(b"HTTP") else 0
        while len(data) - at >= 4:
            length, body = data[at + 1], at + 2
            if length == 126:
                body, length = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
            if len(data) < body + length:
                break
            message = data[body + 1 + data[body] : body + length]
            self.synced += message[:2] == b"\0\1"
            self.saved += message[:2] == b"\x08\1"
            at = body + length
        self._rest = data[at:]


async def join(relay: Relay, names: list[str], uploads: list[bytes]) -> list[Socket]:
    """Open every document, a hundred to a socket, and put in what is to be put in."""
    sockets = []
    for first in range(0, len(names), EACH):
        _, socket = await asyncio.get_running_loop().create_connection(Socket, "127.0.0.1", relay.port)
        sockets.append(socket)
        mine = names[first : first + EACH]
        for name in mine:
            socket.say(name, b"\2\0\0\0054.7.0")
            socket.say(name, b"\0\0\1\0")
        await until(lambda s=socket, wanted=mine: s.synced == len(wanted))
        for name, content in zip(mine, uploads[first : first + EACH]):
            socket.say(name, b"\0\2" + uint(len(content)) + content)
        if uploads:
            await until(lambda s=socket, wanted=mine: s.saved == len(wanted))
    return sockets


async def until(true: Callable[[], bool], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit("the relay did not answer in time")
        await asyncio.sleep(0.005)


async def upload(relay: Relay, names: list[str], contents: list[bytes]) -> None:
    for socket in await join(relay, names, contents):
        socket.transport.abort()


async def measure(relay: Relay, names: list[str], contents: list[bytes], report: Report) -> None:
    warm = await join(relay, ["warm-up"], [])
    await asyncio.sleep(0.5)
    before, cpu = relay.rss(), cpu_seconds([relay.pid])
    for first in range(0, len(names), EACH):
        (socket,) = await join(relay, names[first : first + EACH], [])
        socket.transport.abort()
    cpu = cpu_seconds([relay.pid]) - cpu
    await asyncio.sleep(2)
    idle = cpu_seconds([relay.pid])
    await asyncio.sleep(5)
    idle = (cpu_seconds([relay.pid]) - idle) / 5
    left = relay.rss()
    sockets = await join(relay, names, [])
    joined = relay.rss()
    if relay.metrics()["relay_rooms"] != len(names) + 1:
        raise SystemExit("rooms left memory")
    for socket in (*sockets, *warm):
        socket.transport.abort()
    size = sum(map(len, contents))
    for who, now in (("nobody", left), ("one each", joined)):
        report.row(
            rooms=len(names),
            document_bytes=size // len(names),
            clients=who,
            MB=(now - before) / 1e6,
            KB_a_room_beside_its_document=(now - before - size) / len(names) / 1e3,
            µs_of_CPU_to_open=cpu / len(names) * 1e6,
            CPU_at_rest=idle,
        )
    report.aim("KB a room beside its document", (left - before - size) / len(names) / 1e3, 4)


def main() -> None:
    arguments = parser(__doc__)
    for name, default in (("rooms", 10_000), ("size", 1000)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    options = arguments.parse_args()
    report = Report("idle_rooms", options.json)
    names = [f"room-{number}" for number in range(options.rooms)]
    contents = [document(options.size, 1 + number % 5, 1000 * number + 1) for number in range(options.rooms)]
    with Relay(*FLAGS, "0.2s", "--drain-timeout", "60s") as relay:
        started = time.perf_counter()
        uvloop.run(upload(relay, names, contents))
        print(f"{options.rooms} documents uploaded in {time.perf_counter() - started:.1f} s", flush=True)
        relay.restart(*FLAGS, "1h")
        print(f"and stored after {time.perf_counter() - started:.1f} s", flush=True)
        uvloop.run(measure(relay, names, contents, report))
    report.write()


if __name__ == "__main__":
    main()
