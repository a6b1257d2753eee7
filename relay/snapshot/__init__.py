"""The snapshot store: what a room's log amounts to, and the archive of what it was.

A snapshot is a chain of segments. The first covers the log from its beginning, each next one continues where the one
before ended; each is one Yjs v1 update. A long document and a short day's typing therefore cost the bytes of the day:
the compactor adds a small segment and merges neighbours when they have grown alike.

Port `SnapshotStore`; adapters `memory` (reference, tests) and `postgres`. `tests/contracts/test_snapshot_store.py`
holds both to what is written here.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from relay.journal import Entry
from relay.types import Position, RoomId

__all__ = ["RoomInfo", "Segment", "SnapshotStore"]


class Segment(NamedTuple):
    """One link of the chain.

    after: where the segment before it ended; None for the first.
    upto: the last journal entry it covers. `after < upto`.
    state: a Yjs v1 update with everything in that range, delete set included.
    clocks: the layout's summary, `relay.yjs` encoded: which (client, clock range) the state holds.
    """

    after: Position | None
    upto: Position
    state: bytes
    clocks: bytes


class RoomInfo(NamedTuple):
    """What a listing says about a stored room. `size` counts the bytes of its segments' states.

    A room set aside before it was ever stored has no segments and ends at `Position(0, 0, 0)`.
    """

    room: RoomId
    size: int
    segments: int
    upto: Position
    written: datetime
    quarantined: str | None


class SnapshotStore(Protocol):
    """Every call is atomic and durable when it returns; a crash loses nothing that returned. All raise Unavailable
    when the database is away. Safe with any number of writers: a store continues the chain that is there or is
    refused, so a stale writer wastes its work and can't take anything back.
    """

    async def load(self, room: RoomId, *, even_quarantined: bool = False) -> list[Segment]:
        """The room's chain in order, from one consistent view; empty when the room was never stored.

        Raises Quarantined when an operator or the relay set the room aside, unless it is wanted even so.
        """
        ...

    async def store(self, room: RoomId, segment: Segment) -> bool:
        """Put `segment` behind the link that ends at `segment.after`, replacing all that followed that link.

        False, and nothing written, when the chain has no link ending at `after`, or already reaches `upto` or beyond
        *other than by the links being merged*: i.e. it is written only if the chain's end <= `segment.upto`. Also
        when `segment.upto` lies in an epoch that was deleted.
        """
        ...

    async def archive(self, room: RoomId, entries: Sequence[Entry]) -> None:
        """Keep journal entries for good (history: who wrote what when). Storing one twice keeps it once; entries
        that end in an epoch that was deleted are not kept."""
        ...

    async def history(self, room: RoomId, after: Position | None, limit: int = 1000) -> list[Entry]:
        """Archived entries after `after`, in order; at least one and about `limit` of them while there are any."""
        ...

    async def quarantine(self, room: RoomId, reason: str) -> None:
        """Set the room aside, stored or not: `load` raises Quarantined from now on."""
        ...

    async def release(self, room: RoomId) -> bool:
        """Undo `quarantine`; False when the room was not set aside."""
        ...

    async def info(self, room: RoomId) -> RoomInfo | None:
        """One room's listing entry, quarantined ones too; None when nothing is known of it."""
        ...

    async def list(self, prefix: str = "", after: RoomId | None = None, limit: int = 100) -> list[RoomInfo]:
        """Stored or quarantined rooms whose name starts with `prefix`, by name, after the room `after`."""
        ...

    async def delete(self, room: RoomId, epoch: int = 0) -> bool:
        """Remove the room's chain, archive and quarantine; False when nothing was stored.

        Nothing of the journal epochs up to `epoch` will be stored again, so that a relay that has the room in memory
        can't bring it back; the name may begin again in a later epoch.
        """
        ...

    async def deleted(self, room: RoomId) -> int:
        """The journal epoch up to which the room was deleted; 0 when it never was."""
        ...

    async def ping(self) -> None:
        """Raises Unavailable unless the store answers."""
        ...

    async def close(self) -> None:
        """Let running calls finish, then disconnect."""
        ...
