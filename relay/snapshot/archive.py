"""Blocks: journal entries as the archive keeps them, many to a row.

    block   = 0x00 body | 0x01 zlib(body)
    body    = names  count entry*  updates
    names   = count (length UTF-8)*             nodes and actors, each once
    entry   = epoch ms seq node count (actor length)*
    updates = the updates' bytes, in the order of the entries

Numbers are little-endian base 128. `epoch`, `ms` and `seq` count from the entry before (at first from 0) as far as
everything left of them is equal, else from 0; `node` and `actor` index the names; `length` is in bytes. Updates stand
apart from what describes them because like compresses better next to like.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from relay.journal import Entry
from relay.types import Actor, Edit, NodeId, Position

__all__ = ["Block", "pack", "unpack"]

BLOCK_BYTES = 1 << 20
BLOCK_ENTRIES = 1024


class Block(NamedTuple):
    """Consecutive entries: the positions of the first and the last one, how many, and their bytes."""

    first: Position
    last: Position
    entries: int
    data: bytes


def pack(entries: Sequence[Entry]) -> list[Block]:
    """Entries in order of position, in blocks of at most 1,024 entries and (but for the last one) 1 MiB of updates."""
    return [Block(part[0].position, part[-1].position, len(part), _encode(part)) for part in _parts(entries)]


def unpack(data: bytes) -> list[Entry]:
    """The entries of one block. Raises ValueError for bytes that `pack` did not make."""
    try:
        body = zlib.decompress(memoryview(data)[1:]) if data[0] else data[1:]
        return list(_decode(body))
    except (IndexError, zlib.error) as error:
        raise ValueError("not an archive block") from error


def _parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        part.append(entry)
        size += sum(len(edit.update) for edit in entry.edits)
        if size >= BLOCK_BYTES or len(part) == BLOCK_ENTRIES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _encode(entries: Sequence[Entry]) -> bytes:
    names: dict[str, int] = {}
    head = bytearray()
    epoch = ms = seq = 0
    for position, node, edits in entries:
        if position.epoch != epoch:
            ms = seq = 0
        _write(head, position.epoch - epoch)
        if position.ms != ms:
            seq = 0
        _write(head, position.ms - ms)
        _write(head, position.seq - seq)
        epoch, ms, seq = position
        _write(head, names.setdefault(node, len(names)))
        _write(head, len(edits))
        for actor, update in edits:
            _write(head, names.setdefault(actor, len(names)))
            _write(head, len(update))
    body = bytearray()
    _write(body, len(names))
    for name in names:
        text = name.encode()
        _write(body, len(text))
        body += text
    _write(body, len(entries))
    body += head
    body += b"".join(edit.update for entry in entries for edit in entry.edits)
    packed = zlib.compress(body, 6)
    return b"\x01" + packed if len(packed) < len(body) else b"\x00" + bytes(body)


def _decode(body: bytes) -> Iterator[Entry]:
    names: list[str] = []
    count, at = _read(body, 0)
    for _ in range(count):
        length, at = _read(body, at)
        names.append(body[at : at + length].decode())
        at += length
    count, at = _read(body, at)
    heads: list[tuple[Position, str, list[tuple[str, int]]]] = []
    epoch = ms = seq = 0
    for _ in range(count):
        step, at = _read(body, at)
        if step:
            epoch, ms, seq = epoch + step, 0, 0
        step, at = _read(body, at)
        if step:
            ms, seq = ms + step, 0
        step, at = _read(body, at)
        seq += step
        node, at = _read(body, at)
        edits, at = _read(body, at)
        sizes = []
        for _ in range(edits):
            actor, at = _read(body, at)
            size, at = _read(body, at)
            sizes.append((names[actor], size))
        heads.append((Position(epoch, ms, seq), names[node], sizes))
    if at + sum(size for head in heads for _, size in head[2]) != len(body):
        raise ValueError("not an archive block: its updates are cut")
    for position, name, sizes in heads:
        found = []
        for actor_name, size in sizes:
            found.append(Edit(Actor(actor_name), body[at : at + size]))
            at += size
        yield Entry(position, NodeId(name), tuple(found))


def _write(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _read(body: bytes, at: int) -> tuple[int, int]:
    byte = body[at]
    at += 1
    if byte < 0x80:
        return byte, at
    number, shift = byte & 0x7F, 7
    while True:
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
