"""Several processes behind one port: started once, restarted when they die, drained together, replaced one by one.

Workers are processes of this program that inherit the listening socket; with plugins there is a shim beside them, to
which they give what is not theirs. All die with the supervisor, also when it is killed, and so do embedded services.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

from relay import embedded
from relay.errors import StartError
from relay.node import BACKLOG, cannot_listen
from relay.settings import Settings
from relay.shard.handoff import shim_address
from relay.tasks import spawn
from relay.types import NodeId
from relay.worker import READY, Assignment, send

__all__ = ["Supervisor"]

log = logging.getLogger("relay.supervisor")

START_PATIENCE = 60.0
"""Seconds for a worker to be ready."""
AT_ONCE = 1.0
"""Seconds within which a worker that ends has failed; one that lived longer is replaced without a pause."""
MOST_FAILURES = 8
"""Failures and failed starts of one worker in a row after which the supervisor gives up."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
GRACE = 3.0
"""Seconds that a worker may take to stop beyond its `drain_timeout`."""
EMBEDDED_MOST = 8
"""Workers that the connections of the embedded PostgreSQL suffice for."""


class _Worker:
    """A place among the processes, and the one that has it now. `program` and `name`: what runs there."""

    def __init__(self, number: int, name: str, program: tuple[str, ...]) -> None:
        self.number = number
        self.name = name
        self.program = program
        self.process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()
        self.started = 0.0
        self.rolling = False

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None


class Supervisor:
    """`start`, then `wait`, then `stop`, like a node; `stop` may be called at any time after `start` began."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.id = NodeId(f"{socket.gethostname()}-{secrets.token_hex(4)}")
        self.port = settings.port
        self._stack = AsyncExitStack()
        self._count = 0 if settings.role == "api" else settings.workers
        self._workers = [_Worker(number, f"worker {number}", ("relay", "worker")) for number in range(self._count)]
        self._mesh = f"materi-relay-{self.id}"
        self._shim: _Worker | None = None
        if settings.plugins:
            self._shim = _Worker(self._count, "API process", ("api_shim",))
            self._workers.insert(0, self._shim)
        self._stopping = asyncio.Event()
        self._failure: StartError | None = None
        self._roll: asyncio.Task[None] | None = None
        # A terminal that is closed sends the signal by which service managers ask for new workers.
        self._terminal = sys.stdin is not None and sys.stdin.isatty()

    async def start(self) -> None:
        """Returns once every worker serves, or when told to stop; raises StartError with what to do about it."""
        settings = self.settings
        if sys.platform != "linux":
            raise StartError("more than one process needs Linux; leave out --workers and --plugins")
        postgres, valkey = not settings.database_url, not settings.redis_url
        if postgres and settings.workers > EMBEDDED_MOST:
            raise StartError(f"the embedded PostgreSQL serves {EMBEDDED_MOST} workers; set DATABASE_URL for more")
        self._listener = self._listen()
        self._stack.callback(self._listener.close)
        self._assigned = settings
        if postgres or valkey:
            own = await embedded.start(settings.data, postgres=postgres, valkey=valkey)
            self._stack.push_async_callback(own.stop)
            self._assigned = replace(
                settings,
                database_url=settings.database_url or own.database_url,
                redis_url=settings.redis_url or own.redis_url,
            )
        self._assigned = replace(self._assigned, port=self.port)
        if self._shim is not None:
            self._assigned = replace(self._assigned, shim=shim_address(self._mesh))
        self._stack.push_async_callback(self._stop_workers)
        # From here on somebody may be connected, who wants to be told to come back.
        self._heed_signals()
        launching = spawn("launch the workers", self._launch_all(), expected=(StartError,))
        stopping = spawn("wait for a signal", self._stopping.wait())
        await asyncio.wait((launching, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not launching.done():
            launching.cancel()
            return
        launching.result()
        for worker in self._workers:
            task = spawn(f"keep {worker.name}", self._keep(worker))
            self._stack.callback(task.cancel)

    async def _launch_all(self) -> None:
        await asyncio.gather(*map(self._launch, self._workers))

    def _listen(self) -> socket.socket:
        host, port = self.settings.host, self.settings.port
        listener = None
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            if listener is not None:
                listener.close()
            raise cannot_listen(host, port, "--port", error) from None
        self.port = listener.getsockname()[1]
        return listener

    # -- workers --

    async def _launch(self, worker: _Worker) -> None:
        """Start the worker's process and wait until it serves. Raises StartError."""
        ours, theirs = socket.socketpair()
        with theirs:
            # Beside workers the shim accepts nobody: they give it what is its.
            listener = self._listener.fileno() if worker is not self._shim or not self._count else -1
            command = [sys.executable, "-m", *worker.program, "--control", str(theirs.fileno())]
            try:
                worker.process = process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *([listener] if listener >= 0 else [])),
                    start_new_session=True,  # Ctrl-C is for us, and passed on once
                )
            except OSError as error:
                ours.close()
                raise StartError(f"no worker process can be started: {error.strerror}") from None
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            assigned = self._assigned, worker.number, self._count, self._mesh
            writer.write(send(Assignment(*assigned, listener, os.getpid())))
            async with asyncio.timeout(START_PATIENCE):
                said = await reader.read(1)
                if said != READY:
                    said += await reader.read()
                    code = await process.wait()
                    raise StartError(said.decode() or f"the {worker.name} ended with {code} while it started")
        except (TimeoutError, ConnectionError) as error:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise StartError(f"the {worker.name} did not start: {error or 'it hangs'}") from None
        finally:
            writer.close()
        worker.started = asyncio.get_running_loop().time()
        worker.rolling = False
        worker.ready.set()
        log.info("process ready", extra={"who": worker.name, "pid": process.pid})

    async def _keep(self, worker: _Worker) -> None:
        """Replace the worker's process whenever it ends."""
        failures = 0
        while True:
            assert worker.process is not None
            code = await worker.process.wait()
            worker.ready.clear()
            lived = asyncio.get_running_loop().time() - worker.started
            failures = failures + 1 if lived < AT_ONCE and not worker.rolling else 0
            why = f"it ended with {code}"
            if not worker.rolling:
                log.error("process ended by itself", extra={"who": worker.name, "status": code})
            while not worker.ready.is_set():
                if failures >= MOST_FAILURES and worker is not self._shim:  # rooms live without plugins
                    self._failure = StartError(f"the {worker.name} does not stay up: {why}")
                    self._stopping.set()
                    return
                if failures:
                    await asyncio.sleep(min(FIRST_PAUSE * 2 ** min(failures, MOST_FAILURES), LONGEST_PAUSE))
                try:
                    await self._launch(worker)
                except StartError as error:
                    failures += 1
                    why = str(error)
                    log.error("process did not start", extra={"who": worker.name, "error": why})

    async def _replace_all(self) -> None:
        """One worker after another: drained, ended, started again, while the others serve."""
        for worker in self._workers:
            if worker.alive and worker.ready.is_set():
                worker.ready.clear()
                worker.rolling = True
                await self._end(worker)
            await worker.ready.wait()
        log.info("all processes replaced")

    async def _end(self, worker: _Worker) -> None:
        process = worker.process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.settings.drain_timeout + GRACE)
        except TimeoutError:
            log.warning("killed: it did not stop in time", extra={"who": worker.name, "pid": process.pid})
            process.kill()
            await process.wait()

    async def _stop_workers(self) -> None:
        await asyncio.gather(*map(self._end, self._workers))

    # -- signals --

    async def wait(self) -> None:
        """Until SIGTERM or SIGINT; a second one ends everything at once. SIGHUP replaces the workers one by one.
        Raises StartError when a worker does not stay up."""
        await self._stopping.wait()
        if self._failure is not None:
            raise self._failure

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._signalled if self._terminal else self._hung_up)

    def _signalled(self) -> None:
        if self._stopping.is_set():
            log.warning("second signal, exiting at once; edits that were acknowledged are in the journal")
            sys.stderr.flush()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        self._stopping.set()

    def _hung_up(self) -> None:
        if not self._stopping.is_set() and (self._roll is None or self._roll.done()):
            self._roll = spawn("replace the workers", self._replace_all())

    async def stop(self) -> None:
        """Drain all workers at the same time, stop what was started; bounded in time."""
        self._stopping.set()
        if self._roll is not None:
            self._roll.cancel()
        if hasattr(self, "_listener"):
            self._listener.close()
        await self._stack.aclose()
