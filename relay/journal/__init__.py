"""The journal: one ordered, durable log of edits for each room.

Port `Journal`; adapters `memory` (reference, tests) and `redis` (Redis Streams). `tests/contracts/test_journal.py`
holds both to what is written here.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from relay.errors import RelayError
from relay.types import Edit, NodeId, Position, RoomId

__all__ = ["Appended", "Counted", "Entry", "Journal", "Opened"]

Appended = Callable[[Position | RelayError], None]
"""Called once for an append, on the event loop: the entry's position, or why it is not (known to be) there."""


Counted = Callable[[int | RelayError], None]
"""Called once for a count, on the event loop."""


class Entry(NamedTuple):
    """One append, as it is read back. `position.ms` is its time (Unix milliseconds, the server's clock)."""

    position: Position
    node: NodeId
    edits: tuple[Edit, ...]


class Opened(NamedTuple):
    """A room's stream, ready to append to, and what it holds past the position asked for."""

    epoch: int
    entries: list[Entry]


class Journal(Protocol):
    """Order: entries of one room are totally ordered by position; appends of one journal object to one room keep
    their call order. Atomicity: an entry is there whole or not at all. Idempotence: none; Yjs updates are, so an
    append whose outcome is unknown may be repeated. A crash of this process loses no entry whose callback said so;
    a crash of the Redis machine may lose what its append-only file had not synced (at most a second by default).
    """

    async def open(self, room: RoomId, after: Position | None) -> Opened:
        """Find or create the room's stream and read what comes after `after` (all of it when None).

        A stream that does not exist is created with an epoch greater than `after.epoch`. Entries of an older epoch
        than `after` are covered by it and not returned. Raises Unavailable.
        """
        ...

    def append(self, room: RoomId, epoch: int, edits: Sequence[Edit], done: Appended, *, soon: bool = True) -> None:
        """Queue one entry; never blocks and never raises. `done` gets the position once it is in the journal.

        Appends of all rooms are written together (group commit): those wanted `soon` within a moment, the others,
        for which nobody but their author's "saved" waits, with the next group or some milliseconds later. `done` gets
        StreamLost when the stream of that epoch is gone, Unavailable when the connection broke or the server refused.
        """
        ...

    async def intervene(self, room: RoomId, after: Position | None, edits: Sequence[Edit]) -> Position:
        """Append one entry from outside the room, as an operator or an API does; `after` as in `open`.

        It begins a new epoch, which takes over what the stream holds. So a relay that has the room in memory gets
        StreamLost, opens the room again and finds the entry, and no snapshot it makes meanwhile covers it unseen.
        Raises Unavailable; then the entry may or may not be there.
        """
        ...

    def count(self, room: RoomId, epoch: int, done: Counted) -> None:
        """How many entries that stream holds, 0 when it is gone; answered in its turn among this object's appends, so
        that those answered before it are counted and no later one is. Never blocks and never raises."""
        ...

    async def read(self, room: RoomId, after: Position | None, upto: Position | None, limit: int = 1000) -> list[Entry]:
        """Up to `limit` entries of the current stream with after < position <= upto, in order. Raises Unavailable."""
        ...

    async def trim(self, room: RoomId, upto: Position) -> None:
        """Forget entries at or before `upto`; a no-op for an `upto` of another epoch. The stream itself stays."""
        ...

    async def delete(self, room: RoomId) -> None:
        """Forget the room's stream. Appends of its epoch fail with StreamLost from then on."""
        ...

    async def retire(self, room: RoomId, upto: Position) -> bool:
        """Forget the room's stream if it holds nothing after `upto` (a closed room leaves nothing behind in memory)."""
        ...

    async def epoch(self, room: RoomId) -> int:
        """The epoch of the room's stream, or of the last one where it was forgotten a moment ago; else 0."""
        ...

    async def length(self, room: RoomId) -> int:
        """How many entries the room's stream holds; 0 when there is none."""
        ...

    async def rooms(self) -> list[RoomId]:
        """The rooms that have a stream, for operators; not atomic."""
        ...

    async def ping(self) -> None:
        """Raises Unavailable unless the journal answers."""
        ...

    async def close(self) -> None:
        """Write what is queued if that is possible at once, fail the rest with Unavailable, disconnect."""
        ...
