"""What every connection of one process shares."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING

from relay.control import Recheck
from relay.dispatch import Dispatch
from relay.hooks import Fact
from relay.room.registry import Registry
from relay.server.proxy import Networks
from relay.tasks import spawn

if TYPE_CHECKING:
    from relay.metrics import Counters
    from relay.server.connection import Connection

__all__ = ["ConnectionLimits", "Context"]

LARGE_JOINS = 4
"""Large documents on their way to clients at once. Each takes the loop as long as the kernel takes to copy what a
socket holds, so many together would keep everybody else waiting; one after the other they are no slower."""

YEAR = 365 * 86400.0
"""Timers further away than this would overflow; a process does not live that long."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may cost. Sizes in bytes, times in seconds, rates per second."""

    message: int = 64 << 20
    connections: int = 50_000
    per_address: int = 2000
    documents: int = 100
    rate_messages: int = 5000
    burst_messages: int = 20_000
    rate_bytes: int = 8 << 20
    burst_bytes: int = 128 << 20
    preauth_bytes: int = 5 << 20
    preauth_messages: int = 1000
    auth_timeout: float = 60.0
    slow_reader: int = 1 << 20
    inline_parse: int = 16384
    ping_interval: float = 10.0
    keepalive: float = 30.0
    compression: bool = True


@dataclass(slots=True)
class Context:
    """The doors and what is behind them. `authenticated`: tokens are required; `draining`: nobody new comes in;
    `proxies`: who may say whose connection it is."""

    registry: Registry
    dispatch: Dispatch
    counters: "Counters"
    limits: ConnectionLimits
    authenticated: bool
    origins: tuple[str, ...] = ()
    proxies: Networks = ()
    draining: bool = False
    connections: "dict[Connection, None]" = field(default_factory=dict)
    addresses: dict[str, int] = field(default_factory=dict)
    large_joins: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_JOINS))
    tell: Callable[[Fact], None] = lambda fact: None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def recheck(self, whose: Recheck) -> None:
        """Ask again what these clients may do: grants have changed."""
        for connection in list(self.connections):
            for channel in connection.session.channels():
                if channel.concerns(whose):
                    spawn(f"recheck {channel.name}", channel.recheck())

    def expire(self, when: float, then: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `then` at the Unix time `when` (at once if that has passed)."""
        return self.loop.call_later(max(0.0, min(when - time(), YEAR)), then)
