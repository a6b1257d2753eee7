"""One update from several, by moving the bytes of whole structs.

Per client the structs come out by clock: what two updates both hold once, a struct that is partly there already cut to
its rest (a section never goes backward), a gap as a Skip. Sections and delete sets run from the greatest client to the
least, as Yjs writes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from relay.yjs.item import cuts
from relay.yjs.lib0 import write_client, write_uint
from relay.yjs.ranges import Ranges
from relay.yjs.update import EMPTY, Layout

__all__ = ["Piece", "disjoint", "join", "merge", "parts", "write_deletes"]

Deletes = Mapping[int, list[tuple[int, int]]]
Piece = tuple[int, int, bytes, int, int]
"""Clock, length, and the bytes [start, end) of an update: a struct."""


def merge(layouts: Sequence[Layout]) -> bytes:
    """All that `layouts` hold, as one update. The update itself when there is one, and it is plain."""
    if len(layouts) == 1 and layouts[0].plain:
        return layouts[0].update
    sections: dict[int, list[int]] = {}
    slices: dict[int, list[bytes]] = {}
    rough: set[int] = set()
    deleting: list[Deletes] = []
    for layout in layouts:
        update = layout.update
        for client, structs in layout.structs.items():
            section = sections.get(client)
            for clock, length, start, end in structs:
                if section is None:
                    # First clock, next clock, structs.
                    section = sections[client] = [clock, clock + length, 1]
                    slices[client] = [update[start:end]]
                elif clock == section[1]:
                    section[1] = clock + length
                    section[2] += 1
                    slices[client].append(update[start:end])
                else:
                    rough.add(client)
                    break
        if layout.deletes:
            deleting.append(layout.deletes)
    for client in rough:
        pieces = [
            (clock, length, layout.update, start, end)
            for layout in layouts
            for clock, length, start, end in layout.structs.get(client, ())
        ]
        sections[client], slices[client] = _fit(disjoint(client, pieces))
    if not sections and not deleting:
        return EMPTY
    return _write(sections, slices, write_deletes(deleting) if deleting else b"\0")


def join(pieces: Mapping[int, list[Piece]], deletes: bytes) -> bytes:
    """An update of each client's disjoint pieces, in any order, and of an encoded delete set."""
    sections: dict[int, list[int]] = {}
    slices: dict[int, list[bytes]] = {}
    for client, found in pieces.items():
        if found:
            sections[client], slices[client] = _fit(sorted(found, key=itemgetter(0)))
    return _write(sections, slices, deletes)


def _write(sections: Mapping[int, Sequence[int]], slices: Mapping[int, Sequence[bytes]], deletes: bytes) -> bytes:
    out = [write_uint(len(sections))]
    for client in sorted(sections, reverse=True) if len(sections) > 1 else sections:
        first, _, count = sections[client]
        out += (write_uint(count), write_client(client), write_uint(first))
        out += slices[client]
    out.append(deletes)
    return b"".join(out)


def disjoint(client: int, pieces: Iterable[Piece]) -> list[Piece]:
    """`pieces` by clock, without overlap. Of two that claim a clock the earlier one has it, as in every replica."""
    out: list[Piece] = []
    taken = Ranges()
    top = 0
    ascending = True
    for piece in pieces:
        clock, length, *_ = piece
        if clock >= top:
            out.append(piece)
            taken.add(clock, length)
            top = clock + length
            continue
        if missing := taken.missing(clock, length):
            ascending = False
            out += parts(client, piece, missing)
            taken.add(clock, length)
            top = max(top, clock + length)
    if not ascending:
        out.sort(key=itemgetter(0))
    return out


def parts(client: int, piece: Piece, ranges: Sequence[tuple[int, int]]) -> list[Piece]:
    """Of `piece` the (clock, length) `ranges`, which ascend and don't touch."""
    clock, length, data, start, end = piece
    if ranges[0] == (clock, length):
        return [piece]
    structs = cuts(data, start, end, client, clock, ranges)
    return [(fro, size, struct, 0, len(struct)) for (fro, size), struct in zip(ranges, structs)]


def _fit(pieces: list[Piece]) -> tuple[list[int], list[bytes]]:
    """A section (first clock, next clock, structs) and its structs, from disjoint pieces by clock."""
    first = at = pieces[0][0]
    out: list[bytes] = []
    for clock, length, data, start, end in pieces:
        if clock > at:
            out.append(b"\x0a" + write_uint(clock - at))
        out.append(data[start:end])
        at = clock + length
    return [first, at, len(out)], out


def write_deletes(sets: Iterable[Deletes]) -> bytes:
    """Delete sets as one."""
    clients: dict[int, list[tuple[int, int]]] = {}
    for deletes in sets:
        for client, ranges in deletes.items():
            found = clients.get(client)
            if found is None:
                clients[client] = ranges
            else:
                clients[client] = found + ranges
    out = [write_uint(len(clients))]
    for client in sorted(clients, reverse=True):
        joined: list[tuple[int, int]] = []
        last_end = -1
        for clock, length in sorted(clients[client]):
            end = clock + length
            if clock > last_end:
                joined.append((clock, length))
                last_end = end
            elif end > last_end:
                begin = joined[-1][0]
                joined[-1] = (begin, end - begin)
                last_end = end
        out += (write_client(client), write_uint(len(joined)))
        for clock, length in joined:
            out += (write_uint(clock), write_uint(length))
    return b"".join(out)
