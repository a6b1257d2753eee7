"""Yjs v1 updates: those that the writers send, and which characters are in those that come back.

Written apart from the relay's own codec, so that the instrument does not share its mistakes.
"""

__all__ = ["FIRST", "LINE", "Ranges", "Unreadable", "changes_in", "keystroke", "ranges_in", "states_in", "uint"]

Ranges = list[tuple[int, int, int]]
"""(client, first clock, clock behind the last)."""

FIRST = 0xB0000000
"""Client id of a room's first writer; the others follow."""
LINE = 40
"""Characters after which a writer jumps back behind its first one, so that no run grows endlessly."""


class Unreadable(ValueError):
    """Bytes that are no update, or not one that these writers' typing can turn into."""


def uint(value: int) -> bytes:
    """A lib0 varUint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def keystroke(client: int, clock: int, length: int = 1) -> bytes:
    """The update by which `client` types its next `length` letters into the root text "t"; `clock`: how many it has.

    They go behind its last ones; every LINE of them, behind its very first.
    """
    turn = clock // length
    head = b"\1\1" + uint(client) + uint(clock)
    text = uint(length) + b"x" * length + b"\0"
    if turn == 0:
        return head + b"\x04\1\1t" + text
    jumps = (turn - 1) // LINE
    line = jumps * LINE + 1  # the turn that began the line this one is in
    behind = length - 1 if turn == line else clock - 1
    if jumps == 0:
        return head + b"\x84" + uint(client) + uint(behind) + text
    before = ((jumps - 1) * LINE + 1) * length  # the line before this one is to its right
    return head + b"\xc4" + uint(client) + uint(behind) + uint(client) + uint(before) + text


def ranges_in(update: bytes) -> Ranges:
    """What it brings; what touches is one range. Raises Unreadable."""
    return changes_in(update)[0]


def changes_in(update: bytes) -> tuple[Ranges, Ranges]:
    """What it brings, and what it deletes; what touches is one range. Raises Unreadable."""
    found: Ranges = []
    deleted: Ranges = []
    at = 0

    def read() -> int:
        nonlocal at
        value = update[at]
        at += 1
        if value < 128:
            return value
        value &= 127
        shift = 7
        while True:
            byte = update[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    try:
        for _ in range(read()):
            structs, client, clock = read(), read(), read()
            start = clock
            for _ in range(structs):
                info = update[at]
                at += 1
                kind = info & 31
                if kind == 10:  # Skip: a hole
                    if clock > start:
                        found.append((client, start, clock))
                    clock += read()
                    start = clock
                    continue
                if kind == 0:  # GC
                    clock += read()
                    continue
                if info & 0x80:
                    read(), read()
                if info & 0x40:
                    read(), read()
                if not info & 0xC0:
                    if read() == 1:
                        size = read()  # moves `at`
                        at += size
                    else:
                        read(), read()
                if kind == 1:  # Deleted
                    clock += read()
                elif kind == 4:  # String; the writers' letters are one byte each
                    size = read()
                    at += size
                    clock += size
                else:
                    raise Unreadable(f"content {kind} at {at}")
            if clock > start:
                found.append((client, start, clock))
        for _ in range(read()):
            client, count = read(), read()
            for _ in range(count):
                clock = read()
                end = clock + read()
                if deleted and deleted[-1][0] == client and deleted[-1][2] == clock:
                    clock = deleted.pop()[1]
                deleted.append((client, clock, end))
    except IndexError:
        raise Unreadable("cut short") from None
    if at > len(update):
        raise Unreadable("cut short")
    return found, deleted


def states_in(awareness: bytes) -> list[tuple[int, int]]:
    """(client, clock) of the states in an awareness update. Raises Unreadable."""
    found: list[tuple[int, int]] = []
    at = 0

    def read() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = awareness[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    try:
        for _ in range(read()):
            client, clock = read(), read()
            size = read()  # moves `at`
            at += size
            found.append((client, clock))
    except IndexError:
        raise Unreadable("cut short") from None
    if at > len(awareness):
        raise Unreadable("cut short")
    return found
