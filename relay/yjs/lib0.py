"""lib0's encoding: variable-length integers, length-prefixed bytes, and the self-describing "any" values.

Source: lib0 `encoding.js`, `decoding.js`. Positions are byte offsets. Readers raise `Malformed`, never another error.
"""

from functools import lru_cache

from relay.errors import Malformed

__all__ = ["MAX_DEPTH", "MAX_UINT", "read_bytes", "read_uint", "skip_any", "write_bytes", "write_client", "write_uint"]

MAX_UINT = 2**53 - 1
"""JavaScript's largest safe integer: lib0 reads no greater one."""

MAX_DEPTH = 512
"""Nesting of arrays and objects inside one value. lib0 and yrs recurse: deeper values could overflow their stack."""

SMALL = tuple(bytes((n,)) for n in range(128))


def read_uint(data: bytes, at: int) -> tuple[int, int]:
    """The varUint at `at` and the offset after it."""
    try:
        byte = data[at]
        if byte < 128:
            return byte, at + 1
        value = byte & 127
        for shift in range(7, 56, 7):
            at += 1
            byte = data[at]
            if byte < 128:
                value |= byte << shift
                if value > MAX_UINT:
                    break
                return value, at + 1
            value |= (byte & 127) << shift
    except IndexError:
        raise Malformed(f"varUint cut off at {at}") from None
    raise Malformed(f"varUint out of range at {at}")


def write_uint(value: int) -> bytes:
    """`value` (0 .. 2**53 - 1) as a varUint."""
    if value < 128:
        return SMALL[value]
    if value < 16384:
        return bytes((value & 127 | 128, value >> 7))
    if value < 2097152:
        return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


write_client = lru_cache(maxsize=8192)(write_uint)
"""`write_uint` for client ids: few, repeated, and five bytes long."""


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """The length-prefixed bytes at `at` and the offset after them."""
    size, at = read_uint(data, at)
    end = at + size
    if end > len(data):
        raise Malformed(f"{size} bytes announced at {at}, {len(data) - at} left")
    return data[at:end], end


def write_bytes(value: bytes) -> bytes:
    """`value` with its length before it."""
    return write_uint(len(value)) + value


def skip_any(data: bytes, at: int) -> int:
    """The offset after the "any" value at `at`. Checks all that lib0 would refuse, without recursion."""
    try:
        return _skip_any(data, at)
    except IndexError:
        raise Malformed(f"value cut off at {len(data)}") from None
    except UnicodeDecodeError:
        raise Malformed(f"value with a string that is not UTF-8 at {at}") from None


def _skip_any(data: bytes, at: int) -> int:
    size = len(data)
    outer: list[tuple[int, bool]] = []
    left, keyed = 1, False
    while True:
        if not left:
            if not outer:
                return at
            left, keyed = outer.pop()
            continue
        left -= 1
        if keyed:
            at = _skip_string(data, at)
        tag = data[at]
        at += 1
        if tag == 119:
            at = _skip_string(data, at)
        elif tag == 125:
            end = at + 8
            while data[at] > 127:
                at += 1
                if at == end:
                    raise Malformed(f"varInt out of range at {at}")
            at += 1
        elif 120 <= tag <= 127 and tag not in (122, 123, 124):
            pass
        elif tag == 123 or tag == 122:
            at += 8
        elif tag == 124:
            at += 4
        elif tag == 118 or tag == 117:
            count, at = read_uint(data, at)
            if count > size - at:
                raise Malformed(f"{count} values announced at {at}, {size - at} bytes left")
            if len(outer) >= MAX_DEPTH:
                raise Malformed(f"value nested deeper than {MAX_DEPTH} at {at}")
            outer.append((left, keyed))
            left, keyed = count, tag == 118
        elif tag == 116:
            count, at = read_uint(data, at)
            at += count
        else:
            raise Malformed(f"unknown value type {tag} at {at - 1}")
        if at > size:
            raise Malformed(f"value cut off at {size}")


def _skip_string(data: bytes, at: int) -> int:
    count = data[at]
    if count < 128:
        at += 1
    else:
        count, at = read_uint(data, at)
    end = at + count
    if end > len(data):
        raise Malformed(f"string of {count} bytes at {at}, {len(data) - at} left")
    text = data[at:end]
    if not text.isascii():
        text.decode()
    return end
