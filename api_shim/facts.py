"""Facts for plugins: each listener reads the relays' stream at its own pace, and no other notices how.

A consumer group of Redis for each plugin: what it has not handled when a process dies, another hands it again. A plugin
that fails or hangs `TRIPS` times in a row is left alone for a while (its circuit opens), and what happens meanwhile
waits in the stream.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from redis.exceptions import RedisError, ResponseError

from api_shim.metrics import ApiMetrics
from api_shim.plugin import Plugin
from relay.circuit import Circuit
from relay.crossing.facts import FIELD, KEY
from relay.crossing.wire import told
from relay.errors import Malformed
from relay.hooks import FACTS, heard
from relay.tasks import end, spawn

__all__ = ["Listener"]

log = logging.getLogger("api_shim.facts")
DEADLINE = 5.0
"""Seconds for a plugin to handle one fact."""
TRIPS = 5
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds that an open circuit rests; each time twice as long."""
AT_ONCE = 100
BLOCK_MS = 2000
ABANDONED_MS = 60_000
"""Milliseconds after which what another process took and did not handle is handed out again."""
RETRY = 1.0


class Listener:
    """Tells one plugin its facts, in order, at least once while Redis keeps them."""

    def __init__(self, plugin: Plugin, redis: Any, metrics: ApiMetrics) -> None:
        self.hooks = frozenset(hook for hook in heard(plugin) if hook in FACTS)
        self._plugin = plugin
        self._redis = redis
        self._metrics = metrics
        self._group = f"plugin:{plugin.name}".encode()
        self._me = f"{socket.gethostname()}-{os.getpid()}".encode()
        self._circuit = Circuit(TRIPS, FIRST_PAUSE, LONGEST_PAUSE)
        self.listening = False
        """Whether it has its place in the stream: nothing that is told from then on is missed."""
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen, if there is anything to hear."""
        if self.hooks:
            self._listening = spawn(f"tell plugin {self._plugin.name}", self._listen())

    async def close(self) -> None:
        """Stop after the fact at hand."""
        await end(self._listening)

    async def _listen(self) -> None:
        while True:
            try:
                await self._join()
                self.listening = True
                while True:
                    for entry, fields in await self._next():
                        await self._handle(fields)
                        await self._redis.xack(KEY, self._group, entry)
                        if rest := self._circuit.rest:
                            await self._rest(rest)
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):  # Redis came back empty
                    log.warning("facts can't be read", extra={"plugin": self._plugin.name, "error": str(error)})
                await asyncio.sleep(RETRY)
            except (RedisError, OSError) as error:
                log.debug("no facts for now", extra={"plugin": self._plugin.name, "error": str(error)})
                await asyncio.sleep(RETRY)

    async def _join(self) -> None:
        try:
            await self._redis.xgroup_create(KEY, self._group, id="$", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _next(self) -> Sequence[tuple[bytes, dict[bytes, bytes]]]:
        """What somebody left behind, else what is new."""
        left = await self._redis.xautoclaim(KEY, self._group, self._me, ABANDONED_MS, count=AT_ONCE)
        if left[1]:
            return [(entry, fields) for entry, fields in left[1] if fields]
        found = await self._redis.xreadgroup(self._group, self._me, {KEY: ">"}, count=AT_ONCE, block=BLOCK_MS)
        return found[0][1] if found else []

    async def _handle(self, fields: dict[bytes, bytes]) -> None:
        name = self._plugin.name
        try:
            hook, _, _, fact = told(fields[FIELD])
        except (Malformed, KeyError):
            return  # of a relay that knows facts we don't
        if hook not in self.hooks:
            return
        started = perf_counter()
        try:
            async with asyncio.timeout(DEADLINE):
                await getattr(self._plugin, hook)(fact)
        except Exception as error:
            self._circuit.failed()
            self._metrics.plugin_failures[name, hook] += 1
            log.error("a plugin failed on a fact", extra={"plugin": name, "hook": hook}, exc_info=error)
        else:
            self._circuit.succeeded()
        finally:
            self._metrics.plugin_seconds[name].observe(perf_counter() - started)

    async def _rest(self, seconds: float) -> None:
        name = self._plugin.name
        log.error("a plugin keeps failing and is left alone", extra={"plugin": name, "seconds": seconds})
        self._metrics.plugins_resting[name] = 1
        await asyncio.sleep(seconds)
        self._metrics.plugins_resting[name] = 0
