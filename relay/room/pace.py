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
    """One room's rhythm. `ready` is the time (of `perf_counter`) from which the next flush may go; `busy`: flushes take
    so much of the time that edits must be answers to them."""

    __slots__ = ("_ended", "_first", "_gap", "_last", "_most", "_part", "_share", "_started", "busy", "ready")

    def __init__(self, share: float, most: float) -> None:
        """share: the pause as a multiple of the flush before it; most: seconds."""
        self._share = share
        self._most = most
        self._started = self._ended = 0.0
        self._first = self._last = 0.0
        self._gap = RARELY  # between edits, on average
        self._part = 0.0  # of the time, spent in flushes, on average
        self.busy = False
        self.ready = 0.0

    def arrived(self, first: bool) -> None:
        """An edit came in; `first` of those that the next flush will carry."""
        self._last = now = perf_counter()
        if first:
            self._first = now

    def flushed(self, started: float, edits: int) -> float:
        """A flush that began at `started` has carried `edits` and ends now; returns what it took (seconds)."""
        ended = perf_counter()
        took = ended - started
        passed = started - self._started
        self._part += (took / passed - self._part) * SMOOTH
        self._gap += (min(passed / (edits or 1), RARELY) - self._gap) * SMOOTH
        self.busy = self._part > ANSWERED
        pause = 0.0
        if self._part > IDLE and self._gap < self._most / 2:
            pause = min(self._share * took, self._most) * min(1.0, (self._part - IDLE) / (BUSY - IDLE))
        if edits > 1:
            gap = (self._last - self._first) / (edits - 1)
            pause = min(pause, max(0.0, self._last - self._ended) + 2 * gap)
        self._started = started
        self._ended = ended
        self.ready = ended + pause
        return took
