"""Where commands find the embedded services: running ones, or their own for the duration."""

import os
import subprocess
import sys
from pathlib import Path

from relay import embedded
from relay.embedded.datadir import running


def command(data: Path, *arguments: str, code: int = 0, **more: str) -> "subprocess.CompletedProcess[str]":
    env = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_") and k not in ("DATABASE_URL", "REDIS_URL")}
    done = subprocess.run(
        [sys.executable, "-m", "relay", "rooms", *arguments, "--data", str(data)],
        env=env | more,
        capture_output=True,
        text=True,
        timeout=60,
        input="",
    )
    assert done.returncode == code, done.stderr
    return done


async def test_services_running_or_not(tmp_path: Path) -> None:
    """A command uses the servers that run on the directory, starts and stops them when none do, and makes none up."""
    data = tmp_path / "data"
    assert "holds no documents" in command(data, "list", code=1).stderr
    assert not data.exists()
    async with await embedded.start(data, postgres=True, valkey=True) as servers:
        assert running(data) == (servers.database_url, servers.redis_url)
        command(data, "quarantine", "a room", "--reason", "test")
    assert running(data) is None
    listed = command(data, "list").stdout
    assert "a room" in listed
    assert "test" in listed
    assert running(data) is None


async def test_services_of_another_kind(tmp_path: Path) -> None:
    """When the relay on the directory has a database of its own, a command wants to know it too."""
    async with await embedded.start(tmp_path / "data", postgres=False, valkey=True) as servers:
        assert running(tmp_path / "data") == ("", servers.redis_url)
        assert "DATABASE_URL" in command(tmp_path / "data", "list", code=1).stderr
