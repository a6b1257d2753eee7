"""The port: WebSocket here, HTTP there, and a reason for who is sent away."""

import asyncio
from typing import Any

import pytest
from fakes import masked, typed, until

from relay import closing
from relay.protocol.ywebsocket import update
from relay.server import front as module

Serve = Any


async def test_both_endpoints(serve: Serve) -> None:
    """`/ws/<document>` speaks y-websocket, `/ws` Hocuspocus, on one port with HTTP."""
    server = await serve()
    await server.connect("/ws/doc")
    await server.connect("/ws")
    assert dict(server.counters.connections) == {"y-websocket": 1, "hocuspocus": 1}
    assert b"ok\n" in await server.request("/livez")


@pytest.mark.parametrize(
    ("path", "name"), [("/ws/a/b", "a/b"), ("/ws/caf%C3%A9", "café"), ("/ws/a%2Fb", "a/b"), ("/ws/a%20b?x=1", "a b")]
)
async def test_names(serve: Serve, path: str, name: str) -> None:
    """A document's name is what follows `/ws/`, decoded; it may have slashes."""
    server = await serve()
    await server.connect(path)
    await until(lambda: server.registry.rooms)
    assert list(server.registry.rooms) == [name]


@pytest.mark.parametrize("path", ["/elsewhere", "/ws/a%00b", "/ws/" + "x" * 513, "/ws/a%C2%85"])
async def test_no_such_document(serve: Serve, path: str) -> None:
    """What can't be a document's name is 4404."""
    server = await serve()
    assert (await (await server.connect(path)).closed())[0] == 4404
    assert server.context.connections == {}


async def test_bytes_behind_the_head(serve: Serve) -> None:
    """What a client sends without waiting for the response is not lost."""
    server = await serve()
    client = await server.connect("/ws/doc", early=masked(update(typed(1, 0))))
    await client.get(2)
    assert server.registry.rooms["doc"].known.vector() == {1: 1}


async def test_head_in_pieces(serve: Serve) -> None:
    """A head may come byte by byte."""
    server = await serve()
    client = await server.dial()
    for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
        client.raw(bytes((byte,)))
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert b"200 OK" in await client.reader.read()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /ws/doc HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, b"431"),
    ],
)
async def test_bad_head(serve: Serve, head: bytes, status: bytes) -> None:
    """What is no request, no handshake, or has no end, is refused in HTTP."""
    server = await serve()
    client = await server.dial()
    client.raw(head)
    async with asyncio.timeout(10):
        assert (await client.reader.read()).startswith(b"HTTP/1.1 " + status)


async def test_head_that_never_comes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing is ended after a while."""
    monkeypatch.setattr(module, "HEAD_TIMEOUT", 0.02)
    server = await serve()
    client = await server.dial()
    async with asyncio.timeout(10):
        try:
            assert await client.reader.read() == b""
        except ConnectionResetError:
            pass


@pytest.mark.parametrize(
    ("limits", "code"), [({"connections": 1}, closing.OVERLOADED.code), ({"per_address": 1}, closing.RATE_LIMITED.code)]
)
async def test_too_many_connections(serve: Serve, limits: dict[str, int], code: int) -> None:
    """One connection too many, in all or from one address, is told to come back; when one goes there is room."""
    server = await serve(limits=limits)
    first = await server.connect("/ws/doc")
    assert (await (await server.connect("/ws/doc")).closed())[0] == code
    first.leave()
    await until(lambda: not server.context.connections)
    await (await server.connect("/ws/doc")).get()


async def test_draining(serve: Serve) -> None:
    """A relay that is stopping sends newcomers to the others."""
    server = await serve()
    server.context.draining = True
    assert (await (await server.connect("/ws/doc")).closed())[0] == 1001
    assert b" 503 " in await server.request("/readyz")


async def test_foreign_page(serve: Serve) -> None:
    """A page of another host may not connect to an open server."""
    server = await serve()
    client = await server.dial()
    client.raw(
        b"GET /ws/doc HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Origin: https://evil.example\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with asyncio.timeout(10):
        assert b"403" in await client.reader.read()


async def test_compression(serve: Serve) -> None:
    """Compression is negotiated when offered, and not when it is switched off."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    client = await (await serve()).connect("/ws/doc", offer)
    assert b"permessage-deflate" in client.head
    client = await (await serve(limits={"compression": False})).connect("/ws/doc", offer)
    assert b"permessage-deflate" not in client.head


async def test_not_ready(serve: Serve) -> None:
    """Plain HTTP before its handler is there is told so."""
    server = await serve()
    server.http.make = None
    assert b" 503 " in await server.request("/livez")
