"""Bringing a client up to date: its Step1 is answered with the segments and the tail that it lacks.

Nothing is decoded or re-encoded for a joiner with an empty document: it gets the stored bytes, the same for everybody.
The last message is the Step2, so that "synced" comes when all of it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING

from relay.errors import CodecDied, Unavailable
from relay.protocol import ywebsocket as message
from relay.protocol.frames import header
from relay.room.gather import gather
from relay.yjs.diff import diff
from relay.yjs.known import spans
from relay.yjs.lib0 import write_uint
from relay.yjs.vector import decode_vector

if TYPE_CHECKING:
    from relay.codec.pool import CodecPool
    from relay.room.log import Stored
    from relay.room.member import Member
    from relay.room.room import Room

__all__ = ["EMPTY_UPDATE", "answer", "needs_codec"]

log = logging.getLogger("relay.join")
INLINE_DIFF = 16384
"""Bytes of a segment that is compared on the loop; a larger one goes to a codec process."""
MAX_VECTOR = 262144
"""Bytes of a state vector that is compared: some 30,000 clients. Whoever sends a larger one gets everything."""
LONG = 8192
"""Bytes of a state vector or of a segment's clocks from which on comparing them takes milliseconds: in steps, then."""
STEP = 500
"""Clients that are compared at a time."""
COPIED = 65536
"""Smaller states are copied behind their header; larger ones are written as they are, shared by all joiners."""
PIECES = 16
"""Updates of the tail from which on they are merged anew."""
EMPTY_UPDATE = b"\0\0"


class Has(Enum):
    """How much of a segment a client has."""

    NONE = 1
    SOME = 2
    ALL = 3


def has(stored: Stored, vector: Mapping[int, int]) -> Has:
    """Compare a segment's clock ranges with a client's state vector."""
    if not vector:
        return Has.NONE
    compared = Has.ALL
    for compared in comparing(stored, vector):
        if compared is Has.SOME:
            break
    return compared


def comparing(stored: Stored, vector: Mapping[int, int]) -> Iterator[Has]:
    """What `has` says of the clients looked at so far."""
    every, none = True, True
    for client, first, end in spans(stored.segment.clocks):
        clock = vector.get(client, 0)
        every = every and end <= clock
        none = none and first >= clock
        yield Has.ALL if every else Has.NONE if none else Has.SOME


def clocks_of(vector: bytes) -> dict[int, int]:
    """A client's state vector; one too large to be read here counts as empty. Raises Malformed."""
    return decode_vector(vector) if len(vector) <= MAX_VECTOR else {}


def needs_codec(room: Room, vector: bytes) -> bool:
    """Whether `answer` has to wait: for a codec process, or for a comparison that takes long. Raises Malformed."""
    if LONG < len(vector) <= MAX_VECTOR:
        return True
    clocks = clocks_of(vector)
    if clocks and any(len(stored.segment.clocks) > LONG for stored in room.log.segments):
        return True
    large = [stored for stored in room.log.segments if len(stored.segment.state) > INLINE_DIFF]
    return any(has(stored, clocks) is Has.SOME for stored in large)


async def answer_after_diff(room: Room, member: Member, vector: bytes, codec: CodecPool) -> None:
    """As `answer`, for a client that has parts of a large segment, or of one by very many authors."""
    clocks = clocks_of(vector)
    parts: dict[int, Has] = {}
    diffs: dict[int, bytes] = {}
    segments = list(room.log.segments)  # kept to the end: what is known of them goes by identity
    for stored in segments:
        state = stored.segment.state
        part = parts[id(state)] = await compare(stored, clocks)
        if part is Has.SOME and len(state) > INLINE_DIFF:
            try:
                diffs[id(state)] = await codec.diff(state, vector)
            except (CodecDied, Unavailable) as error:  # then it gets the whole segment, and knows what to do with it
                log.warning("diff failed", extra={"room": room.name, "error": str(error)})
    if member in room.members:
        answer(room, member, vector, diffs, parts)


async def compare(stored: Stored, clocks: Mapping[int, int]) -> Has:
    """`has`, with turns for others."""
    if not clocks:
        return Has.NONE
    compared = Has.ALL
    for number, compared in enumerate(comparing(stored, clocks), 1):
        if compared is Has.SOME:
            break
        if number % STEP == 0:
            await asyncio.sleep(0)
    return compared


def answer(
    room: Room,
    member: Member,
    vector: bytes,
    diffs: Mapping[int, bytes] | None = None,
    parts: Mapping[int, Has] | None = None,
) -> None:
    """Write `member` what its state vector says it lacks, then who is here. Raises Malformed.

    `diffs` and `parts` hold, by identity of the state, what a codec process and a comparison found; a large segment
    that changed meanwhile is sent whole, which costs bytes and nothing else.
    """
    if member.behind is not None:
        member.asked = vector  # it reads too slowly to take it now
        return
    clocks = clocks_of(vector)
    diffs, parts = diffs or {}, parts or {}
    updates: list[bytes] = []
    covered = False
    for stored in room.log.segments:
        state = stored.segment.state
        part = parts.get(id(state)) or has(stored, clocks)
        if part is Has.ALL:
            covered = True
        elif part is Has.NONE:
            updates.append(state)
        elif len(state) <= INLINE_DIFF:
            updates.append(diff(state, clocks))
        else:
            updates.append(diffs.get(id(state), state))
    updates += tail(room)
    if covered:
        updates.append(b"\0" + room.known.deletes_encoded())
    last = updates.pop() if updates else EMPTY_UPDATE
    for update in updates:
        send(room, member, b"\0\2", update)
    send(room, member, b"\0\1", last)
    if (states := room.presence.everyone()) is not None and member.group is not None:
        room.write(member, member.group.frame(message.presence(states)))
    room.counters.joins.add("full" if not clocks else "diff")


def tail(room: Room) -> list[bytes]:
    """The flushes since the segments, in few updates. Kept, so that the next joiner costs only what came since."""
    log = room.log
    newest, gathered = log.tail_cache or (0, [])
    fresh = [flush for flush in log.flushes if flush.number > newest]
    if fresh:
        gathered = [*gathered, *gather([payload for flush in fresh for payload in flush.payloads])]
        if len(gathered) > PIECES:
            gathered = gather(gathered)
        log.tail_cache = (max(flush.number for flush in fresh), gathered)
    return list(gathered)


def send(room: Room, member: Member, kind: bytes, update: bytes) -> None:
    """Write one sync message; a large update is not copied."""
    if len(update) <= COPIED and member.group is not None:
        room.write(member, member.group.frame(kind + write_uint(len(update)) + update))
        return
    head = member.prefix + kind + write_uint(len(update))
    room.write(member, header(len(head) + len(update)) + head)
    room.write(member, update, frames=0)
