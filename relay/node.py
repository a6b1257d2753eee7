"""The composition root: construct, start, wait for a signal, stop. The only place that names an adapter."""

import asyncio
import gc
import logging
import os
import random
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

from aiohttp import web

from relay import __version__, closing, embedded
from relay.codec.pool import CodecPool
from relay.control import Control, Recheck
from relay.crossing.client import Crossing
from relay.crossing.facts import Facts
from relay.dispatch import Dispatch
from relay.errors import StartError, Unavailable
from relay.gate import gate_of
from relay.hooks import Fact, NodeStarted, NodeStopping
from relay.journal.redis import RedisJournal
from relay.metrics import Metrics, measure_lag
from relay.room.registry import Registry
from relay.room.room import Limits
from relay.room.where import Holder, who_has
from relay.server.admin import Admin
from relay.server.context import ConnectionLimits, Context
from relay.server.front import Front, HttpHandler
from relay.server.http import make_runner
from relay.server.proxy import networks
from relay.server.sharing import SharingFront, adopt
from relay.settings import Settings
from relay.shard.cluster import Cluster, NodeInfo
from relay.shard.handoff import Handoff, Place
from relay.shard.redis import RedisChannels
from relay.snapshot.database import Limits as DatabaseLimits
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.tasks import spawn
from relay.totals import add_up, figures
from relay.types import NodeId, RoomId

__all__ = ["BACKLOG", "OPEN", "Node", "cannot_listen"]

log = logging.getLogger("relay.node")
READY_PATIENCE = 2.0
OPEN = "no authentication configured: everybody who can connect may read and write every document"
BACKLOG = 4096
"""Connections that the kernel keeps for us to accept."""


class Node:
    """One relay process. `start`, then `wait`, then `stop`; `stop` may be called at any time after `start` began.

    place: of a worker among several, which serve one port together.
    """

    def __init__(self, settings: Settings, place: Place | None = None) -> None:
        self.settings = settings
        self._place = place
        self._handoff: Handoff | None = None
        self._complete = False  # whether all workers were there once
        self.id = NodeId(f"{socket.gethostname()}-{secrets.token_hex(4)}")
        self.metrics = Metrics()
        self.port = settings.port
        self.database_url = settings.database_url or ""
        self.redis_url = settings.redis_url or ""
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()
        self._tell: Callable[[Fact], None] | None = None
        self._started = time.time()

    async def start(self) -> None:
        """Everything up, in order of need; raises StartError with what to do about it."""
        settings = self.settings
        proxies = networks(settings.trusted_proxies)
        _raise_descriptor_limit()
        if not (settings.database_url and settings.redis_url):
            own = await embedded.start(settings.data, postgres=not settings.database_url, valkey=not settings.redis_url)
            self._stack.push_async_callback(own.stop)
            self.database_url = settings.database_url or own.database_url
            self.redis_url = settings.redis_url or own.redis_url
        counters = self.metrics.counters
        gate = await gate_of(settings, self._stack)
        crossing = await self._cross()
        dispatch = Dispatch([gate] if crossing is None else [crossing, gate])
        self.snapshots = await PostgresSnapshotStore.connect(
            self.database_url,
            read_url=settings.database_read_url,
            limits=_database_limits(settings),
            reads=counters.snapshot_reads,
        )
        self._stack.push_async_callback(self.snapshots.close)
        self.journal = RedisJournal(
            self.redis_url,
            self.id,
            window=settings.journal_window,
            timeout=settings.journal_timeout,
            max_queued_bytes=settings.journal_buffer // 2,  # the rest is for what waits in rooms
            on_state=lambda up: self.registry.recovery.journal_state(up),
            on_doubt=lambda concerned: self.registry.recovery.doubt(concerned),
        )
        codec = CodecPool(settings.codec_processes, counters)
        self._stack.push_async_callback(codec.close)
        self.registry = Registry(
            self.id,
            self.journal,
            self.snapshots,
            codec,
            counters,
            _room_limits(settings),
            max_rooms=settings.max_rooms,
            inline_parse=settings.inline_parse,
            idle_unload=settings.idle_unload,
            snapshot_idle=settings.snapshot_idle,
            presence_timeout=settings.presence_timeout,
            channels=partial(RedisChannels, self.redis_url, self.id),
            max_backlog=settings.journal_buffer,
            tell=self._tell,
        )
        control = Control(self.redis_url, self.id, self.registry.recovery.check, self._recheck)
        try:
            await self.journal.start()
            await control.start()
        except Unavailable as error:
            raise StartError(f"{error}; is REDIS_URL right, and does it run?") from None
        self._stack.push_async_callback(self.journal.close)
        self._stack.push_async_callback(control.close)
        self.context = Context(
            registry=self.registry,
            dispatch=dispatch,
            counters=counters,
            limits=_connection_limits(settings),
            authenticated=settings.authenticated or (crossing is not None and "ask_connect" in crossing.asks),
            origins=settings.origins,
            proxies=proxies,
            tell=self._tell or _tell_nobody,
        )
        self.cluster = Cluster(self.redis_url, f"materi-cluster-{self.id}")
        self._stack.push_async_callback(self.cluster.close)
        self._watch()
        await self._listen()
        self.cluster.start(self.describe)
        if settings.admin_port:
            await self._listen_to_operators()
        _spare_the_collector()

    def _recheck(self, whose: Recheck) -> None:
        self.context.recheck(whose)

    async def _cross(self) -> Crossing | None:
        """The way to the plugins, if there are any. Raises StartError."""
        settings = self.settings
        if not settings.shim:
            return None
        crossing = Crossing(settings.shim, self.id, settings.shim_secret or "")
        await crossing.start()
        self._stack.push_async_callback(crossing.close)
        if "ask_connect" not in crossing.asks and not (settings.authenticated or settings.loopback or settings.open):
            raise StartError(
                f"host {settings.host} is reachable by others and no plugin asks who they are: "
                "enable auth, set jwt_key or jwks_url, or --open to let anyone read and write every document"
            )
        if "ask_connect" not in crossing.asks and not settings.authenticated:
            log.warning(OPEN)
        facts = Facts(self.redis_url, self.id, self.metrics.counters)
        self._stack.push_async_callback(facts.close)
        self._tell = facts.tell
        facts.tell(NodeStarted(self.id))
        return crossing

    def _watch(self) -> None:
        self.metrics.watch("rooms", lambda: len(self.registry.rooms))
        self.metrics.watch("journal_unacknowledged", self.registry.unsaved_edits)
        self.metrics.watch("snapshot_age_seconds", self.registry.oldest_unsaved)
        self.metrics.watch("database_waiting", lambda: self.snapshots.waiting)
        self.registry.start()
        for name, work in (
            ("measure loop lag", measure_lag(self.metrics.counters.loop_lag_seconds)),
            ("keep connections alive", self._keep_alive()),
            ("tick sessions", self._tick()),
            ("tend the archive", self.snapshots.keep_tending(self.settings.archive_retention)),
        ):
            task = spawn(name, work)
            self._stack.callback(task.cancel)

    async def _listen(self) -> None:
        settings = self.settings
        http = HttpHandler()
        metrics = self.metrics if settings.metrics else None
        beside = (settings.shim or "").startswith("unix:@")
        totals = self._totals if self._place else None
        runner = await make_runner(self.context, self.unready, metrics, settings.page, totals, beside=beside)
        assert runner.app is not None
        http.ours = {resource.canonical for resource in runner.app.router.resources()}
        self._stack.push_async_callback(runner.cleanup)
        http.make = cast("Callable[[], asyncio.Protocol]", runner.server)
        loop = asyncio.get_running_loop()
        if self._place is not None:
            adopting = partial(adopt, self.context, http)
            handoff = self._handoff = Handoff(self._place, adopting, partial(figures, self.metrics.registry))
            handoff.start()
            self._stack.callback(handoff.close)
            if beside:
                http.give = partial(handoff.give, self._place.workers)
            assert self._place.listener is not None
            sharing = partial(SharingFront, self.context, http, handoff)
            self._server = await loop.create_server(sharing, sock=self._place.listener, backlog=BACKLOG)
        else:
            try:
                front = partial(Front, self.context, http)
                self._server = await loop.create_server(front, settings.host, settings.port, backlog=BACKLOG)
            except OSError as error:
                raise cannot_listen(settings.host, settings.port, "--port", error) from None
        self.port = self._server.sockets[0].getsockname()[1]
        self._stack.callback(self._server.close)

    async def _listen_to_operators(self) -> None:
        """A port of their own. Workers share it: whoever is asked answers for all."""
        settings = self.settings
        admin = Admin(self.cluster.nodes, self.who_has)
        workers = self._totals if self._place else None
        runner = await make_runner(self.context, self.unready, self.metrics, False, workers, admin)
        self._stack.push_async_callback(runner.cleanup)
        shared = self._place is not None
        site = web.TCPSite(runner, settings.admin_host, settings.admin_port, reuse_port=shared)
        try:
            await site.start()
        except OSError as error:
            raise cannot_listen(settings.admin_host, settings.admin_port, "--admin-port", error) from None

    async def who_has(self, room: RoomId) -> list[Holder]:
        """The relays that have `room` open, this one among them. Raises Unavailable."""
        asker = NodeId(f"asker-{secrets.token_hex(4)}")
        return await who_has(partial(RedisChannels, self.redis_url, asker), room)

    def describe(self) -> NodeInfo:
        """What others may know of this relay."""
        return NodeInfo(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            worker=self._place.number if self._place else None,
            version=__version__,
            started=self._started,
            port=self.port,
            url=self.settings.advertise or "",
            connections=len(self.context.connections),
            rooms=len(self.registry.rooms),
            draining=self.context.draining,
        )

    async def _totals(self, worker: str) -> bytes:
        """The metrics of one worker, or of all; of those that answer."""
        assert self._handoff is not None
        here, everybody = self._handoff.number, [str(number) for number in range(self._handoff.workers)]
        if worker and worker not in everybody:
            return b""
        asked = [int(one) for one in everybody if one != str(here) and worker in ("", one)]
        if self.settings.shim and worker == "":
            asked.append(self._handoff.workers)  # the shim comes after the last
        answers = await asyncio.gather(*(self._handoff.ask(number) for number in asked))
        for _ in range(answers.count(None)):
            self.metrics.counters.errors.add("silent worker")
        ours = figures(self.metrics.registry) if worker in ("", str(here)) else None
        said = [answer for answer in (ours, *answers) if answer is not None]
        return add_up(said) if said else b""

    async def unready(self) -> str:
        """Why this node can't serve a new room now; empty when it can."""
        if self._handoff is not None and not self._complete:
            # Rooms of a worker that is not there yet would be opened here, and again there.
            self._complete = self._handoff.everybody()
            if not self._complete:
                return "workers are still starting"

        async def ask() -> None:
            await self.journal.ping()
            await self.snapshots.ping()

        asking = spawn("ask services", ask(), expected=(Unavailable,))
        # Not awaited once cancelled: what hangs may hang in giving up, too.
        if not (await asyncio.wait([asking], timeout=READY_PATIENCE))[0]:
            asking.cancel()
            return "a service does not answer"
        error = asking.exception()
        return (str(error) or "a service does not answer") if error else ""

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.settings.keepalive)
            for connection in list(self.context.connections):
                connection.check_alive()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.settings.ping_interval)
            for connection in list(self.context.connections):
                connection.session.tick()

    async def wait(self) -> None:
        """Until SIGTERM or SIGINT; a second one ends the process at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        await self._stopping.wait()

    def _signalled(self) -> None:
        # A service manager may signal every process, and the supervisor does too: that is still one wish.
        if self._stopping.is_set() and self._place is None:
            log.warning("second signal, exiting at once; edits that were acknowledged are in the journal")
            sys.stderr.flush()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        self._stopping.set()

    async def stop(self) -> None:
        """Let clients go with jitter, store what is not stored, stop what was started; bounded in time."""
        if hasattr(self, "context"):
            await self._drain()
        await self._stack.aclose()

    async def _drain(self) -> None:
        context, timeout = self.context, self.settings.drain_timeout
        context.draining = True
        context.tell(NodeStopping(self.id))
        spawn("say that we drain", self.cluster.say(), expected=(Unavailable,))
        if self._handoff is not None:
            # The other workers take who comes now.
            self._server.close()
            self._handoff.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        log.info("draining", extra={"connections": len(context.connections), "rooms": len(self.registry.rooms)})
        # Spread over a moment, so that the clients do not all come back to the others at once.
        spread = min(self.settings.reconnect_jitter, timeout / 2)
        for connection in list(context.connections):
            loop.call_later(random.uniform(0, spread), connection.close, closing.DRAINING)  # noqa: S311
        while context.connections and loop.time() < deadline - timeout / 4:  # noqa: ASYNC110  (only here, only once)
            await asyncio.sleep(0.02)
        stored = await self.registry.close(max(1.0, deadline - loop.time()))
        for connection in list(context.connections):
            connection.transport.abort()
        log.info("drained", extra={"stored": stored})


def _tell_nobody(fact: Fact) -> None:
    """Without plugins there is nobody to tell."""


def cannot_listen(host: str, port: int, flag: str, error: OSError) -> StartError:
    """The port is not ours to have."""
    return StartError(
        f"can't listen on {host} port {port}: {error.strerror}; choose another with {flag}, or stop what listens there"
    )


def _raise_descriptor_limit() -> None:
    """A connection is an open file; the soft limit is often a thousand where the hard one allows many more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.debug("descriptor limit left as it is", extra={"error": str(error)})


def _spare_the_collector() -> None:
    """Edits allocate much and leave no cycles. With Python's thresholds the collector walked the heap over and over for
    nothing: a tenth of the CPU of a busy relay, and pauses that grew with the number of rooms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _database_limits(settings: Settings) -> DatabaseLimits:
    return DatabaseLimits(
        pool=settings.database_pool,
        acquire=settings.database_acquire_timeout,
        statement=settings.database_statement_timeout,
        lock=settings.database_lock_timeout,
        pooler=settings.database_pooler,
    )


def _room_limits(settings: Settings) -> Limits:
    return Limits(
        document=settings.max_document,
        clients=settings.max_clients_per_room,
        presence=settings.max_presence,
        flush_max=settings.flush_max,
        compress_from=settings.compress_from,
        tail=settings.snapshot_bytes,
    )


def _connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        message=settings.max_message,
        connections=settings.max_connections,
        per_address=settings.max_connections_per_address,
        documents=settings.max_documents_per_connection,
        rate_messages=settings.rate_messages,
        burst_messages=settings.burst_messages,
        rate_bytes=settings.rate_bytes,
        burst_bytes=settings.burst_bytes,
        preauth_bytes=settings.preauth_bytes,
        preauth_messages=settings.preauth_messages,
        auth_timeout=settings.auth_timeout,
        slow_reader=settings.slow_reader_bytes,
        inline_parse=settings.inline_parse,
        ping_interval=settings.ping_interval,
        keepalive=settings.keepalive,
        compression=settings.compression,
    )
