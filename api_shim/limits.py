"""Rate limits: how often one principal, or one address without a principal, may ask.

The count is in Redis, so every process sees the same. A process takes a few tokens ahead and spends them within a
second without asking; they are paid for, so together all processes never allow more than the limit.
"""

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api_shim.metrics import ApiMetrics
from relay.grants import Principal

__all__ = ["ANONYMOUS", "KNOWN", "Limit", "Limits", "Taken"]

PREFIX = "materi:limit:"
_SCRIPT = files("api_shim").joinpath("limits.lua").read_text("utf-8")
_AHEAD_SECONDS = 1.0
_MOST_KEYS = 20_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` tokens at once, coming back at `rate` a second. Most requests take one (`Route.cost`)."""

    name: str
    rate: float
    burst: int

    @property
    def policy(self) -> str:
        """The header `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)."""
        return f'"{self.name}";q={self.burst};w={math.ceil(self.burst / self.rate)}'


KNOWN = Limit("default", rate=50.0, burst=500)
ANONYMOUS = Limit("anonymous", rate=5.0, burst=100)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request was told. `left` tokens; all back in `reset` seconds; when refused, try again in `wait`."""

    limit: Limit
    allowed: bool
    left: int
    reset: float
    wait: float = 0.0

    @property
    def header(self) -> str:
        """The header `RateLimit`."""
        return f'"{self.limit.name}";r={self.left};t={math.ceil(self.reset)}'


@dataclass(slots=True)
class _Ahead:
    tokens: int
    until: float
    left: int
    full: float
    refused_until: float = 0.0


@dataclass(slots=True)
class _Queue:
    """Requests of one principal that wait for an answer: one asks for all of them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    cost: int = 0


class Limits:
    """Takes tokens. Without an answer from Redis within `timeout` everybody is allowed, and asking pauses a while."""

    def __init__(
        self,
        redis: Redis | None,
        metrics: ApiMetrics,
        *,
        known: Limit = KNOWN,
        anonymous: Limit = ANONYMOUS,
        timeout: float = 0.25,
        pause: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT) if redis is not None else None
        self._metrics = metrics
        self._known, self._anonymous = known, anonymous
        self._timeout, self._pause, self._clock = timeout, pause, clock
        self._ahead: dict[str, _Ahead] = {}
        self._asking: dict[str, _Queue] = {}
        self._away_until = float("-inf")

    async def take(self, principal: Principal | None, address: str, cost: int) -> Taken | None:
        """Take `cost` tokens; None where nothing is counted: no limit is set, or Redis is away."""
        if principal is not None and principal.actor:
            limit, key = self._known, f"a:{principal.actor}"
        else:
            limit, key = self._anonymous, f"i:{network(address)}"
        if self._script is None or limit.rate <= 0 or cost <= 0:
            return None
        # More than there ever is can never be had: the costliest requests take everything.
        cost = min(cost, limit.burst)
        if (taken := self._spend(limit, key, cost)) is not None:
            return taken
        queue = self._asking.setdefault(key, _Queue())
        queue.cost += cost
        try:
            async with queue.lock:
                # Whoever was before us in the queue asked for all of it.
                return self._spend(limit, key, cost) or await self._ask(limit, key, cost, queue.cost)
        finally:
            queue.cost -= cost
            if not queue.cost:
                self._asking.pop(key, None)

    def _spend(self, limit: Limit, key: str, cost: int) -> Taken | None:
        """Decide without asking, if what is known here allows that."""
        ahead = self._ahead.get(key)
        if ahead is None:
            return None
        now = self._clock()
        if ahead.tokens >= cost and now < ahead.until:
            ahead.tokens -= cost
            self._metrics.limits.add("local")
            return Taken(limit, True, ahead.left + ahead.tokens, max(0.0, ahead.full - now))
        if now < ahead.refused_until:
            self._metrics.limits.add("refused")
            return Taken(limit, False, 0, max(0.0, ahead.full - now), ahead.refused_until - now)
        return None

    async def _ask(self, limit: Limit, key: str, cost: int, queued: int) -> Taken | None:
        now = self._clock()
        if now < self._away_until:
            self._metrics.limits.add("unavailable")
            return None
        assert self._script is not None
        want = max(min(queued, limit.burst), limit.burst // 50)
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._script(keys=[PREFIX + key], args=[round(1e6 / limit.rate), limit.burst, cost, want])
        except (RedisError, OSError, TimeoutError):
            self._away_until = self._clock() + self._pause
            self._metrics.limits.add("unavailable")
            return None
        granted, left, reset, wait = (int(part) for part in reply)
        full = now + reset / 1e6
        if len(self._ahead) >= _MOST_KEYS:
            self._ahead.clear()
        if granted:
            self._ahead[key] = _Ahead(granted - cost, now + _AHEAD_SECONDS, left, full)
            self._metrics.limits.add("allowed")
            return Taken(limit, True, left + granted - cost, reset / 1e6)
        # Only waiting gives tokens back, so a refusal of one token stands without asking again.
        self._ahead[key] = _Ahead(0, 0.0, left, full, now + wait / 1e6 if cost == 1 else 0.0)
        self._metrics.limits.add("refused")
        return Taken(limit, False, left, reset / 1e6, wait / 1e6)


def network(address: str) -> str:
    """Who counts as one: an IPv4 address, or an IPv6 network of 64 bits, which one household has all of."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)).network_address)
