"""Guessing is slowed down: after some attempts each further one makes the next wait twice as long.

An attempt counts before it is decided, so that many at once are many attempts. A wait caused by others is why an
account's longest wait is short; an address pays for itself and may wait long. While Redis is away each process counts
for itself.
"""

import asyncio
import hashlib
import time
from importlib.resources import files
from typing import Any, NamedTuple

from redis.exceptions import RedisError

__all__ = ["Rule", "Throttle"]

_SCRIPT = files("plugins.auth").joinpath("throttle.lua").read_text("utf-8")
PREFIX = "materi:plugin:auth:attempts:"
FIRST_WAIT = 1.0
FORGET = 3600.0
TIMEOUT = 0.5
_MOST = 10_000


class Rule(NamedTuple):
    """`free` attempts, then waits of 1, 2, 4… seconds up to `longest`."""

    name: str
    free: int
    longest: float


class Throttle:
    """Attempts by rule and whose they are."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._own: dict[str, tuple[int, float]] = {}

    async def attempt(self, rule: Rule, whose: str) -> float:
        """Count one; seconds to wait, and then it may not be made."""
        key = _key(rule, whose)
        arguments = [rule.free, int(FIRST_WAIT * 1e3), int(rule.longest * 1e3), int(FORGET * 1e3)]
        try:
            async with asyncio.timeout(TIMEOUT):
                return int(await self._script(keys=[key], args=arguments)) / 1e3
        except (RedisError, OSError, TimeoutError):
            return self._attempt(rule, key)

    async def forget(self, rule: Rule, whose: str) -> None:
        """They have proved who they are."""
        await self._run(self._redis.delete(_key(rule, whose)))
        self._own.pop(_key(rule, whose), None)

    async def undo(self, rule: Rule, whose: str) -> None:
        """That attempt was none; earlier ones stand."""
        await self._run(self._redis.hincrby(_key(rule, whose), "count", -1))

    async def _run(self, command: Any) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await command
        except (RedisError, OSError, TimeoutError):
            pass  # counted once too often

    def _attempt(self, rule: Rule, key: str) -> float:
        now = time.monotonic()
        count, until = self._own.get(key, (0, 0.0))
        if now < until:
            return until - now
        if len(self._own) >= _MOST:
            del self._own[next(iter(self._own))]
        count += 1
        if count >= rule.free:
            until = now + min(rule.longest, FIRST_WAIT * 2 ** min(count - rule.free, 30))
        self._own[key] = (count, until)
        return 0.0


def _key(rule: Rule, whose: str) -> str:
    return f"{PREFIX}{rule.name}:{hashlib.sha256(whose.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
