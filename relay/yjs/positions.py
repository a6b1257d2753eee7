"""One place in a text counted in UTF-8 bytes (pycrdt), UTF-16 code units (JavaScript, Yjs) or code points (Python).

A place inside a character is moved to that character's beginning: nothing may cut an emoji in two.
Raises IndexError for a place before the beginning or past the end.
"""

__all__ = [
    "points_to_units",
    "points_to_utf8",
    "units_to_points",
    "units_to_utf8",
    "utf8_to_points",
    "utf8_to_units",
]


def units_to_points(text: str, units: int) -> int:
    """Code points before the UTF-16 offset `units`."""
    if text.isascii():
        return _inside(units, len(text))
    encoded = text.encode("utf-16-le")
    _inside(units, len(encoded) >> 1)
    # Half a surrogate pair at the end is dropped.
    return len(encoded[: 2 * units].decode("utf-16-le", "ignore"))


def points_to_units(text: str, points: int) -> int:
    """UTF-16 code units before code point `points`."""
    _inside(points, len(text))
    return points if text.isascii() else len(text[:points].encode("utf-16-le")) >> 1


def utf8_to_points(text: str, offset: int) -> int:
    """Code points before the UTF-8 byte `offset`."""
    if text.isascii():
        return _inside(offset, len(text))
    encoded = text.encode()
    _inside(offset, len(encoded))
    return len(encoded[:offset].decode("utf-8", "ignore"))


def points_to_utf8(text: str, points: int) -> int:
    """UTF-8 bytes before code point `points`."""
    _inside(points, len(text))
    return points if text.isascii() else len(text[:points].encode())


def utf8_to_units(text: str, offset: int) -> int:
    """UTF-16 code units before the UTF-8 byte `offset`."""
    return points_to_units(text, utf8_to_points(text, offset))


def units_to_utf8(text: str, units: int) -> int:
    """UTF-8 bytes before the UTF-16 offset `units`."""
    return points_to_utf8(text, units_to_points(text, units))


def _inside(place: int, size: int) -> int:
    if not 0 <= place <= size:
        raise IndexError(f"place {place} in a text of {size}")
    return place
