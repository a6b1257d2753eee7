"""Many small updates into few: for a reader that was away, or a joiner that gets the tail."""

from collections.abc import Sequence

from relay.yjs.merge import merge
from relay.yjs.update import TooManyStructs, parse

__all__ = ["gather"]

STRUCTS = 2000
"""What is merged on the loop at most: about 3 ms."""


def gather(updates: Sequence[bytes]) -> list[bytes]:
    """The same edits in the same order of dependence, in as few updates as can be made without holding up the loop."""
    out: list[bytes] = []
    layouts = []
    left = STRUCTS
    for update in updates:
        try:
            layout = parse(update, left) if left else None
        except TooManyStructs:
            layout = None
        if layout is not None:
            left -= layout.count
            layouts.append(layout)
            continue
        if layouts:
            out.append(merge(layouts) if len(layouts) > 1 else layouts[0].update)
            layouts = []
        out.append(update)
    if layouts:
        out.append(merge(layouts) if len(layouts) > 1 else layouts[0].update)
    return out
