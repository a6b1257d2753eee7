"""Processes of a run that must not outlive it: a relay on temporary data, and locust."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["NotReady", "child", "relay"]

PATIENCE = 60.0
"""Seconds for a relay to get ready."""
GOODBYE = 30.0
"""Seconds for a process to end after SIGTERM."""
ROOT = Path(__file__).parent.parent


class NotReady(Exception):
    """The relay did not start; says why."""


@contextlib.contextmanager
def child(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own. At the end of the block it and all that it started are gone."""
    output = log.open("ab") if log else None
    try:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    finally:
        if output:
            output.close()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GOODBYE)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def relay(*flags: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a relay of our own, on a free loopback port and temporary data. Raises NotReady."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory = Path(tempfile.mkdtemp(prefix="load-"))
    command = [sys.executable, "-m", "relay", "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data", str(directory / "data"), "--max-connections-per-address", "0", *flags]
    elsewhere = {"DATABASE_URL", "REDIS_URL", "PORT"}
    settings = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_") and k not in elsewhere}
    try:
        with child(command, environment=settings | dict(environment or {}), log=directory / "log") as process:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, directory / "log")
            yield url
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotReady("\n".join(log.read_text(errors="replace").splitlines()[-20:]))
        time.sleep(0.1)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
