"""A whole node in this process, over a real PostgreSQL and Valkey: starts, serves, drains, loses nothing."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from fakes import held, typed, updates

from relay.errors import StartError
from relay.node import Node
from relay.protocol.ywebsocket import step1, update
from relay.settings import Settings

Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def start(valkey: Any, postgres: str) -> AsyncIterator[Start]:
    """Starts nodes on free ports; those still running are stopped at the end."""
    nodes: list[Node] = []

    async def run(**settings: Any) -> Node:
        given = {
            "port": 0, "database_url": postgres, "redis_url": valkey.url, "open": True, "reconnect_jitter": 0.0,
            "drain_timeout": 4.0, "journal_timeout": 2.0,
        } | settings  # fmt: skip
        node = Node(Settings(**given))
        nodes.append(node)
        await node.start()
        return node

    yield run
    for node in nodes:
        await node.stop()


async def content(node: Node, name: str) -> set[tuple[int, int]]:
    """What a joiner gets."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{node.port}/ws/{name}") as socket,
    ):
        await socket.receive_bytes()
        await socket.send_bytes(step1(b"\0"))
        said = [await socket.receive_bytes()]
        while said[-1][:2] != b"\0\1":
            said.append(await socket.receive_bytes())
        return held(updates(said))


async def test_edits_outlive_the_node(start: Start) -> None:
    """What was typed is there after a stop, which tells clients to come back, and after another start."""
    node = await start()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{node.port}/ws/node-restart?ack=1") as socket,
    ):
        await socket.receive_bytes()
        await socket.send_bytes(update(typed(1, 0)))
        assert await socket.receive_bytes(timeout=20) == b"\x64\1"
        stopping = asyncio.get_running_loop().create_task(node.stop())
        while (message := await socket.receive(timeout=20)).type is aiohttp.WSMsgType.BINARY:
            pass
        assert message.data == 1001
        await stopping
    assert await content(await start(), "node-restart") == {(1, 0)}


async def test_health(start: Start) -> None:
    """Ready with its services, and says which is away."""
    node = await start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{node.port}/readyz") as answer:
            assert answer.status == 200
        await node.snapshots.close()
        async with session.get(f"http://127.0.0.1:{node.port}/readyz") as answer:
            assert answer.status == 503
        async with session.get(f"http://127.0.0.1:{node.port}/metrics") as answer:
            assert "relay_rooms 0" in await answer.text()


async def test_port_taken(start: Start) -> None:
    """A port that somebody else has is a reason that a person can act on."""
    node = await start()
    with pytest.raises(StartError, match=r"--port"):
        await start(port=node.port)


async def test_signal(start: Start) -> None:
    """SIGTERM ends the wait."""
    node = await start()
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, signal.raise_signal, signal.SIGTERM)
    try:
        async with asyncio.timeout(20):
            await node.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def test_stop_before_start() -> None:
    """Stopping what never started is nothing."""
    await Node(Settings()).stop()
