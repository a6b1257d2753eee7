"""Channels between nodes of one process."""

import asyncio

from relay.errors import Unavailable
from relay.shard import Heard
from relay.types import NodeId, RoomId

__all__ = ["MemoryChannels", "Switchboard"]


class Switchboard:
    """What nodes of one process share: who listens where. `cut` holds nodes that nobody can reach."""

    def __init__(self) -> None:
        self.listeners: dict[RoomId, dict[NodeId, Heard]] = {}
        self.cut: set[NodeId] = set()


class MemoryChannels:
    """`Channels` over a `Switchboard`."""

    def __init__(self, board: Switchboard, node: NodeId, heard: Heard) -> None:
        self._board = board
        self._node = node
        self._heard = heard

    async def listen(self, room: RoomId) -> None:
        self._check()
        self._board.listeners.setdefault(room, {})[self._node] = self._heard

    async def stop(self, room: RoomId) -> None:
        self._board.listeners.get(room, {}).pop(self._node, None)

    async def tell(self, room: RoomId, message: bytes) -> int:
        self._check()
        others = {node: heard for node, heard in self._board.listeners.get(room, {}).items() if node != self._node}
        others = {node: heard for node, heard in others.items() if node not in self._board.cut}
        for heard in others.values():
            asyncio.get_running_loop().call_soon(heard, room, self._node, message)
        return len(others)

    async def close(self) -> None:
        for listeners in self._board.listeners.values():
            listeners.pop(self._node, None)

    def _check(self) -> None:
        if self._node in self._board.cut:
            raise Unavailable("this node is cut off")
