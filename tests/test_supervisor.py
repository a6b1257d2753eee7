"""Workers are started, replaced, given up on and stopped. (What clients see of it is in faults/test_workers.py.)"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fakes import until
from relay_process import still_there

from relay import supervisor as module
from relay.errors import StartError
from relay.settings import Settings
from relay.supervisor import Supervisor

PRELUDE = """#!{python}
import os, signal, socket, sys, time
control = socket.socket(fileno=int(sys.argv[-1]))
length = int.from_bytes(control.recv(4, socket.MSG_WAITALL), "big")
control.recv(length, socket.MSG_WAITALL)
with open({log!r}, "a") as log:
    print(os.getpid(), file=log)
starts = [int(line) for line in open({log!r})].index(os.getpid()) + 1
"""
PYTHON = sys.executable
SERVES = 'control.send(b"\\1"); signal.sigtimedwait([signal.SIGUSR1], 20)'


class Workers:
    """Workers that are scripts, and who was started."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = directory / "started"
        self.log.touch()
        self._program = directory / "worker"
        self._monkeypatch = monkeypatch
        self._supervisors: list[Supervisor] = []

    async def start(self, script: str, **settings: Any) -> Supervisor:
        """A supervisor of workers that run `script`, where `starts` is its place among all that were started."""
        self._program.write_text(PRELUDE.format(python=PYTHON, log=str(self.log)) + script)
        self._program.chmod(0o700)
        self._monkeypatch.setattr(module.sys, "executable", str(self._program))
        given = {"port": 0, "workers": 2, "database_url": "postgresql://h", "redis_url": "redis://h"} | settings
        supervisor = Supervisor(Settings(**given))
        self._supervisors.append(supervisor)
        await supervisor.start()
        return supervisor

    def pids(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()]

    async def stop(self) -> None:
        for supervisor in self._supervisors:
            await supervisor.stop()
        assert still_there(self.pids(), 10) == []


@pytest.fixture
async def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    made = Workers(tmp_path, monkeypatch)
    yield made
    await made.stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.remove_signal_handler(number)


async def test_start_and_stop(workers: Workers) -> None:
    """Started means that all serve; stopped that none is left, and the port is free."""
    supervisor = await workers.start(SERVES, workers=3)
    assert len(workers.pids()) == 3
    await supervisor.stop()
    assert still_there(workers.pids(), 0) == []
    socket.create_server(("127.0.0.1", supervisor.port)).close()


async def test_reason_for_not_starting(workers: Workers) -> None:
    """A worker's reason is the supervisor's; one that just ends is told by its status."""
    with pytest.raises(StartError, match=r"^is REDIS_URL right\?$"):
        await workers.start('control.send(b"is REDIS_URL right?")')
    with pytest.raises(StartError, match="ended with 3 while it started"):
        await workers.start("sys.exit(3)")


async def test_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be started at all is a reason, too."""
    supervisor = Supervisor(Settings(port=0, workers=2, database_url="postgresql://h", redis_url="redis://h"))
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")
    with pytest.raises(StartError, match="no worker process can be started"):
        await supervisor.start()
    await supervisor.stop()


async def test_hangs_at_start(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that never gets ready stops the start."""
    monkeypatch.setattr(module, "START_PATIENCE", 0.5)
    with pytest.raises(StartError, match="did not start"):
        await workers.start("time.sleep(20)")


async def test_told_to_stop_at_start(workers: Workers) -> None:
    """A signal while some serve already and some do not yet: all are ended."""
    loop = asyncio.get_running_loop()
    starting = loop.create_task(workers.start('control.send(b"\\1") if starts == 1 else 0; time.sleep(20)'))
    await until(lambda: len(workers.pids()) == 2)
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        supervisor = await starting
        await supervisor.wait()
        await supervisor.stop()
    assert still_there(workers.pids(), 0) == []


async def test_replaces_who_died(workers: Workers) -> None:
    """Another takes the place of a worker that was killed."""
    await workers.start(SERVES)
    os.kill(workers.pids()[0], signal.SIGKILL)
    await until(lambda: len(workers.pids()) == 3)


async def test_gives_up(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies again and again ends it all, with its number and its status."""
    monkeypatch.setattr(module, "MOST_FAILURES", 3)
    monkeypatch.setattr(module, "AT_ONCE", 60.0)
    supervisor = await workers.start('control.send(b"\\1"); sys.exit(7) if starts != 1 else time.sleep(20)')
    with pytest.raises(StartError, match=r"worker \d does not stay up: it ended with 7"):
        async with asyncio.timeout(20):
            await supervisor.wait()
    assert len(workers.pids()) == 4


async def test_tries_again(workers: Workers) -> None:
    """A worker that can't start for a while, since a service is away, is started when it can."""
    script = f"sys.exit(5) if 2 < starts < 6 else None\n{SERVES}"
    supervisor = await workers.start(script)
    os.kill(workers.pids()[1], signal.SIGKILL)
    await until(lambda: len(workers.pids()) == 6)
    await until(lambda: all(worker.ready.is_set() for worker in supervisor._workers))


async def test_replace_all(workers: Workers) -> None:
    """SIGHUP replaces each, one after the other."""
    supervisor = await workers.start(SERVES)
    first = workers.pids()
    waiting = asyncio.get_running_loop().create_task(supervisor.wait())
    await asyncio.sleep(0)
    signal.raise_signal(signal.SIGHUP)
    serving = []
    async with asyncio.timeout(20):
        while still_there(first, 0) or len(workers.pids()) < 4:
            serving.append(sum(worker.ready.is_set() for worker in supervisor._workers))
            await asyncio.sleep(0.001)
    assert min(serving) == 1
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await waiting


async def test_will_not_stop(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ignores SIGTERM is killed."""
    monkeypatch.setattr(module, "GRACE", 0.1)
    supervisor = await workers.start(f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVES}", drain_timeout=0.1)
    started = time.monotonic()
    await supervisor.stop()
    assert 0.2 <= time.monotonic() - started < 10


async def test_port_taken() -> None:
    """A port that somebody else has is a reason that a person can act on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        supervisor = Supervisor(Settings(port=taken.getsockname()[1], workers=2))
        with pytest.raises(StartError, match="--port"):
            await supervisor.start()
        await supervisor.stop()


async def test_too_many_for_embedded() -> None:
    """The embedded PostgreSQL has connections for so many."""
    supervisor = Supervisor(Settings(port=0, workers=9))
    with pytest.raises(StartError, match="DATABASE_URL"):
        await supervisor.start()
    await supervisor.stop()
