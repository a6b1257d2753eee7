"""Many small updates into few: for a reader that was away, or a joiner that gets the tail."""

from collections.abc import Sequence

from relay.yjs.merge import merge
from relay.yjs.update import TooManyStructs, parse

__all__ = ["gather"]

STRUCTS = 2000
BYTES = 262144
"""What is merged on the loop at most: about 3 ms."""
LARGE = 16384
"""Bytes of an update that is not looked into: few structs may hold very much."""


def gather(updates: Sequence[bytes]) -> list[bytes]:
    """The same edits in the same order of dependence, in as few updates as can be made without holding up the loop."""
    out: list[bytes] = []
    layouts = []
    left, bytes_left = STRUCTS, BYTES
    for update in updates:
        try:
            layout = parse(update, left) if left and len(update) <= min(LARGE, bytes_left) else None
        except TooManyStructs:
            layout = None
        if layout is not None:
            left -= layout.count
            bytes_left -= len(update)
            layouts.append(layout)
            continue
        if layouts:
            out.append(merge(layouts) if len(layouts) > 1 else layouts[0].update)
            layouts = []
        out.append(update)
    if layouts:
        out.append(merge(layouts) if len(layouts) > 1 else layouts[0].update)
    return out
