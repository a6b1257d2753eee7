"""The rules of a chain where no store is needed to see them."""

import pytest

from relay.errors import Quarantined
from relay.snapshot import Segment
from relay.snapshot.chain import check, place
from relay.types import Position, RoomId


def link(after: int | None, upto: int) -> Segment:
    return Segment(None if after is None else Position(1, after, 0), Position(1, upto, 0), b"", b"")


ENDS = [Position(1, 10, 0), Position(1, 20, 0)]


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        (link(20, 30), 2),
        (link(10, 20), 1),
        (link(10, 30), 1),
        (link(None, 20), 0),
        (link(None, 19), None),
        (link(10, 15), None),
        (link(15, 30), None),
        (link(30, 40), None),
    ],
    ids=str,
)
def test_place(segment: Segment, expected: int | None) -> None:
    """A segment goes behind the link that ends where it begins, unless the chain reaches further than it."""
    assert place(ENDS, segment) == expected


def test_place_in_no_chain() -> None:
    """An empty chain takes a segment from the beginning only."""
    assert place([], link(None, 10)) == 0
    assert place([], link(5, 10)) is None


@pytest.mark.parametrize(
    ("chain", "upto"),
    [
        ([link(10, 20)], 20),
        ([link(None, 10), link(15, 20)], 20),
        ([link(None, 10)], 20),
        ([], 20),
        ([link(None, 10), link(None, 20)], 20),
    ],
    ids=str,
)
def test_check_refuses_half_a_document(chain: list[Segment], upto: int) -> None:
    """A chain with a link missing at its beginning, middle or end is refused by the room's name."""
    with pytest.raises(Quarantined, match="'a/b'"):
        check(RoomId("a/b"), chain, Position(1, upto, 0))


def test_check_accepts_a_whole_chain() -> None:
    """A chain from the beginning to its end is whole, and so is none at all."""
    check(RoomId("a"), [link(None, 10), link(10, 20)], Position(1, 20, 0))
    check(RoomId("a"), [], None)
