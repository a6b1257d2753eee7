"""Building a room from what is stored: the snapshot's segments, then the journal's entries past them."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.journal import Entry
from relay.room.log import Flush
from relay.room.room import Room
from relay.yjs.merge import merge
from relay.yjs.update import Layout, TooManyStructs, parse

if TYPE_CHECKING:
    from relay.codec.pool import CodecPool

__all__ = ["replay"]

BREATHE = 100
"""Entries taken in before others get a turn of the loop."""


async def replay(room: Room, entries: Sequence[Entry], codec: "CodecPool", inline_parse: int) -> None:
    """Take journal entries into a room that nobody has joined yet. Raises Malformed and CodecDied: poison."""
    for count, entry in enumerate(entries, 1):
        payloads: list[bytes] = []
        layouts: list[Layout] = []
        for edit in entry.edits:
            try:
                layout = parse(edit.update, 500) if len(edit.update) <= inline_parse else None
            except TooManyStructs:
                layout = None
            if layout is None:
                update, clocks = await codec.summarise(edit.update)
                room.known.load(clocks, update)
                payloads.append(update)
            else:
                room.known.add(layout)
                layouts.append(layout)
        if layouts:
            payloads.append(layouts[0].update if len(layouts) == 1 and layouts[0].plain else merge(layouts))
        room.number += 1
        flush = Flush(room.number, list(entry.edits), payloads, [], {})
        flush.position = entry.position
        room.log.append(flush)
        room.log.saved += 1
        if count % BREATHE == 0:
            await asyncio.sleep(0)
