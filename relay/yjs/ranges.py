"""Sets of clocks as sorted, disjoint [start, end) ranges, sixteen bytes each."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping

from relay.errors import Malformed
from relay.yjs.lib0 import MAX_UINT, read_uint, write_client, write_uint

__all__ = ["Ranges", "decode_ranges", "encode_ranges"]


class Ranges:
    """A set of integers 0 .. 2**53 - 1. Ranges that touch are one."""

    __slots__ = ("ends", "starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """From (start, length) pairs in any order."""
        self.starts = array("Q")
        self.ends = array("Q")
        for start, length in sorted(ranges):
            self.add(start, length)

    def add(self, start: int, length: int) -> bool:
        """Take in [start, start + length); True if any of it was missing."""
        if not length:
            return False
        starts, ends = self.starts, self.ends
        end = start + length
        if not starts or start > ends[-1]:
            starts.append(start)
            ends.append(end)
            return True
        if start >= starts[-1]:
            if end <= ends[-1]:
                return False
            ends[-1] = end
            return True
        # The ranges [first, last) touch the new one.
        first = bisect_left(ends, start)
        if starts[first] <= start and end <= ends[first]:
            return False
        last = bisect_right(starts, end)
        if first == last:
            starts.insert(first, start)
            ends.insert(first, end)
            return True
        starts[first] = min(start, starts[first])
        ends[first] = max(end, ends[last - 1])
        del starts[first + 1 : last]
        del ends[first + 1 : last]
        return True

    def covers(self, start: int, length: int) -> bool:
        """Whether all of [start, start + length) is in the set."""
        index = bisect_right(self.starts, start) - 1
        return not length or (index >= 0 and start + length <= self.ends[index])

    def missing(self, start: int, length: int) -> list[tuple[int, int]]:
        """The (start, length) parts of [start, start + length) that are not in the set."""
        end = start + length
        out = []
        index = bisect_right(self.ends, start)
        while start < end:
            if index == len(self.starts) or self.starts[index] >= end:
                out.append((start, end - start))
                break
            if start < self.starts[index]:
                out.append((start, self.starts[index] - start))
            start = self.ends[index]
            index += 1
        return out

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(start, length), ascending."""
        for start, end in zip(self.starts, self.ends):
            yield start, end - start

    def __len__(self) -> int:
        """The number of ranges."""
        return len(self.starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranges):
            return NotImplemented
        return self.starts == other.starts and self.ends == other.ends

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"


def encode_ranges(clients: Mapping[int, Ranges]) -> bytes:
    """As a Yjs v1 delete set: varUint clients, then (client, ranges, (start, length)*), greatest client first."""
    filled = sorted((client for client, ranges in clients.items() if ranges.starts), reverse=True)
    out = [write_uint(len(filled))]
    for client in filled:
        ranges = clients[client]
        out.append(write_client(client))
        out.append(write_uint(len(ranges.starts)))
        for start, end in zip(ranges.starts, ranges.ends):
            out.append(write_uint(start))
            out.append(write_uint(end - start))
    return b"".join(out)


def decode_ranges(data: bytes, at: int = 0) -> tuple[dict[int, Ranges], int]:
    """The inverse of `encode_ranges`, from any order, and the offset after it. Raises Malformed."""
    clients: dict[int, Ranges] = {}
    total, at = read_uint(data, at)
    if total * 2 > len(data):
        raise Malformed(f"{total} clients announced at {at}, {len(data) - at} bytes left")
    for _ in range(total):
        client, at = read_uint(data, at)
        count, at = read_uint(data, at)
        if count * 2 > len(data) - at:
            raise Malformed(f"{count} ranges announced at {at}, {len(data) - at} bytes left")
        ranges = clients.get(client)
        if ranges is None:
            ranges = clients[client] = Ranges()
        at = _decode_into(ranges, data, at, count)
    return clients, at


def _decode_into(ranges: Ranges, data: bytes, at: int, count: int) -> int:
    # A large document has 100,000 ranges and more, nearly all in order and of few bytes: spare them the calls.
    starts, ends = ranges.starts, ranges.ends
    last = ends[-1] if ends else -1
    try:
        for _ in range(count):
            start = data[at]
            at += 1
            if start > 127:
                start, at = read_uint(data, at - 1)
            length = data[at]
            at += 1
            if length > 127:
                length, at = read_uint(data, at - 1)
            end = start + length
            if start > last and length:
                starts.append(start)
                ends.append(end)
                last = end
            else:
                ranges.add(start, length)
                last = ends[-1] if ends else -1
    except IndexError:
        raise Malformed(f"ranges cut off at {at}") from None
    if last > MAX_UINT:
        raise Malformed(f"clock beyond 2**53 before {at}")
    return at
