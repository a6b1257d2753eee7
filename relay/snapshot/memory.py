"""The snapshot store of a process that keeps nothing: the port's reference, for tests and benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from relay.errors import Quarantined
from relay.journal import Entry
from relay.snapshot import RoomInfo, Segment
from relay.snapshot.chain import place
from relay.types import Position, RoomId

__all__ = ["MemorySnapshotStore"]


@dataclass(slots=True)
class _Record:
    chain: list[Segment] = field(default_factory=list)
    archive: dict[Position, Entry] = field(default_factory=dict)
    quarantined: str | None = None
    written: datetime = field(default_factory=lambda: datetime.now(UTC))


class MemorySnapshotStore:
    """`SnapshotStore` in dictionaries. Never awaits, so every call is atomic; all is gone with the process."""

    def __init__(self) -> None:
        self._records: dict[RoomId, _Record] = {}
        self._deleted: dict[RoomId, int] = {}

    async def load(self, room: RoomId, *, even_quarantined: bool = False) -> list[Segment]:
        record = self._records.get(room, _Record())
        if record.quarantined is not None and not even_quarantined:
            raise Quarantined(record.quarantined)
        return list(record.chain)

    async def store(self, room: RoomId, segment: Segment) -> bool:
        record = self._records.get(room) or _Record()
        link = place([known.upto for known in record.chain], segment)
        if link is None or segment.upto.epoch <= await self.deleted(room):
            return False
        record.chain[link:] = [segment]
        record.written = datetime.now(UTC)
        self._records[room] = record
        return True

    async def archive(self, room: RoomId, entries: Sequence[Entry]) -> None:
        if entries and max(entry.position.epoch for entry in entries) > await self.deleted(room):
            known = self._records.setdefault(room, _Record()).archive
            for entry in entries:
                known.setdefault(entry.position, entry)

    async def history(self, room: RoomId, after: Position | None, limit: int = 1000) -> list[Entry]:
        archive = self._records.get(room, _Record()).archive
        positions = sorted(position for position in archive if after is None or position > after)
        return [archive[position] for position in positions[: max(limit, 1)]]

    async def quarantine(self, room: RoomId, reason: str) -> None:
        self._records.setdefault(room, _Record()).quarantined = reason

    async def release(self, room: RoomId) -> bool:
        record = self._records.get(room)
        if record is None or record.quarantined is None:
            return False
        record.quarantined = None
        if not record.chain and not record.archive:
            del self._records[room]
        return True

    async def info(self, room: RoomId) -> RoomInfo | None:
        record = self._records.get(room)
        if record is None or not (record.chain or record.quarantined is not None):
            return None
        return RoomInfo(
            room=room,
            size=sum(len(segment.state) for segment in record.chain),
            segments=len(record.chain),
            upto=record.chain[-1].upto if record.chain else Position(0, 0, 0),
            written=record.written,
            quarantined=record.quarantined,
        )

    async def list(self, prefix: str = "", after: RoomId | None = None, limit: int = 100) -> list[RoomInfo]:
        found: list[RoomInfo] = []
        for room in sorted(self._records):
            if len(found) == limit:
                break
            if room.startswith(prefix) and (after is None or room > after) and (info := await self.info(room)):
                found.append(info)
        return found

    async def delete(self, room: RoomId, epoch: int = 0) -> bool:
        self._deleted[room] = max(epoch, await self.deleted(room))
        return self._records.pop(room, None) is not None

    async def deleted(self, room: RoomId) -> int:
        return self._deleted.get(room, 0)

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        pass
