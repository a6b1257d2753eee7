"""What is stored of one document, for a person or a script."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay.cli import output
from relay.errors import Malformed
from relay.journal import Entry, Journal
from relay.room import outside
from relay.snapshot import RoomInfo, Segment, SnapshotStore
from relay.types import RoomId
from relay.yjs.known import Known
from relay.yjs.update import parse

__all__ = ["Inspected", "inspect"]

SHOWN = 10
"""Clients of the state vector that a person is shown."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """vector: clock by client; gaps: edits wait for others that are missing; broken: what can't be read, and why."""

    room: RoomId
    info: RoomInfo | None
    segments: Sequence[Segment]
    epoch: int
    length: int
    tail: Sequence[Entry]
    vector: dict[int, int]
    gaps: bool
    broken: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """All of it; the segments' and entries' bytes as their lengths."""
        return {
            "room": self.room,
            "quarantined": self.info.quarantined if self.info else None,
            "written": output.date(self.info.written) if self.info else None,
            "segments": [
                {"after": str(s.after) if s.after else None, "upto": str(s.upto), "bytes": len(s.state)}
                for s in self.segments
            ],
            "journal": {
                "epoch": self.epoch,
                "entries": self.length,
                "unstored": len(self.tail),
                "edits": sum(len(entry.edits) for entry in self.tail),
                "bytes": _bytes(self.tail),
            },
            "vector": {str(client): clock for client, clock in sorted(self.vector.items())},
            "gaps": self.gaps,
            "broken": list(self.broken),
        }

    def __str__(self) -> str:
        info = self.info
        lines = [
            f"room         {self.room}",
            f"quarantined  {info.quarantined if info and info.quarantined is not None else 'no'}",
            f"written      {output.date(info.written) if info and self.segments else 'not yet'}",
            f"snapshot     {output.size(sum(len(s.state) for s in self.segments))} in {len(self.segments)} segments",
        ]
        lines += [f"  {s.after or 'begin'} .. {s.upto}  {output.size(len(s.state))}" for s in self.segments]
        lines += [
            f"journal      {self.length} entries in epoch {self.epoch}",
            f"  {len(self.tail)} not in the snapshot  {output.size(_bytes(self.tail))}",
            f"clients      {len(self.vector)}",
        ]
        most = sorted(self.vector.items(), key=lambda item: -item[1])
        lines += [f"  {client}: {clock}" for client, clock in most[:SHOWN]]
        if len(most) > SHOWN:
            lines.append(f"  and {len(most) - SHOWN} more")
        lines.append(f"gaps         {'yes: edits wait for others that are missing' if self.gaps else 'none'}")
        lines += [f"broken       {what}" for what in self.broken]
        return "\n".join(lines)


async def inspect(journal: Journal, snapshots: SnapshotStore, room: RoomId) -> Inspected | None:
    """Read all that is stored of a room, quarantined or not; None when there is nothing. Raises Unavailable."""
    info = await snapshots.info(room)
    length = await journal.length(room)
    if info is None and not length:
        return None
    segments, tail = await outside.read(journal, snapshots, room, even_quarantined=True)
    known, broken = Known(), []
    for segment in segments:
        try:
            known.load(segment.clocks, segment.state)
        except Malformed as error:
            broken.append(f"segment up to {segment.upto}: {error}")
    for entry in tail:
        for edit in entry.edits:
            try:
                known.add(parse(edit.update))
            except Malformed as error:
                broken.append(f"entry {entry.position} of {edit.actor or 'nobody'}: {error}")
    epoch = await journal.epoch(room)
    return Inspected(room, info, segments, epoch, length, tail, known.vector(), known.has_gaps, broken)


def _bytes(entries: Sequence[Entry]) -> int:
    return sum(len(edit.update) for entry in entries for edit in entry.edits)
