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

__all__ = ["held", "replay"]

BREATHE = 100
"""Entries taken in before others get a turn of the loop."""


async def replay(room: Room, entries: Sequence[Entry], codec: "CodecPool", inline_parse: int) -> None:
    """Take entries that the journal has into the room, and give what is new in them to whoever is there. In a room
    that has one of them already it changes nothing. Raises Malformed and CodecDied: poison."""
    for count, entry in enumerate(entries, 1):
        if (upto := room.log.upto()) is not None and entry.position <= upto:
            continue  # stored since it was read
        fresh = False
        payloads: list[bytes] = []
        layouts: list[Layout] = []
        for edit in entry.edits:
            try:
                layout = parse(edit.update, 500) if len(edit.update) <= inline_parse else None
            except TooManyStructs:
                layout = None
            if layout is None:
                update, clocks = await codec.summarise(edit.update)
                if not room.known.covers(clocks, update):
                    fresh = True
                    room.known.load(clocks, update)
                payloads.append(update)
            else:
                fresh = room.known.add(layout) or fresh
                layouts.append(layout)
        if layouts:
            payloads.append(layouts[0].update if len(layouts) == 1 and layouts[0].plain else merge(layouts))
        room.absorb(entry, payloads, fresh)
        if count % BREATHE == 0:
            await asyncio.sleep(0)


async def held(known: Known, update: bytes, codec: "CodecPool", inline_parse: int) -> bool:
    """Whether all of `update` is in `known`. Raises Malformed and CodecDied."""
    try:
        if len(update) <= inline_parse:
            return known.holds(parse(update, 500))
    except TooManyStructs:
        pass
    update, clocks = await codec.summarise(update)
    return known.covers(clocks, update)
