"""A relay's port on loopback, over services in memory; clients that write bytes and read frames."""

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from fakes import NODE, FakeJournal, FakeSnapshots, InlineCodec, masked

from relay.dispatch import Dispatch
from relay.errors import Deny
from relay.grants import ANYONE, Principal
from relay.hooks import ConnectAsked, Plugin
from relay.metrics import Counters, Metrics
from relay.room.registry import Registry
from relay.room.room import Limits
from relay.server.context import ConnectionLimits, Context
from relay.server.front import Front, HttpHandler
from relay.server.http import make_runner
from relay.types import Actor


class Door(Plugin):
    """Tokens of the tests: `rw`, `ro` and those in `tokens`; all others are denied. `gate` holds answers up."""

    name = "door"

    def __init__(self, authenticated: bool) -> None:
        self.authenticated = authenticated
        self.gate: asyncio.Event | None = None
        self.asked: list[str] = []
        self.error: Deny | None = None
        self.tokens: dict[str, Principal] = {
            "rw": Principal(Actor("ada"), "Ada", None),
            "ro": Principal(Actor("bob"), "Bob", {"*": "readonly"}),
            "other": Principal(Actor("eve"), "Eve", {"other": "read-write"}),
        }

    def lasting(self, seconds: float) -> str:
        """A token that ends in `seconds`."""
        token = f"lasts {len(self.tokens)}"
        self.tokens[token] = Principal(Actor("ada"), "Ada", None, time.time() + seconds)
        return token

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        self.asked.append(ask.token)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        if not self.authenticated:
            return ANYONE
        if ask.token not in self.tokens:
            raise Deny("who are you?", 4401)
        return self.tokens[ask.token]

    async def ask_join(self, ask: Any) -> Any:
        grant = ask.principal.grant(ask.room)
        if grant is None:
            raise Deny("not this one", 4403)
        return grant


class Client:
    """One socket to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    def send(self, *payloads: bytes) -> None:
        self.writer.write(b"".join(masked(payload) for payload in payloads))

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its first byte, and its payload."""
        async with asyncio.timeout(10):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8), "big")
            return first, await self.reader.readexactly(length)

    async def get(self, count: int = 1) -> list[bytes]:
        """The next messages."""
        out = []
        for _ in range(count):
            first, payload = await self.frame()
            assert first == 0x82, (first, payload)
            out.append(payload)
        return out

    async def closed(self) -> tuple[int, str]:
        """The code and reason with which the server closes; what it says before is passed over."""
        while True:
            first, payload = await self.frame()
            if first == 0x88:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def quiet(self, seconds: float = 0.03) -> None:
        """Fails when the server says anything."""
        try:
            async with asyncio.timeout(seconds):
                data = await self.reader.read(100)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected: {data!r}")

    def leave(self) -> None:
        self.writer.transport.abort()


class Server:
    """The port, and what is behind it."""

    def __init__(self, authenticated: bool, limits: dict[str, Any], room: dict[str, Any]) -> None:
        self.journal = FakeJournal()
        self.snapshots = FakeSnapshots(self.journal.calls)
        self.codec = InlineCodec()
        self.metrics = Metrics()
        self.door = Door(authenticated)
        self.ready = ""
        codec: Any = self.codec
        self.counters: Counters = self.metrics.counters
        self.registry = Registry(NODE, self.journal, self.snapshots, codec, self.counters, Limits(**room))
        self.context = Context(
            self.registry, Dispatch([self.door]), self.counters, ConnectionLimits(**limits), authenticated
        )
        self.http = HttpHandler()
        self.clients: list[Client] = []
        self.port = 0

    async def start(self) -> None:
        async def ready() -> str:
            return self.ready

        self._runner = await make_runner(self.context, ready, self.metrics, page=True)
        self.http.make = self._runner.server  # type: ignore[assignment]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(partial(Front, self.context, self.http), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for client in self.clients:
            client.leave()
        async with asyncio.timeout(10):
            while self.context.connections:
                await asyncio.sleep(0.001)
        assert self.context.addresses == {}
        assert all(count == 0 for count in self.counters.connections.values())
        assert all(not room.members for room in self.registry.rooms.values())
        self._server.close()
        await self._runner.cleanup()

    async def dial(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def request(self, path: str, headers: str = "", method: str = "GET") -> bytes:
        """A plain HTTP request's whole answer."""
        client = await self.dial()
        client.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode())
        async with asyncio.timeout(10):
            return await client.reader.read()

    async def connect(self, path: str = "/ws", headers: str = "", early: bytes = b"") -> Client:
        """A WebSocket; `early` is sent with the handshake. The response head is in `head`."""
        client = await self.dial()
        key = base64.b64encode(os.urandom(16)).decode()
        client.raw(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{headers}\r\n".encode()
            + early
        )
        async with asyncio.timeout(10):
            client.head = await client.reader.readuntil(b"\r\n\r\n")
        assert client.head.startswith(b"HTTP/1.1 101 "), client.head
        return client

    def socket(self) -> Any:
        """The server's side of the last connection."""
        return list(self.context.connections)[-1]


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """`await serve(authenticated=False, limits={...}, room={...})`: a server for this test."""
    servers: list[Server] = []

    async def start(
        *, authenticated: bool = False, limits: dict[str, Any] | None = None, room: dict[str, Any] | None = None
    ) -> Server:
        server = Server(authenticated, limits or {}, room or {})
        await server.start()
        servers.append(server)
        return server

    monkeypatch.setattr("relay.room.saving.ECHO_WINDOW", 0.0, raising=False)
    yield start
    for server in servers:
        await server.stop()
