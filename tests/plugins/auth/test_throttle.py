"""Guessing is slowed down."""

import asyncio
import uuid

from redis.asyncio import Redis

from plugins.auth import throttle as module
from plugins.auth.throttle import Rule, Throttle


async def test_waits_double(valkey) -> None:
    """After the free attempts each wait is twice the one before, up to the longest, and forgetting ends it."""
    redis = Redis.from_url(valkey.url)
    throttle, rule, whose = Throttle(redis), Rule("test", 3, module.FIRST_WAIT * 3), uuid.uuid4().hex
    assert [await throttle.attempt(rule, whose) for _ in range(2)] == [0, 0]
    for times in (1, 2, 3, 3):
        assert await throttle.attempt(rule, whose) == 0
        wait = await throttle.attempt(rule, whose)
        assert times - 0.5 < wait / module.FIRST_WAIT <= times
        await redis.hincrby(module._key(rule, whose), "until", -round(wait * 1e3))  # as if that time had passed
    assert await throttle.attempt(rule, "somebody else") == 0
    await throttle.forget(rule, whose)
    assert await throttle.attempt(rule, whose) == 0
    await redis.aclose()


async def test_many_at_once(valkey) -> None:
    """Attempts that are made at once are counted before any of them is decided."""
    redis = Redis.from_url(valkey.url)
    throttle, rule, whose = Throttle(redis), Rule("test", 5, 60.0), uuid.uuid4().hex
    waits = await asyncio.gather(*(throttle.attempt(rule, whose) for _ in range(50)))
    assert sum(wait == 0 for wait in waits) == 5
    await redis.aclose()


async def test_undone(valkey) -> None:
    """An attempt that was none gives one back."""
    redis = Redis.from_url(valkey.url)
    throttle, rule, whose = Throttle(redis), Rule("test", 3, 60.0), uuid.uuid4().hex
    for _ in range(10):
        assert await throttle.attempt(rule, whose) == 0
        await throttle.undo(rule, whose)
    await redis.aclose()


async def test_redis_away() -> None:
    """Without Redis a process counts for itself."""
    throttle, rule = Throttle(Redis.from_url("unix:///nowhere")), Rule("test", 3, 60.0)
    assert [await throttle.attempt(rule, "ada") for _ in range(3)] == [0, 0, 0]
    assert 0 < await throttle.attempt(rule, "ada") <= module.FIRST_WAIT
    await throttle.forget(rule, "ada")
    assert await throttle.attempt(rule, "ada") == 0
