"""Taking in what the journal has: when a room is loaded, and when another relay has written to it."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.journal import Entry
from relay.room.room import Room
from relay.yjs.known import Known
from relay.yjs.merge import merge
from relay.yjs.update import Layout, TooManyStructs, parse

if TYPE_CHECKING:
    from relay.codec.pool import CodecPool

__all__ = ["learn", "reopen", "replay", "summarise"]

BREATHE = 100
"""Entries taken in before others get a turn of the loop."""


async def replay(room: Room, entries: Sequence[Entry], codec: "CodecPool", inline_parse: int) -> None:
    """Take entries that the journal has into the room, and give what is new in them to whoever is there. In a room
    that has one of them already it changes nothing. Raises Malformed and CodecDied: poison."""
    for count, entry in enumerate(entries, 1):
        if (upto := room.log.upto()) is not None and entry.position <= upto:
            continue  # stored since it was read
        payloads: list[bytes] = []
        news: list[bytes] = []
        layouts: list[Layout] = []
        fresh: list[Layout] = []
        for edit in entry.edits:
            try:
                layout = parse(edit.update, 500) if len(edit.update) <= inline_parse else None
            except TooManyStructs:
                layout = None
            if layout is None:
                update, clocks = await codec.summarise(edit.update)
                payloads.append(update)
                update, clocks = await _cut(room.known, update, clocks, codec)
                if not room.known.covers(clocks, update):
                    room.known.load(clocks, update)
                    news.append(update)
            else:
                layouts.append(layout)
                if (new := room.known.add(layout)) is not None:
                    fresh.append(new)
        if layouts:
            payloads.append(merge(layouts))
        if fresh:
            news.append(payloads[-1] if fresh == layouts else merge(fresh))
        room.absorb(entry, payloads, news)
        if count % BREATHE == 0:
            await asyncio.sleep(0)


async def summarise(known: Known, update: bytes, codec: "CodecPool") -> tuple[bytes, bytes]:
    """A large update without the structs that `known` has, and its summary; whole when nothing in it is new. True until
    the caller awaits something. Raises Malformed, CodecDied and Unavailable."""
    update, clocks = await codec.summarise(update)
    return await _cut(known, update, clocks, codec)


async def _cut(known: Known, update: bytes, clocks: bytes, codec: "CodecPool") -> tuple[bytes, bytes]:
    # Others write meanwhile, so that there may be more to cut when it comes back.
    while (shared := known.shared(clocks)) is not None and not known.covers(clocks, update):
        update, clocks = await codec.summarise(update, shared)
    return update, clocks


async def learn(known: Known, update: bytes, codec: "CodecPool", inline_parse: int) -> bool:
    """Take `update` into `known`; whether any of it was not there yet. Raises Malformed and CodecDied."""
    try:
        if len(update) <= inline_parse:
            return known.add(parse(update, 500)) is not None
    except TooManyStructs:
        pass
    update, clocks = await codec.summarise(update)
    if known.covers(clocks, update):
        return False
    known.load(clocks, update)
    return True


async def reopen(room: Room, entries: Sequence[Entry], codec: "CodecPool", inline_parse: int) -> None:
    """The room's stream has another epoch, or has lost entries; it holds `entries`. What is there the room takes for
    saved, whoever put it there. What then is left to append again is kept once: every relay gives a stream that was
    forgotten all it holds, and reads what the others gave, so that without this each time would multiply it.

    The room must be away (`Saving.fail`), and `Saving.resume` must follow. Raises Malformed and CodecDied: poison.
    """
    room.log.reopen(entries)
    have = room.log.saved_positions()
    await replay(room, [entry for entry in entries if entry.position not in have], codec, inline_parse)
    known = Known()
    for stored in room.log.segments:
        for _ in known.loading(stored.segment.clocks, stored.segment.state):
            await asyncio.sleep(0)
    repeated: set[int] = set()
    for flush in list(room.log.flushes):
        fresh = [await learn(known, payload, codec, inline_parse) for payload in flush.payloads]
        if flush.position is None and not flush.authors and not any(fresh):
            repeated.add(flush.number)
    if repeated:
        room.log.drop(repeated)
        for member in room.members:
            if member.behind is not None:
                member.behind = -1  # what it missed may have been among them
