"""A data directory, relays as processes of their own that can be killed, and proof that nothing is left."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import relay

OWNER = """
import asyncio, concurrent.futures.thread, encodings.idna, json, os, sys
from pathlib import Path
import relay.embedded, asyncpg, asyncpg.connect_utils
from relay.errors import StartError

async def main(path, uid):
    if uid:
        os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
    try:
        servers = await relay.embedded.start(Path(path), postgres=True, valkey=True)
    except StartError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    print(json.dumps({"database": servers.database_url, "redis": servers.redis_url, "pids": servers.pids}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await servers.stop()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


ROOT = Path(relay.__file__).parents[1]


@dataclass
class Owner:
    """A relay process that owns a data directory."""

    process: "subprocess.Popen[str]"
    said: dict[str, Any]

    def kill(self) -> None:
        """As the kernel or an operator would: no goodbye."""
        self.process.kill()
        self.process.wait()


@contextmanager
def _owner(path: Path, uid: int = 0) -> Iterator[Owner]:
    command = [sys.executable, "-c", OWNER, str(path), str(uid)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin
    assert process.stdout
    try:
        yield Owner(process, json.loads(process.stdout.readline() or "{}"))
        process.stdin.close()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture(scope="session")
def owner() -> Callable[..., Any]:
    """`with owner(path) as it:` runs a relay's servers in another process; leaving stops it."""
    return _owner


def _running(path: Path) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            places = (os.readlink(entry / "cwd"), (entry / "cmdline").read_bytes().decode(errors="replace"))
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        ours = any(f"{path}/" in place for place in places) or places[0] == str(path)
        if ours and state != "Z" and int(entry.name) != os.getpid():
            found.add(int(entry.name))
    return found


@pytest.fixture(scope="session")
def running() -> Callable[[Path], set[int]]:
    """The processes that run on a data directory (Linux)."""
    return _running


@pytest.fixture(scope="session")
def gone() -> Callable[..., Any]:
    """`await gone(path)` returns how many seconds it took until nothing ran there; fails after `within`."""

    async def wait(path: Path, within: float = 10.0) -> float:
        begin = time.monotonic()
        while left := _running(path):
            assert time.monotonic() - begin < within, f"still running: {left}"
            await asyncio.sleep(0.01)
        return time.monotonic() - begin

    return wait


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory that a relay made and left. Its parent is 0700: closed to the account of root's servers."""
    path = tmp_path_factory.mktemp("embedded") / "data"
    with _owner(path) as it:
        assert "error" not in it.said
    yield path
    assert not _running(path)


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not _running(tmp_path)
