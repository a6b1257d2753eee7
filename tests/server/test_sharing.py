"""Two workers with a port each: wherever a client connects, it is served by the one that has its room."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from secrets import token_hex
from typing import Any
from zlib import crc32

import pytest
from fakes import masked, typed, until
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from relay.protocol.ywebsocket import step1, update
from relay.server import sharing
from relay.server.sharing import SharingFront, adopt
from relay.shard.handoff import MAX_BYTES, Handoff, Place
from relay.yjs.lib0 import write_bytes

ROOMS = [next(f"room-{n}" for n in range(100) if crc32(f"room-{n}".encode()) % 2 == number) for number in range(2)]
"""A room of each worker."""
Workers = Callable[..., Awaitable[list[Any]]]


def said(room: str, message: bytes) -> bytes:
    """A Hocuspocus message about a room."""
    return bytes((len(room),)) + room.encode() + message


@pytest.fixture
async def workers(serve: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    """`await workers(...)`: two servers, as `serve` makes them, that hand clients to each other."""
    monkeypatch.setattr(sharing, "FIRST_MESSAGE_TIMEOUT", 60.0)
    ports: list[asyncio.Server] = []
    handoffs: list[Handoff] = []

    async def start(**options: Any) -> list[Any]:
        mesh = f"test-{token_hex(8)}"
        servers = []
        for number in range(2):
            server = await serve(**options)
            context, http = server.context, server.http
            listener = socket.create_server(("127.0.0.1", 0))
            place = Place(number, 2, mesh, listener)
            server.handoff = Handoff(place, partial(adopt, context, http), lambda: b"")
            server.handoff.start()
            handoffs.append(server.handoff)
            server.port = listener.getsockname()[1]
            loop = asyncio.get_running_loop()
            ports.append(await loop.create_server(partial(SharingFront, context, http, server.handoff), sock=listener))
            servers.append(server)
        return servers

    yield start
    for port in ports:
        port.close()
    for handoff in handoffs:
        handoff.close()


def served(servers: list[Any]) -> list[dict[str, int]]:
    return [{name: count for name, count in server.counters.connections.items() if count} for server in servers]


@pytest.mark.parametrize("early", [b"", masked(update(typed(1, 0)))], ids=["alone", "with a message"])
async def test_y_websocket(workers: Workers, early: bytes) -> None:
    """The room is in the head: the worker that has it answers the handshake, and gets what came with it."""
    servers = await workers()
    client = await servers[0].connect(f"/ws/{ROOMS[1]}", early=early)
    client.send(step1(b"\0"), update(typed(2, 0)))
    await until(lambda: servers[1].registry.rooms and servers[1].registry.rooms[ROOMS[1]].known.vector().get(2))
    vector = servers[1].registry.rooms[ROOMS[1]].known.vector()
    assert vector == ({1: 1, 2: 1} if early else {2: 1})
    assert served(servers) == [{}, {"y-websocket": 1}]
    assert servers[0].registry.rooms == {}
    assert servers[0].context.addresses == {}


@pytest.mark.parametrize("number", [0, 1])
async def test_own_room(workers: Workers, number: int) -> None:
    """Who lands where its room is stays there."""
    servers = await workers()
    await servers[number].connect(f"/ws/{ROOMS[number]}")
    client = await servers[number].connect("/ws")
    client.send(said(ROOMS[number], b"\0" + step1(b"\0")[1:]))
    await client.get()
    assert served(servers)[number] == {"y-websocket": 1, "hocuspocus": 1}


@pytest.mark.parametrize("how", ["later", "with the head", "in pieces", "compressed"])
async def test_hocuspocus(workers: Workers, how: str) -> None:
    """The room is in the first message: it goes to the worker that has it, with every byte, however they come."""
    servers = await workers()
    step = said(ROOMS[1], step1(b"\0"))
    if how == "with the head":
        client = await servers[0].connect("/ws", early=masked(step))
    else:
        offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if how == "compressed" else ""
        client = await servers[0].connect("/ws", offer)
    if how == "later":
        await asyncio.sleep(0.02)
        client.send(step)
    elif how == "in pieces":
        for byte in masked(step):
            client.raw(bytes((byte,)))
            await asyncio.sleep(0.001)
    elif how == "compressed":
        assert b"permessage-deflate" in client.head
        deflate = PerMessageDeflate(True, True, 15, 15)
        client.raw(Frame(Opcode.BINARY, step).serialize(mask=True, extensions=[deflate]))
    frames = [await client.frame() for _ in range(2)]
    assert any(payload.startswith(said(ROOMS[1], b"")) for _, payload in frames)
    assert served(servers) == [{}, {"hocuspocus": 1}]
    client.send(said(ROOMS[1], update(typed(3, 0))))
    await until(lambda: servers[1].registry.rooms[ROOMS[1]].known.vector() == {3: 1})
    assert servers[0].context.addresses == {}


async def test_second_document(workers: Workers) -> None:
    """Further documents of a socket are served where its first one is."""
    servers = await workers()
    client = await servers[0].connect("/ws")
    for room in (ROOMS[1], ROOMS[0]):
        client.send(said(room, step1(b"\0")))
    await until(lambda: set(servers[1].registry.rooms) == set(ROOMS))
    assert servers[0].registry.rooms == {}


@pytest.mark.parametrize(("first", "answer"), [(masked(b"\x09"), (0x82, b"\x0a")), (b"\x89\x80\0\0\0\0", (0x8A, b""))])
async def test_ping_first(workers: Workers, first: bytes, answer: tuple[int, bytes]) -> None:
    """Who wants an answer before it names a document gets it, and is served where it is."""
    servers = await workers()
    client = await servers[0].connect("/ws")
    client.raw(first)
    assert await client.frame() == answer
    client.send(said(ROOMS[1], step1(b"\0")))
    await client.get()
    assert served(servers) == [{"hocuspocus": 1}, {}]


async def test_said_all(workers: Workers) -> None:
    """A client that will say nothing more does not keep its connection."""
    servers = await workers()
    client = await servers[0].connect("/ws")
    client.writer.write_eof()
    async with asyncio.timeout(10):
        assert await client.reader.read() == b""


async def test_silent(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names no document is served where it is, and not passed on when it does later."""
    monkeypatch.setattr(sharing, "FIRST_MESSAGE_TIMEOUT", 0.02)
    servers = await workers()
    client = await servers[0].connect("/ws")
    await until(lambda: served(servers) == [{"hocuspocus": 1}, {}])
    client.send(said(ROOMS[1], step1(b"\0")))
    await client.get()
    assert served(servers) == [{"hocuspocus": 1}, {}]


async def test_large_first_message(workers: Workers) -> None:
    """A message too large to be passed on is served where it is."""
    servers = await workers()
    client = await servers[0].connect("/ws")
    client.send(said(ROOMS[1], b"\2\0" + write_bytes(b"t" * 2 * MAX_BYTES)))
    await client.get()
    assert served(servers) == [{"hocuspocus": 1}, {}]
    assert list(servers[0].registry.rooms) == [ROOMS[1]]


@pytest.mark.parametrize(
    ("bytes_", "code"),
    [(masked(b"\xff\xff"), 4400), (masked(b"hi")[:1] + b"\x02hi", 1002), (b"\x88\x82\0\0\0\0\3\xe8", 1000)],
)
async def test_no_document(workers: Workers, bytes_: bytes, code: int) -> None:
    """What names no document ends as it does without workers."""
    servers = await workers()
    client = await servers[0].connect("/ws")
    client.raw(bytes_)
    assert (await client.closed())[0] == code


async def test_left_before_its_first_message(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is kept who has left."""
    monkeypatch.setattr(sharing, "FIRST_MESSAGE_TIMEOUT", 0.05)
    servers = await workers()
    (await servers[0].connect("/ws")).leave()
    await asyncio.sleep(0.1)
    assert served(servers) == [{}, {}]
    assert servers[0].context.connections == {}


async def test_owner_away(workers: Workers) -> None:
    """While the owner is away the client is served where it is."""
    servers = await workers()
    servers[1].handoff.close()
    await (await servers[0].connect(f"/ws/{ROOMS[1]}")).get()
    client = await servers[0].connect("/ws")
    client.send(said(ROOMS[1], step1(b"\0")))
    await client.get()
    assert served(servers) == [{"y-websocket": 1, "hocuspocus": 1}, {}]


@pytest.mark.parametrize("path", ["/ws/" + ROOMS[1], "/ws"])
async def test_owner_refuses(workers: Workers, path: str) -> None:
    """The owner's limits count: a client too many is told so by it."""
    servers = await workers(limits={"connections": 1})
    await servers[1].connect(f"/ws/{ROOMS[1]}")
    client = await servers[0].connect(path)
    if path == "/ws":
        client.send(said(ROOMS[1], step1(b"\0")))
    assert (await client.closed())[0] == 1013


async def test_refused_in_http(workers: Workers) -> None:
    """Origins, bad handshakes and plain HTTP are answered as without workers."""
    servers = await workers()
    key = base64.b64encode(os.urandom(16)).decode()
    for path in ("/ws", f"/ws/{ROOMS[0]}", f"/ws/{ROOMS[1]}"):
        head = f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        assert b" 400 " in await servers[0].request(path, head)
        client = await servers[0].dial()
        client.raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\nConnection: Upgrade\r\n{head}\r\n".encode())
        async with asyncio.timeout(10):
            assert b" 403 " in await client.reader.read()
    assert b"ok\n" in await servers[0].request("/livez")
    assert (await (await servers[0].connect("/elsewhere")).closed())[0] == 4404
