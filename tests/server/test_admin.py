"""What the admin port says beyond health and metrics."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from relay.errors import Unavailable
from relay.metrics import Metrics
from relay.room.where import Holder
from relay.server.admin import Admin
from relay.server.http import make_runner
from relay.shard.cluster import NodeInfo
from relay.types import NodeId, RoomId

NODES = [
    NodeInfo(NodeId("a"), "one", 7, None, "1", 1.0, 8080, "http://one:8080", 3, 2, False),
    NodeInfo(NodeId("b"), "two", 8, 1, "1", 2.0, 8080, "", 4, 1, True),
]
HOLDER = Holder(NodeId("a"), True, 3, "5:1-0", 0)


class Behind:
    """What answers, or does not."""

    away = False

    async def nodes(self) -> list[NodeInfo]:
        return await self._answer(NODES)

    async def who_has(self, room: RoomId) -> list[Holder]:
        return await self._answer([HOLDER] if room == "docs/ä" else [])

    async def _answer(self, value: Any) -> Any:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("Redis is away")
        return value


@pytest.fixture
async def port(serve: Any) -> AsyncIterator[tuple[Behind, Any]]:
    """The answers, and a function that gets a path."""
    behind, server = Behind(), await serve()

    async def ready() -> str:
        return ""

    runner = await make_runner(server.context, ready, Metrics(), False, None, Admin(behind.nodes, behind.who_has))
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, Any]:
            async with session.get(base + path) as answer:
                return answer.status, await (answer.json() if "json" in answer.content_type else answer.text())

        yield behind, get
    await runner.cleanup()


async def test_cluster(port: Any) -> None:
    """Every relay, and what they carry together."""
    status, body = await port[1]("/v1/cluster")
    assert status == 200
    assert body["totals"] == {"nodes": 2, "draining": 1, "connections": 7, "rooms": 3}
    assert [(node["id"], node["worker"], node["draining"]) for node in body["nodes"]] == [
        ("a", None, False),
        ("b", 1, True),
    ]


async def test_room(port: Any) -> None:
    """Who has a room, whatever its name; nobody is an answer too."""
    _, get = port
    holder = asdict(HOLDER)
    assert await get("/v1/cluster/rooms/docs/%C3%A4") == (200, {"room": "docs/ä", "nodes": [holder]})
    assert await get("/v1/cluster/rooms/other") == (200, {"room": "other", "nodes": []})
    assert (await get("/v1/cluster/rooms/" + "x" * 513))[0] == 400


async def test_away(port: Any) -> None:
    """When Redis does not answer, that is what is said."""
    behind, get = port
    behind.away = True
    assert await get("/v1/cluster") == (503, {"error": "Redis is away"})
    assert await get("/v1/cluster/rooms/any") == (503, {"error": "Redis is away"})


async def test_health_and_metrics(port: Any) -> None:
    """The admin port has health and metrics, and no page."""
    _, get = port
    assert (await get("/readyz"))[0] == 200
    assert "relay_edits_in_total" in (await get("/metrics"))[1]
    assert (await get("/"))[0] == 404


async def test_not_on_the_public_port(serve: Any) -> None:
    """Whoever may connect may not ask which relays there are."""
    server = await serve()
    assert b" 404 " in (await server.request("/v1/cluster")).split(b"\r\n")[0]
