"""A plugin's corner of Redis."""

import asyncio

import pytest
from conftest import Valkey

from api_shim.cache import Cache
from relay.errors import Unavailable
from relay.journal.address import Address


async def test_values(valkey: Valkey) -> None:
    """Kept for their time, apart from other plugins'; added once, taken once, counted."""
    redis = Address(valkey.url).client("test", 5.0)
    mine, other = Cache(redis, "cache-a"), Cache(redis, "cache-b")
    await mine.set("key", b"value", 60)
    assert (await mine.get("key"), await other.get("key")) == (b"value", None)
    assert await mine.add("nonce", b"1", 60)
    assert not await mine.add("nonce", b"2", 60)
    assert [await mine.count("hits", 60) for _ in range(3)] == [1, 2, 3]
    assert (await mine.take("key"), await mine.take("key")) == (b"value", None)
    await mine.set("short", b"", 0.05)
    await asyncio.sleep(0.1)
    assert await mine.get("short") is None
    await mine.delete("nonce", "hits", "never")
    assert await mine.get("nonce") is None
    await redis.aclose()


async def test_redis_away(tmp_path: object) -> None:
    """Says so."""
    redis = Address(f"unix://{tmp_path}/nothing").client("test", 0.5)
    with pytest.raises(Unavailable):
        await Cache(redis, "x").get("key")
    await redis.aclose()
