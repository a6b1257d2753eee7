"""Long states in pieces, so that nobody waits while one is copied: a row of 20 MB takes its reader 8 to 14 ms at once.

Reading takes one statement still, so one consistent view and one round trip. Fenced off (OFFSET 0) and made anew
(|| ''), a state is read from its compressed chunks once, not once a piece. The rows come in any order: sorting them
would have the server put the states aside first.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby

import asyncpg

from relay.snapshot import Segment
from relay.types import Position

__all__ = ["COLUMNS", "PIECE", "PIECES", "cut", "joined"]

PIECE = 1 << 20
"""Bytes that are read or written at a time."""

COLUMNS = f"""
s.link, s.after_epoch, s.after_ms, s.after_seq, s.upto_epoch, s.upto_ms, s.upto_seq,
s.at, substring(s.state FROM s.at + 1 FOR {PIECE}) AS piece, CASE WHEN s.at = 0 THEN s.clocks END AS clocks
"""
PIECES = f"""
LATERAL (
    SELECT whole.*, at FROM (
        SELECT link, after_epoch, after_ms, after_seq, upto_epoch, upto_ms, upto_seq, clocks, state || '' AS state
        FROM relay.segment WHERE room = r.room AND (r.quarantined IS NULL OR $2) OFFSET 0
    ) whole, generate_series(0, greatest(octet_length(whole.state) - 1, 0), {PIECE}) at
) s
"""  # noqa: S608
"""Joined to `relay.room r`: its segments, unless it was quarantined and $2 is false."""


async def joined(rows: Sequence[asyncpg.Record]) -> list[Segment]:
    """The segments, in order, whose pieces are `rows`."""
    pieces = sorted((row for row in rows if row["link"] is not None), key=lambda row: (row["link"], row["at"]))
    segments = []
    for _, parts in groupby(pieces, lambda row: row["link"]):
        head, *rest = parts
        state = head["piece"]
        if rest:  # joining lets go of the GIL
            state = await asyncio.to_thread(b"".join, [state, *(row["piece"] for row in rest)])
        after = head["after_epoch"], head["after_ms"], head["after_seq"]
        upto = Position(head["upto_epoch"], head["upto_ms"], head["upto_seq"])
        segments.append(Segment(None if after[0] is None else Position(*after), upto, state, head["clocks"]))
    return segments


def cut(state: bytes) -> Iterator[memoryview]:
    """The pieces of a state to be written."""
    view = memoryview(state)
    return (view[at : at + PIECE] for at in range(0, len(view), PIECE))
