"""One update from several, by moving the bytes of whole structs.

Per client the structs come out by clock: what two updates both hold once, a struct that is partly there already cut to
its rest (a section never goes backward), a gap as a Skip. Sections and delete sets run from the greatest client to the
least, as Yjs writes them.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter

from relay.yjs.item import cut
from relay.yjs.lib0 import write_client, write_uint
from relay.yjs.ranges import Ranges
from relay.yjs.update import EMPTY, Layout

__all__ = ["Piece", "disjoint", "merge", "write_deletes"]

Piece = tuple[int, int, bytes, int, int]
"""Clock, length, and the bytes [start, end) of an update: a struct."""


def merge(layouts: Sequence[Layout]) -> bytes:
    """All that `layouts` hold, as one update. The update itself when there is one, and it is plain."""
    if len(layouts) == 1 and layouts[0].plain:
        return layouts[0].update
    sections: dict[int, list[int]] = {}
    slices: dict[int, list[bytes]] = {}
    rough: set[int] = set()
    deleting: list[Layout] = []
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
            deleting.append(layout)
    for client in rough:
        pieces = [
            (clock, length, layout.update, start, end)
            for layout in layouts
            for clock, length, start, end in layout.structs.get(client, ())
        ]
        sections[client], slices[client] = _fit(disjoint(client, pieces))
    if not sections and not deleting:
        return EMPTY
    out = [write_uint(len(sections))]
    for client in sorted(sections, reverse=True) if len(sections) > 1 else sections:
        first, _, count = sections[client]
        out += (write_uint(count), write_client(client), write_uint(first))
        out += slices[client]
    out.append(write_deletes(deleting) if deleting else b"\0")
    return b"".join(out)


def disjoint(client: int, pieces: Iterable[Piece]) -> list[Piece]:
    """`pieces` by clock, without overlap. Of two that claim a clock the earlier one has it, as in every replica."""
    out: list[Piece] = []
    taken = Ranges()
    top = 0
    ascending = True
    for piece in pieces:
        clock, length, data, start, end = piece
        if clock >= top:
            out.append(piece)
            taken.add(clock, length)
            top = clock + length
            continue
        for fro, size in taken.missing(clock, length):
            ascending = False
            if size == length:
                out.append(piece)
            else:
                part = cut(data, start, end, client, clock, fro - clock, size)
                out.append((fro, size, part, 0, len(part)))
            taken.add(fro, size)
            top = max(top, fro + size)
    if not ascending:
        out.sort(key=itemgetter(0))
    return out


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


def write_deletes(layouts: Iterable[Layout]) -> bytes:
    """The delete sets of `layouts` as one."""
    clients: dict[int, list[tuple[int, int]]] = {}
    for layout in layouts:
        for client, ranges in layout.deletes.items():
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
