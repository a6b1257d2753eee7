"""Positions in a text: code points (Python), UTF-16 units (JavaScript and Yjs), UTF-8 bytes (yrs). The one place that
converts between them.

A position inside of a character, as between the halves of a surrogate pair, is that character's start.
"""

from bisect import bisect_right

__all__ = ["Positions", "utf8_length", "utf16_length"]


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def utf16_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) >> 1


class Positions:
    """Converts positions in one text. Positions past its end are its end; below 0, its start."""

    __slots__ = ("_extra8", "_extra16", "_starts", "_utf8", "_utf16", "length", "utf8", "utf16")

    def __init__(self, text: str) -> None:
        # Where characters that are longer than one unit begin, and by how much the units before them exceed their
        # number: nearly all texts have few of them.
        self._starts: list[int] = []
        self._utf8: list[int] = []
        self._utf16: list[int] = []
        self._extra8: list[int] = [0]
        self._extra16: list[int] = [0]
        extra8 = extra16 = 0
        if not text.isascii():
            for at, character in enumerate(text):
                if character > "\x7f":
                    self._starts.append(at)
                    self._utf8.append(at + extra8)
                    self._utf16.append(at + extra16)
                    extra8 += 1 if character < "\u0800" else 2 if character < "\U00010000" else 3
                    extra16 += character > "\uffff"
                    self._extra8.append(extra8)
                    self._extra16.append(extra16)
        self.length = len(text)
        """In code points."""
        self.utf8 = self.length + extra8
        """Length in bytes."""
        self.utf16 = self.length + extra16
        """Length in UTF-16 units."""

    def to_utf8(self, point: int) -> int:
        """From code points."""
        point = min(max(point, 0), self.length)
        return point + self._extra8[bisect_right(self._starts, point - 1)]

    def to_utf16(self, point: int) -> int:
        """From code points."""
        point = min(max(point, 0), self.length)
        return point + self._extra16[bisect_right(self._starts, point - 1)]

    def from_utf8(self, position: int) -> int:
        """To code points."""
        return self._from(position, self._utf8, self._extra8, self.utf8)

    def from_utf16(self, position: int) -> int:
        """To code points."""
        return self._from(position, self._utf16, self._extra16, self.utf16)

    def utf16_from_utf8(self, position: int) -> int:
        return self.to_utf16(self.from_utf8(position))

    def utf8_from_utf16(self, position: int) -> int:
        return self.to_utf8(self.from_utf16(position))

    def _from(self, position: int, begins: list[int], extra: list[int], length: int) -> int:
        position = min(max(position, 0), length)
        before = bisect_right(begins, position - 1)  # long characters that begin before it
        if not before:
            return position
        start = self._starts[before - 1]
        # After the last of them, every character is one unit; inside of it is its start.
        point = position - extra[before]
        return point if point > start else start
