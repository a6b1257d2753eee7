"""Event streams."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from api_shim.route import Call, Route
from api_shim.runner import Runner
from api_shim.sse import STREAMS, EventStream
from relay.grants import Principal
from relay.types import Actor


@pytest.fixture
async def served() -> AsyncIterator[aiohttp.ClientSession]:
    async def stream(request: web.Request) -> web.StreamResponse:
        lives = float(request.query.get("lives", "60"))
        principal = Principal(Actor("a"), "", None, expires=time.time() + lives)
        route = Route(method="GET", path="/", handler=nothing, summary="")
        events = EventStream(Call(request, route, principal, "", ""), keep_alive=0.02)
        async with events:
            await events.send({"a": "line\nline"}, event="one\r\nx", id="7")
            await events.send(events.last_id)
            await asyncio.sleep(60)
        return events.response

    app = web.Application()
    app[STREAMS] = set()
    app.router.add_get("/", stream)
    runner = Runner(app, drain=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        yield client
    await runner.cleanup()


async def nothing(call: Call) -> None: ...


async def test_events_are_framed(served: aiohttp.ClientSession) -> None:
    """No value can end a line or an event; a reader who comes back says what it has seen."""
    told = b'id: 7\nevent: onex\ndata: {"a":"line\\nline"}\n\ndata: "6"\n\n'
    async with served.get("/", headers={"Last-Event-ID": "6"}) as answer, asyncio.timeout(10):
        assert await answer.content.readexactly(len(told)) == told


async def test_stream_ends_with_the_token(served: aiohttp.ClientSession) -> None:
    """Not earlier, and properly."""
    started = time.monotonic()
    async with served.get("/?lives=0.2") as answer, asyncio.timeout(10):
        await answer.read()
    assert time.monotonic() - started > 0.15


async def test_stream_is_kept_alive(served: aiohttp.ClientSession) -> None:
    """By comments, while there is nothing to tell."""
    async with served.get("/") as answer, asyncio.timeout(10):
        for _ in range(3):
            await answer.content.readuntil(b"\n\n: \n")
