"""Taking edits that others put into a room's journal into the room that is open here."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from relay.closing import Closing
from relay.grants import Grant
from relay.journal import Entry
from relay.room.member import Member
from relay.room.room import Room
from relay.types import Edit, NodeId
from relay.yjs.update import TooManyStructs, parse

if TYPE_CHECKING:
    from relay.codec.pool import CodecPool

__all__ = ["Foreign", "foreign", "take"]


class Foreign(NamedTuple):
    """An edit from outside; `clocks` where a codec process has read it."""

    edit: Edit
    clocks: bytes | None


class _Nowhere:
    """The socket of an author who is not here."""

    deflate = False
    paused = False

    def write(self, data: bytes) -> None:
        pass


async def foreign(
    room: Room, entries: Iterable[Entry], node: NodeId, codec: "CodecPool", inline_parse: int
) -> list[Foreign]:
    """The edits among `entries` that neither this node wrote nor the room was loaded with.

    Raises Malformed and CodecDied: poison.
    """
    # An epoch that was begun from outside keeps the ids of the entries it took over.
    loaded = {(position.ms, position.seq) for position in room.log.saved_positions()}
    found: list[Foreign] = []
    for entry in entries:
        if entry.node == node or (entry.position.ms, entry.position.seq) in loaded:
            continue
        for edit in entry.edits:
            if len(edit.update) <= inline_parse and _small(edit.update):
                found.append(Foreign(edit, None))
            else:
                update, clocks = await codec.summarise(edit.update)
                found.append(Foreign(edit._replace(update=update), clocks))
    return found


def _small(update: bytes) -> bool:
    try:
        parse(update, 500)
    except TooManyStructs:
        return False
    return True


def take(room: Room, edits: Iterable[Foreign]) -> None:
    """Give `edits` to everybody here and put them before what the journal does not have yet. Raises Deny.

    They are journalled again with that: so whatever snapshot covers where they stand in the journal also holds them.
    The room must be away (`Saving.fail`), and `Saving.resume` must follow at once.
    """
    room.flush()
    before = len(room.log.flushes)
    try:
        for (actor, update), clocks in edits:
            author = Member(_Nowhere(), Grant(actor, actor, readonly=False), _stay)
            if clocks is None:
                room.submit(author, update)
            else:
                room.submit_large(author, update, clocks)
    finally:
        room.flush()
        room.log.put_first(len(room.log.flushes) - before)


def _stay(why: Closing) -> None:
    """Somebody who is not here has nowhere to leave from."""
