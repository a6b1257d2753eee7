"""The composition root of the API process: construct, start, wait for a signal, stop."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import cast

import asyncpg
from aiohttp import web
from prometheus_client import GCCollector, ProcessCollector

from api_shim.adopted import adopt
from api_shim.app import Conventions, make_app
from api_shim.asks import Asks
from api_shim.context import Context, Shared, made_once
from api_shim.facts import Listener
from api_shim.health import add_health
from api_shim.jobs import Jobs
from api_shim.limits import Limit
from api_shim.loader import load, starting_order
from api_shim.metrics import ApiMetrics
from api_shim.plugin import Plugin
from api_shim.rooms import Rooms
from api_shim.runner import Runner
from api_shim.watchdog import watch
from api_shim.work import Work
from relay import __version__, hooks
from relay.bus.streams import StreamBus
from relay.codec.pool import CodecPool
from relay.dispatch import Dispatch
from relay.errors import StartError, Unavailable
from relay.gate import Strangers, gate_of
from relay.grants import Principal
from relay.hooks import ConnectAsked, heard
from relay.journal.address import Address
from relay.journal.redis import RedisJournal
from relay.metrics import Metrics
from relay.migrate import migrate, migrations
from relay.room.registry import Registry
from relay.room.room import Limits
from relay.server.proxy import Networks, client_address, networks
from relay.settings import Settings
from relay.shard.handoff import Handoff, Place
from relay.shard.redis import RedisChannels
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.tasks import spawn
from relay.totals import figures
from relay.types import NodeId

__all__ = ["Shim"]

log = logging.getLogger("api_shim")
BACKLOG = 1024
POOL = 10
"""Connections to PostgreSQL; an API call holds one for as long as its statements take."""
TIMEOUT = 5.0
READY_PATIENCE = 2.0
WINDOW = 0.001
"""Seconds that edits gather on their way to the journal: somebody waits for the answer to each, and there are few."""
UNLOAD = 5.0
"""Seconds that a room which was written to stays open here for the next edit."""


class Shim:
    """One API process. `start`, then `wait`, then `stop`, like a node.

    place: its number among the processes of a supervisor; None: whoever made it serves with `server`.
    """

    server: Callable[[], asyncio.Protocol]
    """Makes the protocol of a connection."""

    def __init__(self, settings: Settings, place: Place | None = None, plugins: Sequence[Plugin] | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.api_metrics = ApiMetrics(self.metrics.registry)
        # Behind every relay's id, so that a relay which has the room open too is its home.
        self.id = NodeId(f"~api-{socket.gethostname()}-{secrets.token_hex(4)}")
        self.clock: Callable[[], float] = time.time
        self.contexts: dict[str, Context] = {}
        self._given = plugins
        self._place = place
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Plugins loaded, migrated and started, then the doors opened. Raises StartError."""
        settings = self.settings
        self.plugins = load(settings.plugins, settings.plugin_settings) if self._given is None else list(self._given)
        if self._place is not None:  # else the process is somebody else's to end
            watching = spawn("watch the loop", watch())
            self._stack.callback(watching.cancel)
        await self._services()
        await self._start_plugins()
        gate = await gate_of(settings, self._stack)
        asked = self._asked()
        dispatch = Dispatch(asked, on_asked=self.api_metrics.asked)
        self._doorman = Dispatch([*asked, gate], on_asked=self.api_metrics.asked)
        for plugin in self.plugins:
            listener = Listener(plugin, self.redis, self.api_metrics)
            listener.start()
            self._stack.push_async_callback(listener.close)
        await self._serve_http()
        asks = Asks(dispatch, settings.shim_secret or "")
        self._stack.push_async_callback(asks.close)
        for address in (settings.shim, settings.shim_listen):
            if address:
                await asks.listen(address)
        log.info("plugins ready", extra={"plugins": [plugin.name for plugin in self.plugins]})

    def _asked(self) -> list[hooks.Plugin]:
        """Plugins in the order they are asked: who is required first, so that what it denies nobody allows."""
        asked: list[hooks.Plugin] = list(starting_order(self.plugins))
        knows = any("ask_connect" in heard(plugin) for plugin in asked)
        if knows and not (self.settings.authenticated or self.settings.open):
            asked.append(Strangers())
        return asked

    async def _services(self) -> None:
        settings = self.settings
        assert settings.database_url
        assert settings.redis_url
        counters = self.metrics.counters
        try:
            self.database = await asyncpg.create_pool(
                settings.database_url, min_size=1, max_size=POOL, command_timeout=30.0, init=_prepare
            )
        except (OSError, asyncpg.PostgresError) as error:
            raise StartError(f"can't connect to PostgreSQL: {error}") from None
        self._stack.push_async_callback(self._close_database)
        async with self.database.acquire() as connection:
            await migrate(connection, migrations("api_shim.migrations"), "api_shim", "API")
        self.redis = Address(settings.redis_url).client(f"materi-{self.id}", TIMEOUT)
        self._stack.push_async_callback(self.redis.aclose)
        self.snapshots = await PostgresSnapshotStore.connect(settings.database_url)
        self._stack.push_async_callback(self.snapshots.close)
        self.journal = RedisJournal(settings.redis_url, self.id, window=WINDOW, on_state=self._journal_state)
        codec = CodecPool(settings.codec_processes, counters)
        self._stack.push_async_callback(codec.close)
        self.registry = Registry(
            self.id,
            self.journal,
            self.snapshots,
            codec,
            counters,
            Limits(document=settings.max_document),
            inline_parse=settings.inline_parse,
            idle_unload=UNLOAD,
            channels=partial(RedisChannels, settings.redis_url, self.id),
        )
        try:
            await self.journal.start()
        except Unavailable as error:
            raise StartError(f"{error}; is REDIS_URL right, and does it run?") from None
        self._stack.push_async_callback(self.journal.close)
        self._stack.push_async_callback(self._close_rooms)
        self.registry.start()
        self.rooms = Rooms(self.registry, self.journal, self.snapshots, codec, self.redis)
        self.work = Work(max(1, (os.cpu_count() or 2) // 2))
        self._stack.callback(self.work.close)

    def _journal_state(self, up: bool) -> None:
        self.registry.recovery.journal_state(up)

    async def _close_database(self) -> None:
        try:
            await asyncio.wait_for(self.database.close(), 5.0)
        except TimeoutError:
            self.database.terminate()

    async def _close_rooms(self) -> None:
        await self.registry.close(5.0)

    async def _start_plugins(self) -> None:
        settings = self.settings
        host = settings.host if settings.host not in ("0.0.0.0", "::") else "localhost"  # noqa: S104
        self.public_url = (settings.public_url or f"http://{host}:{settings.port}").rstrip("/")
        kept = timedelta(seconds=settings.events_retention) if settings.events_retention else None
        self.bus = StreamBus(self.database, settings.redis_url or "", retention=kept)
        await self.bus.start()
        self._stack.push_async_callback(self.bus.close)
        self.jobs = Jobs(self.database, self.api_metrics, base=self.public_url)
        shared = Shared(
            database=self.database,
            redis=self.redis,
            rooms=self.rooms,
            bus=self.bus,
            jobs=self.jobs,
            work=self.work,
            registry=self.metrics.registry,
            public_url=self.public_url,
            clock=self.clock,
        )
        ProcessCollector(registry=self.metrics.registry)
        GCCollector(registry=self.metrics.registry)
        for plugin in starting_order(self.plugins):
            if plugin.migrations:
                async with self.database.acquire() as connection:
                    known = migrations(plugin.migrations)
                    await migrate(connection, known, plugin.name.replace("-", "_"), f"plugin {plugin.name}")
            context = self.contexts[plugin.name] = Context(plugin.name, shared)
            self._stack.push_async_callback(self._stop_plugin, plugin)
            try:
                await plugin.start(context)
            except StartError:
                raise
            except Exception as error:
                log.exception("a plugin did not start", extra={"plugin": plugin.name})
                raise StartError(f"plugin {plugin.name!r} did not start: {type(error).__name__}: {error}") from error
            if missing := [service.__name__ for service in plugin.provides if service not in shared.services]:
                raise StartError(f"plugin {plugin.name!r} says that it provides {missing[0]}, and does not")

    async def _stop_plugin(self, plugin: Plugin) -> None:
        try:
            async with asyncio.timeout(5.0):
                await plugin.stop()
        except Exception:
            log.exception("a plugin did not stop", extra={"plugin": plugin.name})

    # -- HTTP --

    async def _identify(self, ask: ConnectAsked) -> Principal:
        return await self._doorman.ask_connect(ask)

    async def _serve_http(self) -> None:
        settings, place = self.settings, self._place
        routes = [route for plugin in self.plugins for route in plugin.routes()]
        self.app = make_app(
            routes,
            identify=self._identify,
            database=self.database,
            redis=self.redis,
            secret=await made_once(self.database, "api_shim.http"),
            conventions=Conventions(
                version=__version__,
                public_url=self.public_url,
                origins=settings.cors_origins,
                limit=Limit("default", settings.api_rate, settings.api_burst),
                anonymous_limit=Limit("anonymous", settings.api_rate_anonymous, settings.api_burst_anonymous),
            ),
            metrics=self.api_metrics,
            jobs=self.jobs,
            address=partial(_address, networks(settings.trusted_proxies)),
        )
        add_health(self.app, self._unready, self.metrics.registry if settings.metrics else None)
        runner = Runner(self.app, drain=settings.drain_timeout)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        make = self.server = cast("Callable[[], asyncio.Protocol]", runner.server)
        if place is None:
            return
        if place.listener is not None:
            server = await asyncio.get_running_loop().create_server(make, sock=place.listener, backlog=BACKLOG)
            self._stack.callback(server.close)
        else:
            counts = partial(figures, self.metrics.registry)
            handoff = Handoff(place, partial(adopt, make), counts)
            handoff.start()
            self._stack.callback(handoff.close)

    async def _unready(self) -> str:
        """Why calls can't be answered now; empty when they can."""
        try:
            async with asyncio.timeout(READY_PATIENCE):
                await self.database.fetchval("SELECT 1")
                await self.journal.ping()
                await self.snapshots.ping()
        except (OSError, TimeoutError, Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return str(error) or "a service does not answer"
        return ""

    # -- life --

    async def wait(self) -> None:
        """Until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        await self._stopping.wait()

    async def stop(self) -> None:
        """Finish what is in flight, then stop what was started, the last first."""
        await self._stack.aclose()


def _address(proxies: Networks, request: web.Request) -> str:
    return client_address(request.remote or "", request.headers.get("X-Forwarded-For", ""), proxies)


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.execute("SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'")
