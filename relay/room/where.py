"""Who has a room open: a question on the room's channel, which every relay that has it open answers there.

Asking costs a message for each such relay; a register of open rooms would cost every relay a write for each of its
rooms, again and again, to be right when it dies. What is not open anywhere has no listeners, and is answered at once.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import orjson

from relay.shard import Channels, Heard
from relay.types import NodeId, RoomId
from relay.yjs.ranges import Ranges

__all__ = ["ANSWER", "PATIENCE", "WHO", "Holder", "digest", "who_has"]

WHO, ANSWER = b"w", b"a"
PATIENCE = 1.0
"""Seconds for the relays that listen to answer; a dead one listens until Redis notices."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A relay that has the room open. `home`: it takes itself for the one that makes the snapshots; `position`: up to
    where the journal is in its memory, or empty; `unsaved`: edits that the journal does not have from it yet; `digest`:
    of the state vector and the deletions that it holds."""

    node: NodeId
    home: bool
    clients: int
    position: str
    unsaved: int
    digest: str = ""

    def encode(self) -> bytes:
        """As it is said on the channel."""
        return ANSWER + orjson.dumps(self)

    @classmethod
    def decode(cls, said: bytes) -> "Holder | None":
        """The inverse of `encode`; None for what is no answer."""
        if said[:1] != ANSWER:
            return None
        try:
            return cls(**orjson.loads(said[1:]))
        except (ValueError, TypeError):
            return None


def digest(vector: Mapping[int, int], deleted: Mapping[int, Ranges]) -> str:
    """What two relays with the same state vector and the same deletions say of it."""
    found = sha256(repr(sorted(vector.items())).encode())
    for client in sorted(client for client, ranges in deleted.items() if ranges.starts):
        found.update(b"%d" % client + deleted[client].starts.tobytes() + deleted[client].ends.tobytes())
    return found.hexdigest()[:16]


async def who_has(connect: Callable[[Heard], Channels], room: RoomId, patience: float = PATIENCE) -> list[Holder]:
    """The relays that have `room` open and answer within `patience` seconds, by id. Raises Unavailable.

    connect: makes channels of the asker's own, under an id that no relay has: a relay does not hear itself.
    """
    holders: dict[NodeId, Holder] = {}
    answered = asyncio.Event()

    def heard(name: RoomId, node: NodeId, said: bytes) -> None:
        holder = Holder.decode(said)
        if name == room and holder is not None:
            holders[node] = holder
            answered.set()

    channels = connect(heard)
    try:
        await channels.listen(room)
        asked = await channels.tell(room, WHO)
        async with asyncio.timeout(patience):
            while len(holders) < asked:
                await answered.wait()
                answered.clear()
    except TimeoutError:
        pass
    finally:
        await channels.stop(room)
        await channels.close()
    return [holders[node] for node in sorted(holders)]
