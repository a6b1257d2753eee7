"""What one update holds past a state vector."""

from collections.abc import Mapping

from relay.yjs.item import cut
from relay.yjs.lib0 import write_client, write_uint
from relay.yjs.merge import merge
from relay.yjs.update import Layout, parse

__all__ = ["diff"]


def diff(update: bytes, vector: Mapping[int, int]) -> bytes:
    """The structs of `update` past `vector`, the one across the boundary cut to its rest, and all its deletes.

    The state vector says nothing of deletes, so a reader may lack any of them. Costs a whole parse of `update`.
    Raises Malformed.
    """
    layout = parse(update)
    if not layout.plain:
        layout = parse(merge((layout,)))
    out: list[bytes] = []
    sections = 0
    for client in sorted(layout.structs, reverse=True):
        section, count, first = _section(layout, client, vector.get(client, 0))
        if count:
            sections += 1
            out += (write_uint(count), write_client(client), write_uint(first))
            out += section
    return write_uint(sections) + b"".join(out) + layout.update[layout.deletes_at :]


def _section(layout: Layout, client: int, have: int) -> tuple[list[bytes], int, int]:
    """The slices, structs and first clock of what a client's structs hold from clock `have` on."""
    out: list[bytes] = []
    first = at = -1
    count = 0
    data = layout.update
    structs = layout.structs[client]
    index = 0
    while index < len(structs):
        clock, length, start, end = structs[index]
        index += 1
        if clock + length <= have:
            continue
        if at < 0:
            first = at = max(clock, have)
        if clock > at:
            out.append(b"\x0a" + write_uint(clock - at))
            count += 1
        if clock < have:
            out.append(cut(data, start, end, client, clock, have - clock, clock + length - have))
        else:
            # Neighbours in the update move together.
            while index < len(structs) and structs[index][2] == end and structs[index][0] == clock + length:
                clock, length, _, end = structs[index]
                index += 1
                count += 1
            out.append(data[start:end])
        count += 1
        at = clock + length
    return out, count, first
