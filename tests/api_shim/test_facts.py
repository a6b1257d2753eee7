"""Each plugin hears at its own pace, at least once; one that keeps failing is left alone for a while."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import Valkey
from fakes import until

from api_shim import facts as module
from api_shim.facts import Listener
from api_shim.metrics import ApiMetrics
from api_shim.plugin import Plugin
from relay.crossing.facts import KEY, Facts
from relay.hooks import Joined, RoomClosed, RoomOpened
from relay.journal.address import Address
from relay.metrics import Metrics
from relay.types import NodeId, RoomId


class Ears(Plugin):
    """Notes what it hears; `fails` says on how many facts it fails first, `hangs` that it never returns."""

    name = "ears"

    def __init__(self, fails: int = 0, hangs: bool = False) -> None:
        self.heard: list[object] = []
        self.fails = fails
        self.hangs = hangs

    async def on_room_opened(self, fact: RoomOpened) -> None:
        self.heard.append(fact)
        if self.hangs:
            await asyncio.sleep(60)
        if self.fails > 0:
            self.fails -= 1
            raise ValueError("as tested")

    async def on_room_closed(self, fact: RoomClosed) -> None:
        self.heard.append(fact)


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Any]:
    client = Address(valkey.url).client("test", 5.0)
    await client.delete(KEY)
    yield client
    await client.delete(KEY)
    await client.aclose()


@pytest.fixture
async def facts(valkey: Valkey, redis: Any) -> AsyncIterator[Facts]:
    made = Facts(valkey.url, NodeId("n"), Metrics().counters)
    yield made
    await made.close()


def opened(number: int) -> RoomOpened:
    return RoomOpened(RoomId(f"room-{number}"), number)


async def test_in_order_and_only_what_is_for_it(redis: Any, facts: Facts) -> None:
    """Facts arrive in the order they were told, each at its hook; others' are passed over, and garbage too."""
    ears = Ears()
    listener = Listener(ears, redis, ApiMetrics())
    listener.start()
    await until(lambda: listener.listening, 5)
    facts.tell(opened(1))
    facts.tell(Joined(RoomId("x"), "a", "", "", False))  # type: ignore[arg-type]
    await redis.xadd(KEY, {"fact": b"garbage"})
    await redis.xadd(KEY, {"other": b""})
    facts.tell(RoomClosed(RoomId("room-1"), 5))
    await until(lambda: len(ears.heard) == 2, 5)
    assert ears.heard == [opened(1), RoomClosed(RoomId("room-1"), 5)]
    await listener.close()


async def test_what_was_told_meanwhile_is_heard(redis: Any, facts: Facts) -> None:
    """A plugin that was away hears what it missed; two that listen don't take from each other."""
    first, second = Ears(), Ears()
    listeners = [Listener(first, redis, ApiMetrics())]
    other = type("Other", (Ears,), {"name": "other"})()
    listeners.append(Listener(other, redis, ApiMetrics()))
    for listener in listeners:
        listener.start()
    await until(lambda: all(listener.listening for listener in listeners), 5)
    for listener in listeners:
        await listener.close()
    facts.tell(opened(1))
    await facts.close()
    again = Listener(second, redis, ApiMetrics())
    again.start()
    await until(lambda: second.heard, 5)
    assert second.heard == [opened(1)]
    assert first.heard == []
    await again.close()


async def test_taken_and_not_handled(redis: Any, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process took and died with another handles."""
    monkeypatch.setattr(module, "ABANDONED_MS", 10)
    monkeypatch.setattr(module, "BLOCK_MS", 50)
    hangs = Ears(hangs=True)
    hanging = Listener(hangs, redis, ApiMetrics())
    hanging.start()
    await until(lambda: hanging.listening, 5)
    facts.tell(opened(1))
    await until(lambda: hangs.heard, 5)
    await hanging.close()
    ears = Ears()
    listener = Listener(ears, redis, ApiMetrics())
    listener.start()
    await until(lambda: ears.heard, 5)
    assert ears.heard == [opened(1)]
    await listener.close()


async def test_circuit(redis: Any, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """After failures in a row a plugin rests, and says so in the metrics; then it is told on from there."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.3)
    metrics, ears = ApiMetrics(), Ears(fails=module.TRIPS)
    listener = Listener(ears, redis, metrics)
    listener.start()
    await until(lambda: listener.listening, 5)
    for number in range(module.TRIPS + 2):
        facts.tell(opened(number))
    await until(lambda: metrics.plugins_resting.get("ears"), 5)
    assert len(ears.heard) == module.TRIPS
    await until(lambda: len(ears.heard) == module.TRIPS + 2, 5)
    assert metrics.plugins_resting["ears"] == 0
    assert metrics.plugin_failures["ears", "on_room_opened"] == module.TRIPS
    await listener.close()


async def test_hanging(redis: Any, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that hangs on a fact is told the next after a deadline."""
    monkeypatch.setattr(module, "DEADLINE", 0.1)
    ears = Ears(hangs=True)
    listener = Listener(ears, redis, ApiMetrics())
    listener.start()
    await until(lambda: listener.listening, 5)
    facts.tell(opened(1))
    facts.tell(opened(2))
    await until(lambda: len(ears.heard) == 2, 5)
    await listener.close()


async def test_redis_comes_back_empty(redis: Any, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream and its groups may be gone: they are made again."""
    monkeypatch.setattr(module, "RETRY", 0.05)
    monkeypatch.setattr(module, "BLOCK_MS", 100)
    ears = Ears()
    listener = Listener(ears, redis, ApiMetrics())
    listener.start()
    await until(lambda: listener.listening, 5)
    await redis.delete(KEY)
    async with asyncio.timeout(10):
        while not await redis.exists(KEY):
            await asyncio.sleep(0.01)
    facts.tell(opened(1))
    await until(lambda: ears.heard, 5)
    await listener.close()
