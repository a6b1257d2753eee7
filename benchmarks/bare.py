"""The least that a WebSocket relay on Python and uvloop can do: copy each update to the others of its room.

    python -m benchmarks.bare PORT

As `floor.c`, line by line as little as that: no document, no journal, no check of anything, no metrics. What it costs
above `floor.c` is the interpreter and uvloop. Loopback only; not a usable server; started by `benchmarks.floor`.
"""

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import cast

import uvloop
from websockets.speedups import apply_mask
from websockets.utils import accept_key

NOTHING = b"\x82\5\0\1\2\0\0"
rooms: dict[bytes, dict["Client", Callable[[bytes], None]]] = {}


class Client(asyncio.Protocol):
    """One socket. `others`: the room it is in, itself included."""

    __slots__ = ("others", "rest", "transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.rest = b""
        self.others: dict[Client, Callable[[bytes], None]] = {}

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data, self.rest = self.rest + data, b""
        if not self.others:
            data = self.handshake(data)
        while len(data) >= 6:
            size, head = data[1] & 127, 6
            if size == 126:
                size, head = int.from_bytes(data[2:4], "big"), 8
            if len(data) < head + size:
                break
            body = apply_mask(data[head : head + size], data[head - 4 : head])
            if data[0] == 0x82:
                self.say(body)
            data = data[head + size :]
        self.rest = data

    def handshake(self, data: bytes) -> bytes:
        request, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self.rest = data
            return b""
        key = next(
            line[18:].strip().decode()
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(key).encode()
        )
        self.others = rooms.setdefault(request.split(b" ", 2)[1].partition(b"?")[0], {})
        self.others[self] = self.transport.write
        return rest

    def say(self, body: bytes) -> None:
        if body[:2] == b"\0\0":
            self.transport.write(NOTHING)
        elif body[:2] == b"\0\2" or body[0] == 1:
            size = len(body)
            frame = bytes((0x82, size)) if size < 126 else b"\x82\x7e" + size.to_bytes(2, "big")
            frame += body
            for other, write in self.others.items():
                if other is not self:
                    write(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self.others.pop(self, None)


async def serve(port: int) -> None:
    """Until it is killed."""
    gc.freeze()
    gc.disable()
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
