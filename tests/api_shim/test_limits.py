"""Rate limits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from api_shim.limits import PREFIX, Limit, Limits, network
from api_shim.metrics import ApiMetrics
from relay.grants import Principal
from relay.types import Actor


@pytest.fixture
async def redis(valkey: Any) -> AsyncIterator[Redis]:
    client = Redis.from_url(valkey.url)
    yield client
    await client.aclose()


def somebody() -> Principal:
    return Principal(Actor(str(uuid4())), "", None)


def limits(redis: Redis | None, **changes: Any) -> Limits:
    """Time stands still for what was taken ahead; a token comes back in Redis after 20 s."""
    known = Limit("default", rate=0.05, burst=200)
    return Limits(redis, ApiMetrics(), **{"known": known, "timeout": 10.0, "clock": lambda: 0.0} | changes)


async def test_burst_is_allowed_and_no_more(redis: Redis) -> None:
    """Two processes, many requests at once: exactly the limit together."""
    who, processes = somebody(), [limits(redis), limits(redis)]
    taken = await asyncio.gather(*(processes[n % 2].take(who, "", 1) for n in range(300)))
    # What one process took ahead and did not spend is lost to the other.
    assert 190 <= sum(one is not None and one.allowed for one in taken) <= 200


async def test_one_process_gets_every_token(redis: Redis) -> None:
    """What was taken ahead is spent; then it says how long to wait."""
    one, who = limits(redis), somebody()
    taken = [await one.take(who, "", 1) for _ in range(201)]
    assert all(each is not None and each.allowed for each in taken[:200])
    refused = taken[200]
    assert refused is not None
    assert not refused.allowed
    assert 0 < refused.wait <= 20
    assert refused.reset > 3500


async def test_tokens_come_back(redis: Redis) -> None:
    """After the wait that was told, a token is there."""
    now = 0.0
    one, who = limits(redis, known=Limit("default", rate=0.01, burst=2), clock=lambda: now), somebody()
    assert [each.allowed for each in [await one.take(who, "", 1) for _ in range(3)] if each] == [True, True, False]
    refused = await one.take(who, "", 1)
    assert refused is not None
    for part, allowed in ((0.5, False), (0.51, True)):
        now += refused.wait * part
        await redis.decrby(f"{PREFIX}a:{who.actor}", round(refused.wait * part * 1e6))  # as if it had passed there too
        again = await one.take(who, "", 1)
        assert again is not None
        assert again.allowed is allowed


async def test_left_counts_down(redis: Redis) -> None:
    """Also through what was taken ahead; headers say it."""
    one, who = limits(redis), somebody()
    taken = [await one.take(who, "", 1) for _ in range(20)]
    assert [each.left for each in taken if each] == list(range(199, 179, -1))
    assert taken[0] is not None
    assert taken[0].limit.policy == '"default";q=200;w=4000'
    assert taken[0].header.startswith('"default";r=199;t=')


async def test_cost_is_taken(redis: Redis) -> None:
    """A costly request takes more; one that costs more than there ever is takes all."""
    one, who = limits(redis), somebody()
    for cost, allowed in ((150, True), (51, False), (1, True)):
        taken = await one.take(who, "", cost)
        assert taken is not None
        assert taken.allowed is allowed
    other = await one.take(somebody(), "", 10_000)
    assert other is not None
    assert (other.allowed, other.left) == (True, 0)


async def test_anonymous_counts_by_address(redis: Redis) -> None:
    """Each address has its own; one network of IPv6 is one."""
    one = limits(redis, anonymous=Limit("anonymous", rate=0.01, burst=1))
    address = f"2001:db8:{uuid4().hex[:4]}:1::"
    allowed = [await one.take(None, address + suffix, 1) for suffix in ("1", "2")]
    assert [each.allowed for each in allowed if each] == [True, False]


async def test_redis_away_allows_and_counts(own_valkey: Any) -> None:
    """Nobody is held up for longer than the timeout, and then not at all for a while."""
    client = Redis.from_url(own_valkey.url)
    one = limits(client, timeout=0.25)
    own_valkey.kill()
    for _ in range(3):
        assert await one.take(somebody(), "", 1) is None
    assert one._metrics.limits == {"unavailable": 3}
    own_valkey.start()
    async with asyncio.timeout(10):
        while await one.take(somebody(), "", 1) is None:  # it may still be loading
            one._away_until = 0.0
    await client.aclose()


async def test_no_redis_is_no_limit() -> None:
    """Nothing is counted."""
    assert await limits(None).take(somebody(), "", 1) is None


def test_network() -> None:
    """IPv4 as it is, mapped too; IPv6 by 64 bits; anything else as text."""
    assert network("192.0.2.1") == network("::ffff:192.0.2.1") == "192.0.2.1"
    assert network("2001:db8::1") == network("2001:db8::ffff:1") == "2001:db8::"
    assert network("unix") == "unix"
