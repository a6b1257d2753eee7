"""UUIDs of version 7 (RFC 9562), which sort by when they were made."""

import secrets
import threading
import time
from collections.abc import Callable
from uuid import UUID

__all__ = ["Uuid7", "milliseconds", "uuid7"]

_RANDOM_BITS = 74


class Uuid7:
    """A source of UUIDs, each greater than the one before it (RFC 9562 section 6.2, method 2: monotonic random).

    Within a millisecond, and when the clock steps back, the 74 random bits grow by a random step instead of being
    drawn again, so an id says nothing about its neighbours and still sorts after them.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ms = -1
        self._random = 0

    def __call__(self) -> UUID:
        ms = self._clock() // 1_000_000
        with self._lock:
            if ms > self._ms:
                # The top bit stays clear, so that there is room to grow within the millisecond.
                self._ms, self._random = ms, secrets.randbits(_RANDOM_BITS - 1)
            else:
                self._random += 1 + secrets.randbits(32)
                if self._random >> _RANDOM_BITS:
                    self._ms, self._random = self._ms + 1, secrets.randbits(_RANDOM_BITS - 1)
            ms, random = self._ms, self._random
        return UUID(int=ms << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1)


uuid7 = Uuid7()
"""The process's own source."""


def milliseconds(id: UUID) -> int:
    """When an id of `uuid7` was made, Unix milliseconds."""
    return id.int >> 80
