"""A `relay serve` in a process of its own, for tests that mistreat it; nothing of the relay is imported here."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import pytest

START_TIMEOUT = 60.0
_SAMPLE = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)


class Relay:
    """A `relay serve` on a port and a data directory that outlive it. `services`: DATABASE_URL and REDIS_URL;
    `host`: where it listens; `prefix`: the command that runs it elsewhere."""

    def __init__(
        self,
        directory: Path,
        flags: tuple[str, ...],
        services: Mapping[str, str] | None = None,
        *,
        host: str = "127.0.0.1",
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.host = host
        self._prefix = prefix
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"ws://{host}:{self.port}"
        self.log = directory / "relay.log"
        self.data = directory / "data"
        self.services = dict(services or {})
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and return when the relay says that it is ready."""
        command = [*self._prefix, sys.executable, "-m", "relay", "serve"]
        command += ["--host", self.host, "--port", str(self.port)]
        command += ["--data", str(self.data), *self._flags]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment()
            )
        deadline = time.monotonic() + START_TIMEOUT
        while self.get("/readyz")[0] != 200:
            if self._process.poll() is not None:
                pytest.fail(f"relay ended with {self._process.returncode} while starting\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"relay was not ready within {START_TIMEOUT} s\n{self.tail()}")
            time.sleep(0.05)

    def environment(self) -> dict[str, str]:
        """What the relay and its commands get of ours: no settings, but where the services are."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_")}
        environment = {k: v for k, v in environment.items() if k not in {"DATABASE_URL", "REDIS_URL", "PORT"}}
        return environment | self.services

    def get(self, path: str) -> tuple[int, str]:
        """An HTTP GET: status and body; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, HTTPException):
            return 0, ""

    def metrics(self, query: str = "") -> dict[str, float]:
        """Every sample of /metrics by name and labels, as they are written there."""
        status, text = self.get(f"/metrics{query}")
        assert status == 200, self.tail()
        return {name: float(value) for name, value in _SAMPLE.findall(text)}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def rss(self) -> int:
        """Bytes of memory that the process holds, without its children."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def descendants(self) -> dict[int, str]:
        """The processes below it and their names."""
        found = {}
        for pid in descendants(self.pid):
            try:
                found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                pass
        return found

    def terminate(self) -> None:
        """SIGTERM, and nothing else."""
        assert self._process is not None
        self._process.terminate()

    def wait(self, timeout: float) -> int:
        """Its exit status. Fails when it is still there after `timeout` seconds."""
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill(children=True)
            pytest.fail(f"relay did not end within {timeout} s\n{self.tail()}")

    def kill(self, *, children: bool = False) -> None:
        """kill -9 of the relay; of its databases and codec processes in the same moment with `children`."""
        assert self._process is not None
        below = descendants(self._process.pid)
        self._process.kill()
        for pid in below if children else ():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM; SIGKILL for whatever is left a while later. Fails when the relay did not stop cleanly."""
        if self._process is None or self._process.poll() is not None:
            return
        below = descendants(self._process.pid)
        self._process.terminate()
        try:
            code = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill(children=True)
            pytest.fail(f"relay did not stop within 60 s of SIGTERM\n{self.tail()}")
        if left := still_there(below, 10):
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"relay left processes behind: {left}\n{self.tail()}")
        assert code == 0, f"relay stopped with {code}\n{self.tail()}"

    def tail(self, lines: int = 20) -> str:
        """The end of the relay's log; long lines keep both ends, a traceback's last line among them."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(x if len(x) < 600 else f"{x[:200]} … {x[-400:]}" for x in text.splitlines()[-lines:])


def still_there(pids: list[int], within: float) -> list[int]:
    """Those of `pids` that have not ended after `within` seconds; returns as soon as all have."""
    deadline = time.monotonic() + within
    while (left := [pid for pid in pids if _alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def descendants(pid: int) -> list[int]:
    """A process's children, their children, and so on; those that end meanwhile may be missing."""
    found: list[int] = []
    try:
        children = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    for child in map(int, " ".join(children).split()):
        found += [child, *descendants(child)]
    return found


def command_line(pid: int) -> list[bytes]:
    """What a process was started with; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
