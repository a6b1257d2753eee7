"""A plugin's corner of Redis: bytes by key, with a time to live. What is here may be gone at any moment."""

from typing import Any

from redis.exceptions import RedisError

from relay.errors import Unavailable

__all__ = ["Cache"]


class Cache:
    """Keys of one plugin, below `materi:plugin:<name>:`. Every call raises Unavailable when Redis is away."""

    def __init__(self, redis: Any, plugin: str) -> None:
        self._redis = redis
        self._prefix = f"materi:plugin:{plugin}:"

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        return await self._run(self._redis.get(self._prefix + key))  # type: ignore[no-any-return]

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep a value for `ttl` seconds."""
        await self._run(self._redis.set(self._prefix + key, value, px=max(1, int(ttl * 1000))))

    async def add(self, key: str, value: bytes, ttl: float) -> bool:
        """Keep a value unless there is one; whether it was kept. For nonces, and for whoever is first."""
        return bool(await self._run(self._redis.set(self._prefix + key, value, px=max(1, int(ttl * 1000)), nx=True)))

    async def count(self, key: str, ttl: float) -> int:
        """Raise a counter that ends `ttl` seconds after it began; what it is now."""
        await self.add(key, b"0", ttl)
        return int(await self._run(self._redis.incr(self._prefix + key)))

    async def take(self, key: str) -> bytes | None:
        """The value, which is gone then: for what may be used once."""
        return await self._run(self._redis.getdel(self._prefix + key))  # type: ignore[no-any-return]

    async def delete(self, *keys: str) -> None:
        """Forget values."""
        for key in keys:  # each by itself: in a cluster they are on several nodes
            await self._run(self._redis.delete(self._prefix + key))

    async def _run(self, command: Any) -> Any:
        try:
            return await command
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
