"""`relay rooms repair`: a damaged document is stored anew from all that can still be read of it.

What can be read: the history, the segments of the snapshot, and the journal. Edits are idempotent, so their union is
the document. Nothing is thrown away: the damaged segments are kept, each as a document of its own, set aside, and
entries of the journal that can't be read go into the history as they are.
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass
from functools import partial

from relay.cli import output
from relay.cli.check import NOTHING, Held, add_up, asker, claimed, past, spelled
from relay.cli.services import Services
from relay.errors import CodecDied, Malformed, RelayError
from relay.journal import Entry
from relay.room.where import who_has
from relay.shard.redis import RedisChannels
from relay.snapshot import RoomInfo, Segment
from relay.snapshot.chain import Broken
from relay.types import Position, RoomId

__all__ = ["repair"]

PATIENCE = 10.0
"""Seconds until every relay has let go of a document that was set aside."""
NEVER = Position(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Salvage:
    """held: the union of what can be read; edits, unread: how many edits can be read, and can't; lost: what is wrong
    with segments; lacking: ids that segments say they hold, and nothing that can be read does."""

    held: Held
    segments: list[Segment]
    entries: list[Entry]
    edits: int
    unread: int
    lost: list[str]
    lacking: dict[int, list[tuple[int, int]]]

    @property
    def ids(self) -> int:
        return sum(length for found in self.held.there.values() for _, length in found)

    def __str__(self) -> str:
        whole = len(self.segments) - len(self.lost)
        lines = [f"{self.ids} ids from {self.edits} edits and {whole} of {len(self.segments)} segments"]
        lines += [f"  can't be read: {line}" for line in self.lost]
        if self.unread:
            lines.append(f"  can't be read: {self.unread} edits; they stay in the history")
        if self.lacking:
            count = sum(length for found in self.lacking.values() for _, length in found)
            lines.append(f"  lost: {count} ids that the segments should hold: {spelled(self.lacking)}")
        return "\n".join(lines)


async def repair(services: Services, arguments: argparse.Namespace) -> int:
    """Say what can be read and, with --yes, store it. Raises Unavailable, and RelayError when it can't be done; then
    the document is as it was."""
    room: RoomId = arguments.room
    info = await services.snapshots.info(room)
    if info is None and not await services.journal.length(room):
        print(f"relay: nothing is stored of {room}", file=sys.stderr)
        return 1
    with output.progress("reading"):
        found = await _read(services, room)
    if not arguments.yes:
        print(f"{room}: {found}\nnothing was changed; do it with --yes")
        return 0
    _worth_it(room, found, arguments.even_empty)
    before = info.quarantined if info is not None else None
    # Nobody writes meanwhile, and no relay keeps what it read of the damaged snapshot.
    await services.snapshots.quarantine(room, "being repaired")
    try:
        await services.hint(room)
        await _let_go(services, room)
        with output.progress("reading"):
            found = await _read(services, room)
        print(f"{room}: {found}")
        _worth_it(room, found, arguments.even_empty)
        await _store(services, room, info, found)
    except BaseException:
        if before is None:
            await services.snapshots.release(room)
        else:
            await services.snapshots.quarantine(room, before)
        await services.hint(room)
        raise
    await services.snapshots.release(room)
    await services.hint(room)
    print(f"{room}: repaired and released")
    return 0


def _worth_it(room: RoomId, found: Salvage, even_empty: bool) -> None:
    if not found.ids and (found.lost or found.unread or found.lacking) and not even_empty:
        raise RelayError(
            f"nothing of {room} can be read, and nothing was changed: restore it from a backup, or make an empty"
            " document of it with --even-empty"
        )


async def _read(services: Services, room: RoomId) -> Salvage:
    held, edits, unread, after = NOTHING, 0, 0, None
    while page := await services.snapshots.history(room, after):
        held, more, wrong = await _add_each(services, held, [e.update for entry in page for e in entry.edits])
        edits, unread, after = edits + more, unread + wrong, page[-1].position
    # The journal is read before the snapshot: what is trimmed meanwhile is in that.
    entries: list[Entry] = []
    while chunk := await services.journal.read(room, entries[-1].position if entries else None, None):
        entries += chunk
    lost, links = [], ""
    try:
        segments = await services.snapshots.load(room, even_quarantined=True)
    except Broken as error:
        segments, links = error.links, str(error)
    for segment in segments:
        try:
            held = await add_up(services, held, [segment.state])
        except (Malformed, CodecDied) as error:
            lost.append(f"segment up to {segment.upto}: {error}")
    held, more, wrong = await _add_each(services, held, [e.update for entry in entries for e in entry.edits])
    lacking: dict[int, list[tuple[int, int]]] = {}
    for segment in segments:
        try:
            for client, parts in past(claimed(segment.clocks), held.there).items():
                lacking.setdefault(client, []).extend(parts)
        except Malformed as error:
            unknown = f"what the segment up to {segment.upto} should hold: {error}"
            print(f"{room}: can't be read: {unknown}", file=sys.stderr)
    if links:
        print(f"{room}: {links}", file=sys.stderr)
    return Salvage(held, segments, entries, edits + more, unread + wrong, lost, lacking)


async def _store(services: Services, room: RoomId, info: RoomInfo | None, found: Salvage) -> None:
    snapshots = services.snapshots
    ends = [segment.upto for segment in found.segments] + [entry.position for entry in found.entries]
    end = max(ends, default=NEVER)
    if info is not None:
        end = max(end, info.upto)
    for number, segment in enumerate(found.segments, 1):
        copy = RoomId(f"{room}.damaged-{end.epoch}-{end.ms}-{end.seq}.{number}"[-500:])
        await snapshots.quarantine(copy, f"segment {number} of {room}, as it was")
        await snapshots.store(copy, segment._replace(after=None))
        print(f"a segment as it was: {copy}, set aside")
    state, clocks = await services.codec.compact([found.held.state])
    await snapshots.archive(room, found.entries)
    if end > NEVER and not await snapshots.store(room, Segment(None, end, state, clocks)):
        raise RelayError(f"{room} was stored by somebody else meanwhile, and is as it was: try again")


async def _add_each(services: Services, held: Held, updates: list[bytes]) -> tuple[Held, int, int]:
    """`held` with those `updates` that can be read; how many can be and can't be."""
    if not updates:
        return held, 0, 0
    try:
        return await add_up(services, held, updates), len(updates), 0
    except (Malformed, CodecDied):
        if len(updates) == 1:
            return held, 0, 1
    middle = len(updates) // 2
    held, read, unread = await _add_each(services, held, updates[:middle])
    held, more, wrong = await _add_each(services, held, updates[middle:])
    return held, read + more, unread + wrong


async def _let_go(services: Services, room: RoomId) -> None:
    ends = asyncio.get_running_loop().time() + PATIENCE
    while holders := await who_has(partial(RedisChannels, services.redis_url, asker()), room):
        if asyncio.get_running_loop().time() > ends:
            raise RelayError(f"{holders[0].node} still has {room} open, and nothing was changed: try again")
        await asyncio.sleep(0.1)
