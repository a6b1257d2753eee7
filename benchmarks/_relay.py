"""A `relay serve` to measure: in a process of its own, on a directory of its own, seen from outside."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Relay", "cpu_seconds"]

PATIENCE = 60.0
"""Seconds for it to get ready, and to stop."""
_SAMPLE = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that these processes have used so far, to the nanosecond."""
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3)
        except OSError:
            pass
    return total


class Relay:
    """Running as long as its `with` block; `restart` starts another process on the same data.

    flags: of `relay serve`. The embedded PostgreSQL and Valkey are its children, or those of its supervisor.
    """

    def __init__(self, *flags: str) -> None:
        self.flags = flags
        self.directory = Path(tempfile.mkdtemp(prefix="relay-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> float:
        """Start, and return when `/readyz` says so: the seconds that took."""
        command = [sys.executable, "-m", "relay", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--data", str(self.directory / "data"), "--max-connections-per-address", "0", *self.flags]
        plain = {"DATABASE_URL", "REDIS_URL", "PORT"}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_") and k not in plain}
        started = time.perf_counter()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=self.directory
            )
        while not self._ready():
            if self._process.poll() is not None or time.perf_counter() - started > PATIENCE:
                raise SystemExit(f"the relay did not start\n{self.log()[-4000:]}")
            time.sleep(0.005)
        return time.perf_counter() - started

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """As an operator would; what is left of it after a minute is killed."""
        if self._process is None:
            return
        below = self.below()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            for pid in (self._process.pid, *below):
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            self._process.wait()
        self._process = None

    def restart(self, *flags: str) -> float:
        """Stop, and start on the same data with other flags."""
        self.stop()
        self.flags = flags
        return self.start()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by name and labels, as they are written there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            return {name: float(value) for name, value in _SAMPLE.findall(answer.read().decode())}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def rss(self, what: str = "VmRSS") -> int:
        """Bytes of memory that the process holds, without its children; `VmHWM`: the most that it ever held."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{what}:")[2].split()[0]) * 1024

    def below(self) -> dict[int, str]:
        """The processes below it, and their command lines."""
        found: dict[int, str] = {}
        above = [self.pid]
        while above:
            for path in Path(f"/proc/{above.pop()}/task").glob("*/children"):
                try:
                    for pid in map(int, path.read_text().split()):
                        found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
                        above.append(pid)
                except OSError:
                    pass  # ended meanwhile
        return found

    def codecs(self) -> list[int]:
        """Its codec processes."""
        return [pid for pid, command in self.below().items() if "relay.codec.worker" in command]

    def workers(self) -> list[int]:
        """The processes that serve clients."""
        return [pid for pid, command in self.below().items() if "-m relay worker" in command] or [self.pid]

    def services(self) -> list[int]:
        """Its PostgreSQL and its Valkey."""
        return [pid for pid, command in self.below().items() if "postgres" in command or "valkey" in command]
