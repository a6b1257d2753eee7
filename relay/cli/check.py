"""`relay rooms check`: is a document the same in its snapshot and journal, in its history, and in every relay?

Contents are not compared but what they are made of: which ids (client, clock) are there and which are deleted. Ids are
never reused, so who has the same ids has the same document.
"""

import argparse
import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

from relay.cli import output
from relay.cli.services import Services
from relay.errors import CodecDied, Malformed, Quarantined
from relay.room import outside
from relay.room.where import digest, who_has
from relay.shard.redis import RedisChannels
from relay.snapshot import SnapshotStore
from relay.types import NodeId, RoomId
from relay.yjs.lib0 import read_uint
from relay.yjs.ranges import Ranges, decode_ranges

__all__ = ["Checked", "Held", "add_up", "asker", "check", "check_room", "claimed", "history_of", "past", "spelled"]

PAGE_BYTES = 8 << 20
"""Updates that a codec process is given at once, beside what they are added to."""
TRIES = 5
PAUSE = 0.5
"""Seconds until a document that is being written to is looked at again."""
REST = 0.05
"""Seconds between documents, so that looking at all of them leaves the services to those who edit."""
SHOWN = 3

Ids = Mapping[int, Ranges]


@dataclass(frozen=True, slots=True)
class Held:
    """One update, and the ids that are there and deleted in it."""

    state: bytes
    there: Ids
    deleted: Ids

    def vector(self) -> dict[int, int]:
        """Per client the clock up to which nothing is missing."""
        return {client: found.ends[0] for client, found in self.there.items() if found.starts[0] == 0}


NOTHING = Held(b"\0\0", {}, {})


@dataclass(slots=True)
class Checked:
    """wrong: what differs; notes: what could not be compared, and why that is no fault."""

    room: RoomId
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    relays: int = 0
    ids: int = 0


async def check(services: Services, arguments: argparse.Namespace) -> int:
    """Write what was found; 1 when anything differs. Raises Unavailable."""
    count, found = 0, []
    shows = sys.stderr.isatty() and arguments.all
    async for room in _rooms(services) if arguments.all else _one(arguments.room):
        checked = await check_room(services, room)
        count += 1
        if checked.wrong or not arguments.all or arguments.json:
            found.append(checked)
        if shows:
            print(f"\r\x1b[K{count} checked  {room[:40]}", end="", file=sys.stderr, flush=True)
        if arguments.all:
            await asyncio.sleep(REST)
    if shows:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    wrong = sum(bool(checked.wrong) for checked in found)
    if arguments.json:
        output.print_json([asdict(checked) | {"ok": not checked.wrong} for checked in found])
        return int(wrong > 0)
    for checked in found:
        print(f"{checked.room}: {'differs' if checked.wrong else 'ok'}, {checked.ids} ids, {checked.relays} relays")
        for line in (*checked.wrong, *(f"({note})" for note in checked.notes)):
            print(f"  {line}")
    if arguments.all:
        print(f"{count} documents checked, {wrong} differ")
    return int(wrong > 0)


async def _one(room: RoomId) -> AsyncIterator[RoomId]:
    yield room


async def _rooms(services: Services) -> AsyncIterator[RoomId]:
    """Every document that is stored or journalled."""
    seen: set[RoomId] = set()
    after: RoomId | None = None
    while page := await services.snapshots.list(after=after):
        for info in page:
            yield info.room
        seen.update(info.room for info in page)
        after = page[-1].room
    for room in sorted(await services.journal.rooms()):
        if room not in seen:
            yield room


async def check_room(services: Services, room: RoomId) -> Checked:
    """Compare what is known of one document. Raises Unavailable."""
    checked = Checked(room)
    info = await services.snapshots.info(room)
    if info is not None and info.quarantined is not None:
        checked.wrong.append(f"set aside: {info.quarantined}")
    try:
        for _ in range(TRIES):
            segments, entries = await outside.read(services.journal, services.snapshots, room, even_quarantined=True)
            end = entries[-1].position if entries else segments[-1].upto if segments else None
            holders = await who_has(partial(RedisChannels, services.redis_url, asker()), room)
            if all(holder.position == str(end or "") and not holder.unsaved for holder in holders):
                break
            await asyncio.sleep(PAUSE)
        else:
            checked.notes.append("people are typing: its relays could not be compared")
            holders = []
        tail = [edit.update for entry in entries for edit in entry.edits]
        stored = await add_up(services, NOTHING, [segment.state for segment in segments] + tail)
    except Quarantined as error:
        checked.wrong.append(str(error))
        return checked
    except (Malformed, CodecDied) as error:
        checked.wrong.append(f"what is stored can't be read: {error}")
        return checked
    checked.ids = sum(length for found in stored.there.values() for _, length in found)
    for segment in segments:
        try:
            if past(claimed(segment.clocks), stored.there):
                checked.wrong.append(f"the segment up to {segment.upto} lacks ids that it claims")
        except Malformed as error:
            checked.wrong.append(f"the summary of the segment up to {segment.upto} can't be read: {error}")
    checked.relays = len(holders)
    for holder in holders:
        if holder.digest and holder.digest != digest(stored.vector(), stored.deleted):
            checked.wrong.append(f"relay {holder.node} holds other edits or deletions than are stored")
    try:
        history = await history_of(services, room)
    except (Malformed, CodecDied) as error:
        checked.notes.append(f"the history can't be read: {error}")
        return checked
    for name, then, now in (("", history.there, stored.there), ("deletion of ", history.deleted, stored.deleted)):
        if lacks := past(then, now):
            checked.wrong.append(f"the history has, and what is stored has not: {name}{spelled(lacks)}")
    return checked


def asker() -> NodeId:
    """An id that no relay has."""
    return NodeId(f"command-{secrets.token_hex(4)}")


async def history_of(services: Services, room: RoomId) -> Held:
    """All that the archive keeps. Raises Malformed and CodecDied."""
    held, after = NOTHING, None
    snapshots: SnapshotStore = services.snapshots
    while page := await snapshots.history(room, after):
        held = await add_up(services, held, [edit.update for entry in page for edit in entry.edits])
        after = page[-1].position
    return held


async def add_up(services: Services, held: Held, updates: list[bytes]) -> Held:
    """`held` with `updates`, read in a codec process, some at a time. Raises Malformed and CodecDied."""
    while updates:
        size, count = 0, 0
        while count < len(updates) and (not count or size + len(updates[count]) <= PAGE_BYTES):
            size += len(updates[count])
            count += 1
        state, clocks = await services.codec.compact([held.state, *updates[:count]])
        deletes_at, at = read_uint(clocks, 0)
        held = Held(state, decode_ranges(clocks, at)[0], decode_ranges(state, deletes_at)[0])
        updates = updates[count:]
    return held


def past(ours: Ids, theirs: Ids) -> dict[int, list[tuple[int, int]]]:
    """Per client the (clock, length) of what `ours` has and `theirs` lacks."""
    empty = Ranges()
    found = {
        client: [part for start, length in ranges for part in theirs.get(client, empty).missing(start, length)]
        for client, ranges in ours.items()
    }
    return {client: parts for client, parts in found.items() if parts}


def claimed(clocks: bytes) -> Ids:
    """The ids that a segment holds, as its summary says. Raises Malformed."""
    return decode_ranges(clocks, read_uint(clocks, 0)[1])[0]


def spelled(lacks: Mapping[int, list[tuple[int, int]]]) -> str:
    """The first of them, for people to read."""
    parts = [f"{client}:{clock}+{length}" for client, found in sorted(lacks.items()) for clock, length in found]
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(parts[:SHOWN]) + more
