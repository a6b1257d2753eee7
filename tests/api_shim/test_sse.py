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
    async with served.get("/?lives=0.05", headers={"Last-Event-ID": "6"}) as answer:
        text = await answer.text()
    assert text.startswith('id: 7\nevent: onex\ndata: {"a":"line\\nline"}\n\ndata: "6"\n\n')


async def test_stream_ends_with_the_token(served: aiohttp.ClientSession) -> None:
    """Alive by comments until then, and ended properly."""
    started = time.monotonic()
    async with served.get("/?lives=0.2") as answer:
        text = await answer.text()
    assert text.count(": \n\n") > 2
    assert 0.15 < time.monotonic() - started < 2
