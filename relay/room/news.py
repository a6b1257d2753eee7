"""What became of rooms, told as facts: opened, edited, stored, closed. Nothing here runs per edit."""

from collections.abc import Callable

from relay.hooks import Fact, RoomClosed, RoomEdited, RoomOpened, SnapshotWritten
from relay.room.room import Room
from relay.types import Position

__all__ = ["News"]


class News:
    """`tell` is None where nobody listens; then nothing is noted either."""

    def __init__(self, tell: Callable[[Fact], None] | None) -> None:
        self._tell = tell
        self._told: dict[Room, int] = {}  # the last flush of each room that was told

    def opened(self, room: Room) -> None:
        if self._tell is not None:
            self._told[room] = room.number
            self._tell(RoomOpened(room.name, room.log.size))

    def look(self, room: Room) -> None:
        """Called now and then: tell of what was written here since, once it is saved."""
        if self._tell is None or room.number == (told := self._told.get(room, 0)):
            return
        ours = [f for f in room.log.flushes if f.number > told and f.node is None and f.position is not None]
        stored = room.log.segments[-1] if room.log.segments else None
        if ours:
            self._told[room], position = ours[-1].number, ours[-1].position
        elif stored is not None and stored.number > told:  # stored since: who wrote it is in the archive
            self._told[room], position = stored.number, stored.segment.upto
        else:
            return  # it waits for the journal, or was written elsewhere
        actors = {edit.actor for flush in ours for edit in flush.edits}
        self._tell(RoomEdited(room.name, str(position), tuple(sorted(actors))))

    def stored(self, room: Room, upto: Position) -> None:
        if self._tell is not None:
            self._tell(SnapshotWritten(room.name, str(upto), room.log.size))

    def closed(self, room: Room) -> None:
        """It left memory, stored."""
        if self._tell is not None:
            self.look(room)
            self._tell(RoomClosed(room.name, room.log.size))

    def forget(self, room: Room) -> None:
        self._told.pop(room, None)
