"""The rules of a room's chain of segments, shared by every adapter: pure, so that they agree."""

from collections.abc import Sequence

from relay.errors import Quarantined
from relay.snapshot import Segment
from relay.types import Position, RoomId

__all__ = ["Broken", "check", "place"]


def place(ends: Sequence[Position], segment: Segment) -> int | None:
    """The link that `segment` becomes in a chain whose links end at `ends`; None when the chain refuses it.

    Every link from there on is replaced. Raises ValueError for a segment that covers nothing.
    """
    if segment.after is not None and segment.after >= segment.upto:
        raise ValueError(f"a segment after {segment.after} can't end at {segment.upto}")
    if ends and ends[-1] > segment.upto:
        return None
    if segment.after is None:
        return 0
    try:
        return ends.index(segment.after) + 1
    except ValueError:
        return None


class Broken(Quarantined):
    """A chain that is not whole. `links`: what is there of it."""

    def __init__(self, room: RoomId, links: Sequence[Segment], why: str) -> None:
        super().__init__(f"stored chain of {room!r} is broken: {why}")
        self.links = list(links)


def check(room: RoomId, chain: Sequence[Segment], upto: Position | None) -> None:
    """Raises Broken unless `chain` is whole and ends at `upto`: half a document is worse than none."""
    end: Position | None = None
    for link, segment in enumerate(chain):
        if segment.after != end:
            raise Broken(room, chain, f"link {link} continues {segment.after}, not {end}")
        end = segment.upto
    if end != upto:
        raise Broken(room, chain, f"it ends at {end}, not {upto}")
