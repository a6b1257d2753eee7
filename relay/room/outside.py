"""A room for those who don't have it open: operators, and whoever writes to it from outside.

The stores are the truth. A relay that has the room in memory learns of it by a hint (`relay.control`), or at its next
append, and then does what they say (`Registry.check`).
"""

from collections.abc import Sequence

from relay.journal import Entry, Journal
from relay.snapshot import Segment, SnapshotStore
from relay.types import Edit, Position, RoomId

__all__ = ["delete", "read", "write"]

PAGE = 1000


async def read(
    journal: Journal, snapshots: SnapshotStore, room: RoomId, *, even_quarantined: bool = False
) -> tuple[list[Segment], list[Entry]]:
    """The room's snapshot and the entries past it, changing nothing. Raises Unavailable and Quarantined.

    The journal is read first: whoever stores and trims meanwhile only makes the snapshot cover more of what was read.
    """
    entries: list[Entry] = []
    while page := await journal.read(room, entries[-1].position if entries else None, None, PAGE):
        entries += page
    segments = await snapshots.load(room, even_quarantined=even_quarantined)
    upto = segments[-1].upto if segments else None
    return segments, [entry for entry in entries if upto is None or entry.position > upto]


async def write(journal: Journal, snapshots: SnapshotStore, room: RoomId, edits: Sequence[Edit]) -> Position:
    """Append edits, valid updates, to a room, open or not. Raises Unavailable and Quarantined."""
    segments = await snapshots.load(room)
    return await journal.intervene(room, segments[-1].upto if segments else None, edits)


async def delete(journal: Journal, snapshots: SnapshotStore, room: RoomId) -> bool:
    """Remove a room for good: snapshot and history, then the journal. False when there was nothing of it.

    A last epoch is begun and buried with it: none that any relay knows is later, also where the journal has forgotten
    the epochs that it had. In this order a relay that loses the stream finds that the room was deleted. Raises
    Unavailable; then it may be done in part, and may be done again.
    """
    info = await snapshots.info(room)
    held = await journal.length(room) > 0
    last = await journal.intervene(room, info.upto if info else None, ())
    stored = await snapshots.delete(room, last.epoch)
    await journal.delete(room)
    return stored or held
