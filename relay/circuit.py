"""A circuit breaker: who keeps failing is left alone for a while, each time for longer."""

import time
from collections.abc import Callable

__all__ = ["Circuit"]


class Circuit:
    """Opens after `trips` failures in a row, for `first` seconds, then twice as long each time, at most `longest`.

    When that has passed one more try is let through: a failure opens it again at once, a success closes it.
    """

    __slots__ = ("_clock", "_failures", "_first", "_longest", "_pause", "_trips", "_until")

    def __init__(
        self,
        trips: int = 5,
        first: float = 1.0,
        longest: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trips, self._first, self._longest, self._clock = trips, first, longest, clock
        self._failures = 0
        self._pause = first
        self._until = 0.0

    @property
    def rest(self) -> float:
        """Seconds for which it stays open; 0 when it is not."""
        return max(0.0, self._until - self._clock()) if self._until else 0.0

    def succeeded(self) -> None:
        self._failures, self._pause, self._until = 0, self._first, 0.0

    def failed(self) -> bool:
        """Count a failure; whether that opened the circuit."""
        self._failures += 1
        if self._failures < self._trips:
            return False
        self._failures = self._trips - 1
        self._until = self._clock() + self._pause
        self._pause = min(self._pause * 2, self._longest)
        return True
