"""The slot map of a real cluster, and a client that goes by it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from relay.errors import Unavailable
from relay.journal.address import Address, Place
from relay.journal.slots import Client, Slots


@pytest.fixture
async def slots(cluster: Any) -> Slots:
    slots = Slots(Address(cluster.url))
    await slots.refresh()
    return slots


@pytest.fixture
async def client(cluster: Any, slots: Slots) -> AsyncIterator[Client]:
    client = Client(Address(cluster.url), slots, "me", 2.0)
    yield client
    await client.aclose()


async def test_map_names_the_owner_of_each_key(cluster: Any, slots: Slots) -> None:
    """Every slot has one of the masters, the one that the servers say."""
    assert slots.covered
    assert slots.owners() == {Place("127.0.0.1", server.port) for server in cluster.masters}
    for key in (b"a", b"b", b"c", b"materi:{room}:epoch"):
        assert slots.owner(key) == Place("127.0.0.1", cluster.owner(key).port)


async def test_change_is_told_once(cluster: Any) -> None:
    """Whoever listens hears which slots have another owner: all at first, none when nothing changed, one that moved."""
    changes: list[set[int]] = []
    slots = Slots(Address(cluster.url), changes.append)
    await slots.refresh()
    await slots.refresh()
    assert [len(change) for change in changes] == [16384]
    other = next(place for place in slots.owners() if place != slots.of_slot(7))
    slots.moved(7, other)
    slots.moved(7, other)
    assert changes[1:] == [{7}]
    await slots.refresh()  # the servers know better
    assert changes[1:] == [{7}, {7}]


async def test_node_that_is_gone_is_not_needed(cluster: Any) -> None:
    """Any node that answers tells the map; if none does, or it is no cluster, that is said."""
    *_, last = cluster.masters
    slots = Slots(Address(f"redis+cluster://127.0.0.1:1,127.0.0.1:{last.port}"))
    await slots.refresh()
    assert slots.covered
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await Slots(Address("redis+cluster://127.0.0.1:1")).refresh()


async def test_commands_go_to_the_node_of_their_key(client: Client) -> None:
    """Keys of every node are written and read back, each by itself, in pipelines and in a scan."""
    names = [b"slots:%d" % number for number in range(30)]
    await asyncio.gather(*(client.set(name, name, px=20_000) for name in names))
    assert [await client.get(name) for name in names] == names
    pipeline = client.pipeline()
    for name in names:
        pipeline.get(name)
    assert await pipeline.execute() == names
    assert {name async for name in client.scan_iter(b"slots:*")} == set(names)
    script = client.register_script("return redis.call('GET', KEYS[1])")
    assert [await script(keys=[name]) for name in names] == names
    await client.delete(b"slots:0")
    with pytest.raises(ResponseError, match="same slot"):
        await client.mget(names)


async def test_wrong_map_is_put_right(cluster: Any, slots: Slots, client: Client) -> None:
    """A command sent to the wrong node is sent again to the right one, by itself and in a pipeline."""
    key = b"{wrong}"
    right = slots.owner(key)
    for _ in range(2):
        slots._owners[key_slot(key)] = next(place for place in slots.owners() if place != right)
        assert await client.exists(key) == 0
        assert slots.owner(key) == right
    slots._owners[key_slot(key)] = next(place for place in slots.owners() if place != right)
    pipeline = client.pipeline(transaction=False)
    pipeline.exists(key)
    pipeline.exists(key)
    assert await pipeline.execute() == [0, 0]


async def test_slot_on_the_move(cluster: Any, slots: Slots, client: Client) -> None:
    """While a slot moves, keys are found on either side, also by scripts, and made on the new one."""
    key = b"{on the move}"
    source = cluster.owner(key)
    target = next(server for server in cluster.masters if server is not source)
    slot = key_slot(key)
    script = client.register_script("return redis.call('INCR', KEYS[1])")
    assert await script(keys=[key]) == 1
    cluster.begin_move(slot, source, target)
    try:
        assert await script(keys=[key]) == 2
        assert cluster.move_keys(slot, source, target) == 1
        for count in range(3, 12):  # over more connections than one
            assert await script(keys=[key]) == count
        assert await asyncio.gather(*(client.exists(key) for _ in range(8))) == [1] * 8
        assert slots.owner(key) == Place("127.0.0.1", source.port)
        await client.set(b"{on the move}2", b"x", px=20_000)
    finally:
        cluster.finish_move(slot, source, target)
    assert await client.get(key) == b"11"
    assert slots.owner(key) == Place("127.0.0.1", target.port)
    await client.delete(key)
    cluster.begin_move(slot, target, source)
    cluster.move_keys(slot, target, source)
    cluster.finish_move(slot, target, source)


async def test_nobody_there() -> None:
    """With no node to ask, a command fails with redis-py's error."""
    address = Address("redis+cluster://127.0.0.1:1")
    client = address.client("me", 1.0)
    with pytest.raises(RedisError):
        await client.get(b"a")
    await client.aclose()
