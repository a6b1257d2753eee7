"""Ids that sort by when they were made."""

from relay.ids import Uuid7, milliseconds, uuid7


def test_ids_sort() -> None:
    """Each id is greater than the one before, also within a millisecond and when the clock steps back."""
    clock = iter([5_000_000, 5_000_000, 4_000_000, 6_000_000])
    source = Uuid7(lambda: next(clock))
    ids = [source() for _ in range(4)]
    assert ids == sorted(set(ids))
    assert [milliseconds(id) for id in ids] == [5, 5, 5, 6]


def test_ids_are_version_7() -> None:
    """Version and variant are those of RFC 9562."""
    assert uuid7().version == 7
    assert uuid7().variant == "specified in RFC 4122"
