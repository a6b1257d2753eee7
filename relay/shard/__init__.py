"""Where relays that have the same room open talk to each other: a channel for each room, heard by whoever has it open.

What is said here only saves time. Edits are in the journal, and a relay that misses a message finds them there; so
messages may be lost, repeated and reordered. Port `Channels`; adapters `memory` (tests) and `redis` (pub/sub).
"""

from collections.abc import Callable
from typing import Protocol

from relay.types import NodeId, RoomId

__all__ = ["Channels", "Heard"]

Heard = Callable[[RoomId, NodeId, bytes], None]
"""Called on the event loop for each message of another node in a room that this node listens to."""


class Channels(Protocol):
    """Delivery is at most once, to the nodes listening at that moment, the sender's own messages left out."""

    async def listen(self, room: RoomId) -> None:
        """Hear what others say in `room` from now on. Raises Unavailable."""
        ...

    async def stop(self, room: RoomId) -> None:
        """Hear no more of `room`. Never raises: a channel that can't be left falls silent with its connection."""
        ...

    async def tell(self, room: RoomId, message: bytes) -> int:
        """Say `message` (at least one byte) to the others in `room`; how many there are. Raises Unavailable."""
        ...

    async def close(self) -> None:
        """Hear and say nothing more."""
        ...
