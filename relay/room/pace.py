"""When a room may flush next: at once while it is idle, in larger and larger gatherings as it gets busy.

A flush costs one write for each reader however many edits it carries, so a busy room gains by waiting, and an idle one
only loses time. Three things bound the pause after a flush:

* a multiple of what the flush took, and nothing while flushes take a small part of the time, or edits come so rarely
  that a pause would gather none;
* the time by which the edits that will come have come. Editors that wait for each other's edits (and load generators)
  answer a flush in a clump; waiting past the clump gathers nothing. Edits spread evenly show no such end;
* `most` seconds.
"""

from time import perf_counter

__all__ = ["Pace"]

IDLE, BUSY = 1 / 16, 1 / 8
"""Part of the time spent in flushes up to which a room earns no pause, and from which on the whole."""
ANSWERED = 0.2
"""Likewise from which on edits are taken for answers to the last flush."""
SMOOTH = 1 / 16
"""Weight of the last flush in averages: one that came after a pause looks idle, the next would look busy."""
RARELY = 0.1
"""Seconds between two edits beyond which it makes no difference how many more they are."""


class Pace:
    """One room's rhythm. Times are those of `perf_counter`.

    first, last: when the first and the last of the edits that wait came in, as the room says.
    ready: from when on the next flush may go.
    busy: flushes take so much of the time that edits must be answers to them.
    """

    __slots__ = ("_ended", "_gap", "_most", "_part", "_share", "_started", "busy", "first", "last", "ready")

    def __init__(self, share: float, most: float) -> None:
        """share: the pause as a multiple of the flush before it; most: seconds."""
        self._share = share
        self._most = most
        self._started = self._ended = 0.0
        self.first = self.last = 0.0
        self._gap = RARELY  # between edits, on average
        self._part = 0.0  # of the time, spent in flushes, on average
        self.busy = False
        self.ready = 0.0

    def flushed(self, started: float, edits: int) -> float:
        """A flush that began at `started` has carried `edits` and ends now; returns what it took (seconds)."""
        ended = perf_counter()
        took = ended - started
        passed = started - self._started
        self._part = part = self._part + (took / passed - self._part) * SMOOTH
        gap = passed / (edits or 1)
        self._gap += ((gap if gap < RARELY else RARELY) - self._gap) * SMOOTH
        self.busy = part > ANSWERED
        pause = 0.0
        if part > IDLE and self._gap < self._most / 2:
            pause = min(self._share * took, self._most) * min(1.0, (part - IDLE) / (BUSY - IDLE))
            if edits > 1:
                gap = (self.last - self.first) / (edits - 1)
                pause = min(pause, max(0.0, self.last - self._ended) + 2 * gap)
        self._started = started
        self._ended = ended
        self.ready = ended + pause
        return took
