"""A real PostgreSQL and a real Redis-compatible server for a machine that has none.

The same servers, SQL and streams as in production, from wheels that pip installed, as children below one directory.
They listen on Unix sockets only, die with us even if we are killed, and are restarted if they die before us.
"""

import asyncio
import logging
from pathlib import Path
from types import TracebackType

from relay.embedded.datadir import DataDirectory
from relay.embedded.postgres import PostgresServer
from relay.embedded.process import Server, tail
from relay.embedded.valkey import ValkeyServer
from relay.errors import StartError
from relay.tasks import spawn

__all__ = ["Embedded", "start"]

log = logging.getLogger("relay.embedded")

START_PATIENCE = 60.0
"""Seconds for a server to take work: PostgreSQL's crash recovery and a long append-only file take a while."""

TRIM_EVERY = 10.0
"""Seconds between two looks at how long the servers' logs have become."""

SYNC_EVERY = 1.0
"""Seconds of journal that a crash of the machine may cost."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a server that ended is started again; they double until it has lived for the longest."""


class Embedded:
    """Running servers. Its own context manager: leaving it stops them.

    `database_url` and `redis_url` are empty for a server that was not asked for. They stay the same over restarts.
    """

    def __init__(self, data: DataDirectory, sockets: Path, servers: list[Server]) -> None:
        self._data = data
        self._sockets = sockets
        self._servers = servers
        self._watches: list[asyncio.Task[None]] = []

    @property
    def database_url(self) -> str:
        """For asyncpg: `postgresql://relay@/relay?host=<socket directory>&port=5432`."""
        return next((server.url for server in self._servers if isinstance(server, PostgresServer)), "")

    @property
    def redis_url(self) -> str:
        """For redis-py: `unix://<socket>`."""
        return next((server.url for server in self._servers if isinstance(server, ValkeyServer)), "")

    @property
    def pids(self) -> dict[str, int]:
        """The server processes by name."""
        return {server.name: server.process.pid for server in self._servers if server.process}

    async def stop(self, patience: float = 10.0) -> None:
        """Stop the servers gracefully, kill them after `patience` seconds, and let go of the directory. Idempotent."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await asyncio.gather(*(server.stop(patience) for server in self._servers))
        self._data.release()
        if self._sockets.parent != self._data.path:
            try:
                self._sockets.rmdir()
            except OSError:
                pass

    async def __aenter__(self) -> "Embedded":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        starts = (server.start(START_PATIENCE) for server in self._servers)
        for result in await asyncio.gather(*starts, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        self._data.publish(self.database_url, self.redis_url)
        self._watches = [spawn(f"embedded {server.name}", self._keep_running(server)) for server in self._servers]
        self._watches.append(spawn("trim logs", self._trim_logs()))
        self._watches += [spawn("sync", self._sync(one)) for one in self._servers if isinstance(one, ValkeyServer)]

    async def _keep_running(self, server: Server) -> None:
        """Start the server again whenever it ended by itself, with growing pauses."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            started = loop.time()
            await server.ended()
            if loop.time() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            log.error("server ended by itself:\n%s", tail(server.log_path), extra={"server": server.name})
            while not server.alive:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                try:
                    await server.start(START_PATIENCE)
                    log.warning("server started again", extra={"server": server.name})
                except StartError as error:
                    log.error("server did not start: %s", error, extra={"server": server.name})

    async def _sync(self, server: ValkeyServer) -> None:
        while True:
            await asyncio.sleep(SYNC_EVERY)
            try:
                await server.sync()
            except OSError as error:  # a file that a rewrite has just replaced; or the disk, as the server says too
                log.warning("could not sync: %s", error, extra={"server": server.name})

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(TRIM_EVERY)
            self._data.trim_logs()


async def start(data: Path, *, postgres: bool, valkey: bool) -> Embedded:
    """Start the servers that are asked for and return once both take work.

    Call it on the main thread. Raises StartError, saying what to do, when the directory belongs to another relay, can't
    be used, or a server does not start.
    """
    claimed = await DataDirectory.claim(data)
    try:
        sockets = claimed.sockets()
        servers: list[Server] = []
        if postgres:
            servers.append(PostgresServer(claimed, sockets))
        if valkey:
            servers.append(ValkeyServer(claimed, sockets))
        embedded = Embedded(claimed, sockets, servers)
    except BaseException:
        claimed.release()
        raise
    try:
        await embedded._start()
    except BaseException:
        await embedded.stop(5.0)
        raise
    return embedded
