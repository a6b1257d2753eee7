"""`relay rooms repair`: a damaged document is stored anew from all that can still be read of it.

What can be read: the history, the segments of the snapshot, and the journal. Edits are idempotent, so their union is
the document. Nothing is thrown away: the damaged segments are kept as a document of their own, set aside, and entries
of the journal that can't be read go into the history as they are.
"""

import argparse
import asyncio
import sys
from functools import partial

from relay.cli import output
from relay.cli.check import NOTHING, Held, add_up
from relay.cli.services import Services
from relay.errors import CodecDied, Malformed, Quarantined, RelayError
from relay.journal import Entry
from relay.room import outside
from relay.room.where import who_has
from relay.shard.redis import RedisChannels
from relay.snapshot import Segment
from relay.types import NodeId, Position, RoomId

__all__ = ["repair"]

PATIENCE = 10.0
"""Seconds until every relay has let go of a document that was set aside."""


async def repair(services: Services, arguments: argparse.Namespace) -> int:
    """Say what can be read and, with --yes, store it. Raises Unavailable, and RelayError when it can't be done."""
    room: RoomId = arguments.room
    snapshots, journal = services.snapshots, services.journal
    if await snapshots.info(room) is None and not await journal.length(room):
        print(f"relay: nothing is stored of {room}", file=sys.stderr)
        return 1
    if arguments.yes:
        # Nobody writes meanwhile, and no relay keeps what it read of the damaged snapshot.
        await snapshots.quarantine(room, "being repaired")
        await services.hint(room)
        await _let_go(services, room)
    with output.progress("reading"):
        held, read, unread = await _history(services, room)
        try:
            segments, entries = await outside.read(journal, snapshots, room, even_quarantined=True)
        except Quarantined as error:
            raise RelayError(f"{error}; its segments can't be kept, so nothing was changed") from None
        lost = []
        for segment in segments:
            try:
                held = await add_up(services, held, [segment.state])
            except (Malformed, CodecDied) as error:
                lost.append(f"segment up to {segment.upto}: {error}")
        held, more, wrong = await _add_each(services, held, [e.update for entry in entries for e in entry.edits])
    ids = sum(length for found in held.there.values() for _, length in found)
    print(f"{room}: {ids} ids from {read + more} edits and {len(segments) - len(lost)} of {len(segments)} segments")
    for line in lost:
        print(f"  can't be read: {line}")
    if unread + wrong:
        print(f"  can't be read: {unread + wrong} edits; they stay in the history")
    if not arguments.yes:
        print("nothing was changed; do it with --yes")
        return 0
    return await _store(services, room, held, segments, entries)


async def _store(services: Services, room: RoomId, held: Held, segments: list[Segment], entries: list[Entry]) -> int:
    snapshots = services.snapshots
    end = max([s.upto for s in segments] + [e.position for e in entries], default=Position(0, 0, 0))
    if segments:
        copy = RoomId(f"{room}.damaged-{end.epoch}-{end.ms}-{end.seq}"[-500:])
        await snapshots.quarantine(copy, f"damaged segments of {room}")
        for segment in segments:
            await snapshots.store(copy, segment)
        print(f"the segments as they were: {copy}, set aside")
    state, clocks = await services.codec.compact([held.state])
    await snapshots.archive(room, entries)
    if not await snapshots.store(room, Segment(None, end, state, clocks)):
        raise RelayError(f"{room} was stored by somebody else meanwhile; it stays set aside, try again")
    await snapshots.release(room)
    await services.hint(room)
    print(f"{room}: repaired and released")
    return 0


async def _history(services: Services, room: RoomId) -> tuple[Held, int, int]:
    held, read, unread, after = NOTHING, 0, 0, None
    while page := await services.snapshots.history(room, after):
        held, more, wrong = await _add_each(services, held, [e.update for entry in page for e in entry.edits])
        read, unread, after = read + more, unread + wrong, page[-1].position
    return held, read, unread


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
    try:
        async with asyncio.timeout(PATIENCE):
            asker = NodeId("command-repair")
            while await who_has(partial(RedisChannels, services.redis_url, asker), room):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise RelayError(f"a relay still has {room} open; it stays set aside, try again") from None
