"""Whole documents, worked on in a process of the pool: pure functions of bytes.

The tag of a state is a hash of what is in it: of each client the clocks that are there, and those that are deleted. Two
states with the same tag hold the same, however they came to it; a deletion, which changes no clock, changes the tag.
"""

import hashlib
import zlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

from plugins.documents.content import Conflict, Hunk, Operation, patch, read, rebase, write
from relay.yjs.compact import compact
from relay.yjs.diff import diff
from relay.yjs.ranges import Ranges, encode_ranges
from relay.yjs.update import EMPTY, parse
from relay.yjs.vector import decode_vector

__all__ = ["Change", "Shown", "begin", "lacking", "patched", "put", "show", "tag", "unpack"]


class Shown(NamedTuple):
    """body: in the format asked for. tag: of the state. packed: the state to keep as a base, if wanted."""

    body: bytes
    tag: str
    packed: bytes


class Change(NamedTuple):
    """update: for the room, empty when nothing changes. tag, packed: of the state that the author's content is: what
    it was made from with the change, without what others did since. rebased: whether others did."""

    update: bytes
    hunks: Sequence[Hunk]
    conflicts: Sequence[Conflict]
    tag: str
    packed: bytes
    rebased: bool


def tag(state: bytes) -> str:
    """32 hexadecimal digits. Raises Malformed."""
    layout = parse(state)
    there = {client: Ranges((clock, length) for clock, length, _, _ in all) for client, all in layout.structs.items()}
    gone = {client: Ranges(all) for client, all in layout.deletes.items()}
    return hashlib.sha256(encode_ranges(there) + encode_ranges(gone)).hexdigest()[:32]


def unpack(packed: bytes) -> bytes:
    """A state that was packed."""
    return zlib.decompress(packed)


def show(state: bytes, form: str, root: str | None, keep: bool) -> Shown:
    """A state in a format. Raises what `read` raises."""
    return Shown(read(state, form, root), tag(state), _pack(state) if keep else b"")


def begin(body: bytes, form: str) -> bytes:
    """The update that a document begins with. Raises what `write` raises."""
    return write(EMPTY, body, form).update


def lacking(state: bytes, vector: bytes) -> bytes:
    """What a peer with this encoded state vector lacks. Raises Malformed."""
    return diff(state, decode_vector(vector))


def put(
    live: bytes, base: bytes | None, tags: Collection[str] | None, body: bytes, form: str, root: str | None
) -> Change | None:
    """Make the content `body`, which was made from the state that one of `tags` names: the live one or `base`, packed.

    tags: None = from whatever is there.  Returns None when no state of these tags is known.
    """
    start = _start(live, base, tags)
    if start is None:
        return None
    done = rebase(start, body, form, live, root)
    return _change(start, live, done.update, done.hunks, done.conflicts)


def patched(
    live: bytes, base: bytes | None, tags: Collection[str] | None, operations: Sequence[Operation], root: str | None
) -> Change | None:
    """Do operations to the state that one of `tags` names, and rebase what they make of it; else as `put`."""
    start = _start(live, base, tags)
    if start is None:
        return None
    done = patch(start, operations, root)
    if start is live or not done.update:
        return _change(start, live, done.update, done.hunks, ())
    meant = read(compact([start, done.update]).state, "json", done.root)
    moved = rebase(start, meant, "json", live, done.root)
    return _change(start, live, moved.update, moved.hunks, moved.conflicts)


def _start(live: bytes, base: bytes | None, tags: Collection[str] | None) -> bytes | None:
    if tags is None or tag(live) in tags:
        return live
    if base is not None:
        return unpack(base)
    return EMPTY if tag(EMPTY) in tags else None


def _change(start: bytes, live: bytes, update: bytes, hunks: Sequence[Hunk], conflicts: Sequence[Conflict]) -> Change:
    after = compact([start, update]).state if update else start
    return Change(update, hunks, conflicts, tag(after), _pack(after), start is not live)


def _pack(state: bytes) -> bytes:
    return zlib.compress(state, 1)
