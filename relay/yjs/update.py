"""The layout of a Yjs v1 update: which structs and deletes it holds, and where their bytes are.

Reading the layout is the validation: an update that passes is one that every Yjs client can decode. That includes what
Yjs itself only finds out by throwing in each receiver: strings that are not UTF-8 (lib0 decodes fatally; it writes a
lone surrogate as U+FFFD, so no client sends one), embeds and formats that are not JSON, unknown types, and references
to a struct of the same client that does not exist yet. Contents stay opaque slices.

    update    = varUint sections, section*, deletes
    section   = varUint structs, varUint client, varUint clock, struct*
    struct    = info byte (0 GC, 10 Skip: varUint length; else an item of content type `info & 31`)
    item      = [0x80: origin id] [0x40: right origin id] [neither: parent, and with 0x20 its key] content
    deletes   = varUint clients, (varUint client, varUint ranges, (varUint clock, varUint length)*)*

Source: yjs 13 `src/utils/encoding.js`, `src/utils/updates.js`, `src/structs`.
"""

import json
import re
from functools import lru_cache
from typing import NoReturn

from relay.errors import Malformed
from relay.yjs.lib0 import MAX_UINT, read_uint, skip_any

__all__ = ["EMPTY", "Layout", "Struct", "TooManyStructs", "parse"]

EMPTY = b"\0\0"
"""The update that holds nothing."""

Struct = tuple[int, int, int, int]
"""Clock, length, and the byte range [start, end) in the update, of a GC or item."""


class TooManyStructs(Exception):
    """The update holds more structs than the caller wants to read here; says nothing about its validity."""


class Layout:
    """What an update holds.

    update: the bytes, as received.
    structs: per client the structs with at least one clock, in the update's order; Skips are left out.
    deletes: per client the (clock, length) ranges, in the update's order; empty ranges are left out.
    deletes_at: where the delete set begins in `update`.
    count: structs in the update, Skips and empty ones included.
    plain: Yjs reads in it what the layout says. Of several sections of a client it reads only the last, and structs
        or deletes without a clock confuse it: forward such an update as `relay.yjs.merge.merge` rewrites it.
    """

    __slots__ = ("count", "deletes", "deletes_at", "plain", "structs", "update")

    def __init__(
        self,
        update: bytes,
        structs: dict[int, list[Struct]],
        deletes: dict[int, list[tuple[int, int]]],
        deletes_at: int,
        count: int,
        plain: bool,
    ) -> None:
        self.update = update
        self.structs = structs
        self.deletes = deletes
        self.deletes_at = deletes_at
        self.count = count
        self.plain = plain

    def __repr__(self) -> str:
        return f"Layout({len(self.update)} bytes, {self.count} structs, {len(self.structs)} clients)"


# As lib0 writes a number: in as few bytes as it takes, here up to seven (2**49 - 1).
VAR = rb"([\x80-\xff]{1,6}[\x01-\x7f]|[\0-\x7f])"
# One client, one struct, after an origin, with or without a right origin, and no deletes: a keystroke.
KEYSTROKE = re.compile(
    rb"\x01\x01" + VAR + VAR + rb"(?:\x84" + VAR + VAR + rb"|\xc4" + 4 * VAR + rb")([\x01-\x7f])(.{1,127})\0", re.DOTALL
)


def _no_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, which are not JSON.
    raise ValueError(name)


JSON = json.JSONDecoder(parse_int=float, parse_constant=_no_constant)
JSON_WORDS = frozenset((b"null", b"true", b"false", b'""', b"{}"))
JSON_WORDS_AND_UNDEFINED = JSON_WORDS | {b"undefined"}


def parse(update: bytes, limit: int | None = None) -> Layout:
    """The layout of `update`, completely checked.

    Raises Malformed, or TooManyStructs as soon as more than `limit` structs (or as many values in one of them, or
    delete ranges) are announced.
    """
    if (match := KEYSTROKE.fullmatch(update)) is not None:
        client, raw, left, left_clock, left2, left_clock2, right, right_clock, size, text = match.groups()
        length = size[0]
        if len(text) == length:
            end = len(update) - 1
            at = end - length
            if not text.isascii():
                try:
                    length = len(text.decode().encode("utf-16-le")) >> 1
                except UnicodeDecodeError:
                    raise Malformed(f"text at {at} is not UTF-8") from None
            width = len(raw)
            clock = raw[0] if width == 1 else raw[0] & 127 | raw[1] << 7 if width == 2 else _uint(raw)
            if left is None:
                left, left_clock = left2, left_clock2
                if right == client and _uint(right_clock) >= clock:
                    _ahead(at)
            if left == client and _uint(left_clock) >= clock:
                _ahead(at)
            start = 2 + len(client) + width
            return Layout(update, {_client(client): [(clock, length, start, end)]}, {}, end, 1, True)
    try:
        return _parse(update, limit)
    except IndexError:
        raise Malformed(f"update cut off at {len(update)}") from None
    except UnicodeDecodeError:
        raise Malformed("update with a string that is not UTF-8") from None


def _parse(data: bytes, limit: int | None) -> Layout:
    size = len(data)
    if limit is None:
        limit = size
    structs: dict[int, list[Struct]] = {}
    total = 0
    plain = True
    sections, at = read_uint(data, 0)
    if sections > size:
        _short(sections, at, size)
    for _ in range(sections):
        count, at = read_uint(data, at)
        if count > size - at:
            _short(count, at, size)
        total += count
        if total > limit:
            raise TooManyStructs(f"more than {limit} structs")
        client, at = read_uint(data, at)
        clock, at = read_uint(data, at)
        found = structs.get(client)
        if found is None:
            found = structs[client] = []
        else:
            plain = False
        append = found.append
        for _ in range(count):
            start = at
            info = data[at]
            at += 1
            ref = info & 31
            if info & 0x80:
                other = data[at]
                if other < 128:
                    at += 1
                else:
                    other, at = read_uint(data, at)
                place = data[at]
                if place < 128:
                    at += 1
                else:
                    place, at = read_uint(data, at)
                if other == client and place >= clock:
                    _ahead(start)
            if info & 0x40:
                other = data[at]
                if other < 128:
                    at += 1
                else:
                    other, at = read_uint(data, at)
                place = data[at]
                if place < 128:
                    at += 1
                else:
                    place, at = read_uint(data, at)
                if other == client and place >= clock:
                    _ahead(start)
            elif not info & 0x80 and ref and ref != 10:
                named, at = read_uint(data, at)
                if named == 1:
                    at = _skip_text(data, at)
                else:
                    # lib0 takes any number but 1 for "an id follows".
                    other, at = read_uint(data, at)
                    place, at = read_uint(data, at)
                    if other == client and place >= clock:
                        _ahead(start)
                if info & 0x20:
                    at = _skip_text(data, at)
            length = 1
            if ref == 4:
                length = data[at]
                if length < 128:
                    at += 1
                else:
                    length, at = read_uint(data, at)
                end = at + length
                text = data[at:end]
                if not text.isascii():
                    length = len(text.decode().encode("utf-16-le")) >> 1
                at = end
            elif ref == 1:
                length, at = read_uint(data, at)
            elif ref == 8:
                length, at = read_uint(data, at)
                if length > size - at:
                    _short(length, at, size)
                if length > limit:
                    raise TooManyStructs(f"more than {limit} values")
                for _ in range(length):
                    at = skip_any(data, at)
            elif ref == 6:
                at = _skip_text(data, at)
                at = _skip_json(data, at)
            elif ref == 7:
                kind, at = read_uint(data, at)
                if kind == 3 or kind == 5:
                    at = _skip_text(data, at)
                elif kind > 6:
                    raise Malformed(f"unknown type {kind} at {start}")
            elif ref == 0:
                if info:
                    raise Malformed(f"flags on a GC at {start}")
                length, at = read_uint(data, at)
            elif ref == 10:
                if info != 10:
                    raise Malformed(f"flags on a Skip at {start}")
                length, at = read_uint(data, at)
                clock += length
                continue
            elif ref == 5:
                at = _skip_json(data, at)
            elif ref == 3:
                length, at = read_uint(data, at)
                at += length
                length = 1
            elif ref == 2:
                length, at = read_uint(data, at)
                if length > size - at:
                    _short(length, at, size)
                for _ in range(length):
                    at = _skip_json(data, at, JSON_WORDS_AND_UNDEFINED)
            elif ref == 9:
                at = _skip_text(data, at)
                # Yjs reads the options' fields: of null and undefined that throws.
                if data[at] == 126 or data[at] == 127:
                    raise Malformed(f"subdocument without options at {start}")
                at = skip_any(data, at)
            else:
                raise Malformed(f"unknown content {ref} at {start}")
            if at > size:
                raise Malformed(f"struct at {start} cut off")
            if length:
                append((clock, length, start, at))
                clock += length
            else:
                plain = False
        if clock > MAX_UINT:
            _beyond(at)
    deletes_at = at
    deletes: dict[int, list[tuple[int, int]]] = {}
    if size == at + 1 and not data[at]:
        return Layout(data, structs, deletes, at, total, plain)
    at, filled = _parse_deletes(data, at, limit, deletes)
    if at != size:
        raise Malformed(f"{size - at} bytes after the update")
    return Layout(data, structs, deletes, deletes_at, total, plain and filled)


def _parse_deletes(data: bytes, at: int, limit: int, deletes: dict[int, list[tuple[int, int]]]) -> tuple[int, bool]:
    """Fills `deletes`; the offset after the delete set, and whether no range was empty."""
    size = len(data)
    filled = True
    clients, at = read_uint(data, at)
    if clients > size:
        _short(clients, at, size)
    for _ in range(clients):
        client, at = read_uint(data, at)
        count, at = read_uint(data, at)
        if count * 2 > size - at:
            _short(count, at, size)
        limit -= count
        if limit < 0:
            raise TooManyStructs("too many delete ranges")
        ranges = []
        for _ in range(count):
            clock = data[at]
            if clock < 128:
                at += 1
            else:
                clock, at = read_uint(data, at)
            length = data[at]
            if length < 128:
                at += 1
            else:
                length, at = read_uint(data, at)
            if clock + length > MAX_UINT:
                _beyond(at)
            if length:
                ranges.append((clock, length))
            else:
                filled = False
        if ranges:
            if client in deletes:
                deletes[client] += ranges
            else:
                deletes[client] = ranges
    return at, filled


def _skip_text(data: bytes, at: int) -> int:
    size, at = read_uint(data, at)
    end = at + size
    text = data[at:end]
    if not text.isascii():
        text.decode()
    return end


def _skip_json(data: bytes, at: int, words: frozenset[bytes] = JSON_WORDS) -> int:
    size, at = read_uint(data, at)
    end = at + size
    if end > len(data):
        raise Malformed(f"JSON at {at} cut off")
    text = data[at:end]
    if text not in words:
        try:
            JSON.decode(text.decode())
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError):
            raise Malformed(f"no JSON at {at}") from None
    return end


@lru_cache(maxsize=8192)
def _client(raw: bytes) -> int:
    return read_uint(raw, 0)[0]


def _uint(raw: bytes) -> int:
    if len(raw) == 1:
        return raw[0]
    if len(raw) == 2:
        return raw[0] & 127 | raw[1] << 7
    return read_uint(raw, 0)[0]


def _short(count: int, at: int, size: int) -> NoReturn:
    raise Malformed(f"{count} entries announced at {at}, {size - at} bytes left")


def _ahead(at: int) -> NoReturn:
    raise Malformed(f"struct at {at} refers to its own client's future")


def _beyond(at: int) -> NoReturn:
    raise Malformed(f"clock beyond 2**53 before {at}")
