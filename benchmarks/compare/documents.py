"""Documents to open: a long one as one person types it, and one that thousands have written in; as Yjs updates."""

import random

from benchmarks._document import document as by_many
from benchmarks.compare.updates import uint

__all__ = ["PAPER", "by_many", "typed"]

PAPER = 259_778
"""Keystrokes of the paper in the B4 benchmark of crdt-benchmarks."""
STAY = 20
"""Keystrokes before the cursor goes elsewhere."""
DELETIONS = 0.3
"""Share of those stays that delete instead; the paper has as many, and takes as many bytes."""


def typed(keystrokes: int = PAPER, client: int = 1000, seed: int = 4) -> tuple[bytes, str]:
    """One update with all the typing and deleting of `client` in the root text "text", and the text at the end."""
    draw = random.Random(seed)
    left: list[int] = []  # of each character: what it was typed behind (-1: nothing), and before
    right: list[int] = []
    follows: list[int] = []  # the document's order, deleted ones included
    precedes: list[int] = []
    letters: list[str] = []
    gone = bytearray(keystrokes)
    first = cursor = -1
    deletes = False
    for key in range(keystrokes):
        if key % STAY == 0 and letters:
            cursor = draw.randrange(len(letters))
            deletes = draw.random() < DELETIONS
        while cursor >= 0 and gone[cursor]:
            cursor = precedes[cursor]
        if cursor >= 0 and deletes:
            gone[cursor] = 1
            continue
        new = len(letters)
        letters.append("abcdefghijklmnopqrstuvwxyz "[draw.randrange(27)])
        after = follows[cursor] if cursor >= 0 else first
        left.append(cursor)
        right.append(after)
        precedes.append(cursor)
        follows.append(after)
        if cursor >= 0:
            follows[cursor] = new
        else:
            first = new
        if after >= 0:
            precedes[after] = new
        cursor = new
    return _encoded(client, left, right, letters, gone), _text(first, follows, letters, gone)


def _encoded(client: int, left: list[int], right: list[int], letters: list[str], gone: bytearray) -> bytes:
    structs: list[bytes] = []
    deleted: list[tuple[int, int]] = []
    who = uint(client)
    at = 0
    while at < len(letters):
        end = at + 1
        while end < len(letters) and left[end] == end - 1 and right[end] == right[at] and gone[end] == gone[at]:
            end += 1
        info = (1 if gone[at] else 4) | (0x80 if left[at] >= 0 else 0) | (0x40 if right[at] >= 0 else 0)
        origin = who + uint(left[at]) if left[at] >= 0 else b""
        origin += who + uint(right[at]) if right[at] >= 0 else b""
        content = uint(end - at) + (b"" if gone[at] else "".join(letters[at:end]).encode())
        structs.append(bytes((info,)) + (origin or b"\1\4text") + content)
        if gone[at]:
            if deleted and sum(deleted[-1]) == at:
                deleted[-1] = (deleted[-1][0], end - deleted[-1][0])
            else:
                deleted.append((at, end - at))
        at = end
    holes = b"".join(uint(clock) + uint(length) for clock, length in deleted)
    return (
        b"\1"
        + uint(len(structs))
        + who
        + b"\0"
        + b"".join(structs)
        + (b"\1" + who + uint(len(deleted)) + holes if deleted else b"\0")
    )


def _text(at: int, follows: list[int], letters: list[str], gone: bytearray) -> str:
    out = []
    while at >= 0:
        if not gone[at]:
            out.append(letters[at])
        at = follows[at]
    return "".join(out)
