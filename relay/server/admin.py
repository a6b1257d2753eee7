"""What the admin port says beyond health and metrics: which relays there are, and who has a room open."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from relay.errors import Deny, Unavailable
from relay.room.where import Holder
from relay.server.channel import room_id
from relay.shard.cluster import NodeInfo
from relay.types import RoomId

__all__ = ["Admin"]


class Admin(NamedTuple):
    """Where the answers come from; both raise Unavailable."""

    nodes: Callable[[], Awaitable[list[NodeInfo]]]
    who_has: Callable[[RoomId], Awaitable[list[Holder]]]

    def routes(self) -> list[web.RouteDef]:
        """`/v1/cluster` and `/v1/cluster/rooms/<room>`."""
        return [web.get("/v1/cluster", self._cluster), web.get("/v1/cluster/rooms/{room:.+}", self._room)]

    async def _cluster(self, request: web.Request) -> web.Response:
        try:
            nodes = await self.nodes()
        except Unavailable as error:
            return _json({"error": str(error)}, 503)
        totals = {
            "nodes": len(nodes),
            "draining": sum(node.draining for node in nodes),
            "connections": sum(node.connections for node in nodes),
            "rooms": sum(node.rooms for node in nodes),
        }
        return _json({"nodes": [asdict(node) for node in nodes], "totals": totals})

    async def _room(self, request: web.Request) -> web.Response:
        try:
            room = room_id(request.match_info["room"])
            holders = await self.who_has(room)
        except Deny as error:
            return _json({"error": error.reason}, 400)
        except Unavailable as error:
            return _json({"error": str(error)}, 503)
        return _json({"room": room, "nodes": [asdict(holder) for holder in holders]})


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
