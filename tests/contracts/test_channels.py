"""Channels between relays: what both adapters promise."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fakes import until
from redis.crc import key_slot

from relay.errors import Unavailable
from relay.journal.keys import channel_key
from relay.shard import Channels
from relay.shard.memory import MemoryChannels, Switchboard
from relay.shard.redis import RedisChannels
from relay.types import NodeId, RoomId

Said = list[tuple[RoomId, NodeId, bytes]]
Make = Callable[[str], tuple[Channels, Said]]


@pytest.fixture(params=["memory", "redis", "cluster"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    board = Switchboard()
    made: list[Channels] = []

    def node(name: str) -> tuple[Channels, Said]:
        said: Said = []

        def heard(*message: Any) -> None:
            said.append(message)

        channels: Channels
        if request.param == "memory":
            channels = MemoryChannels(board, NodeId(name), heard)
        else:
            server = request.getfixturevalue("valkey" if request.param == "redis" else "cluster")
            channels = RedisChannels(server.url, NodeId(name), heard)
        made.append(channels)
        return channels, said

    yield node
    for channels in made:
        await channels.close()


@pytest.mark.parametrize("name", ["plain", "with/slash and {braces} %7B", "emoji 😀"])
async def test_others_in_the_room_hear(make: Make, name: str) -> None:
    """A message reaches the others that listen in that room, with its sender's name, and not the sender."""
    room, other = RoomId(name), RoomId("another")
    (ada, ada_heard), (bob, bob_heard), (eve, eve_heard) = make("ada"), make("bob"), make("eve")
    await ada.listen(room)
    await bob.listen(room)
    await eve.listen(other)
    assert await ada.tell(room, b"\0binary\xff") == 1
    await until(lambda: bob_heard)
    assert bob_heard == [(room, "ada", b"\0binary\xff")]
    assert ada_heard == eve_heard == []


async def test_nobody_else(make: Make) -> None:
    """Somebody alone in a room is told so, also when it does not listen itself."""
    ada, _ = make("ada")
    assert await ada.tell(RoomId("quiet"), b"x") == 0
    await ada.listen(RoomId("quiet"))
    assert await ada.tell(RoomId("quiet"), b"x") == 0


async def test_stopped(make: Make) -> None:
    """Who has stopped listening hears no more, and is not counted."""
    room = RoomId("left")
    (ada, _), (bob, bob_heard) = make("ada"), make("bob")
    await bob.listen(room)
    await bob.stop(room)
    await bob.stop(room)

    async with asyncio.timeout(10):
        while await ada.tell(room, b"x"):
            await asyncio.sleep(0.01)
    bob_heard.clear()
    assert await ada.tell(room, b"x") == 0
    assert bob_heard == []


async def test_many_rooms_at_once(make: Make) -> None:
    """Hundreds of rooms opened together are all listened to."""
    (ada, _), (bob, bob_heard) = make("ada"), make("bob")
    rooms = [RoomId(f"many {number}") for number in range(300)]
    await asyncio.gather(*(bob.listen(room) for room in rooms))
    for room in rooms:
        assert await ada.tell(room, b"x") == 1
    await until(lambda: len(bob_heard) == 300)


async def test_redis_killed_and_back(own_valkey: Any) -> None:
    """After the server was gone the channels are listened to again, and the owner is told to look for itself."""
    said: Said = []
    resets: list[bool] = []
    bob = RedisChannels(own_valkey.url, NodeId("bob"), lambda *heard: said.append(heard), lambda: resets.append(True))
    ada = RedisChannels(own_valkey.url, NodeId("ada"), lambda *heard: None)
    room = RoomId("room")
    await bob.listen(room)
    own_valkey.kill()
    with pytest.raises(Unavailable):
        await ada.tell(room, b"x")
    own_valkey.start()
    await until(lambda: resets, 10)
    async with asyncio.timeout(10):
        while await ada.tell(room, b"y") != 1:
            await asyncio.sleep(0.02)
    await until(lambda: (room, "ada", b"y") in said)
    await ada.close()
    await bob.close()


async def test_slot_moves(cluster: Any) -> None:
    """In a cluster, a room whose slot has another owner is listened to there, and the owner is told to look."""
    said: Said = []
    resets: list[bool] = []
    bob = RedisChannels(cluster.url, NodeId("bob"), lambda *heard: said.append(heard), lambda: resets.append(True))
    ada = RedisChannels(cluster.url, NodeId("ada"), lambda *heard: None)
    room, other = RoomId("channel on the move"), RoomId("another")
    key = channel_key(room)
    slot, source = key_slot(key), cluster.owner(key)
    target = next(server for server in cluster.masters if server is not source)
    for name in (room, other):
        await bob.listen(name)
        await ada.listen(name)
    for here, there in ((source, target), (target, source)):
        resets.clear()
        cluster.begin_move(slot, here, there)
        cluster.finish_move(slot, here, there)
        await until(lambda: resets)
        said.clear()
        async with asyncio.timeout(5):
            while await ada.tell(room, b"x") != 1:
                await asyncio.sleep(0.02)
        assert await ada.tell(other, b"y") == 1
        await until(lambda: {message for _, _, message in said} == {b"x", b"y"})
    await ada.close()
    await bob.close()


async def test_node_of_a_cluster_hangs_up(cluster: Any) -> None:
    """Rooms on every node are listened to again after one node's connections broke."""
    said: Said = []
    resets: list[bool] = []
    bob = RedisChannels(cluster.url, NodeId("bob"), lambda *heard: said.append(heard), lambda: resets.append(True))
    ada = RedisChannels(cluster.url, NodeId("ada"), lambda *heard: None)
    rooms = [RoomId(f"hangs up {number}") for number in range(12)]
    assert len({cluster.owner(channel_key(room)) for room in rooms}) == 3
    for room in rooms:
        await bob.listen(room)
    cluster.masters[0].client.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
    await until(lambda: resets)
    for room in rooms:
        async with asyncio.timeout(5):
            while await ada.tell(room, b"x") != 1:
                await asyncio.sleep(0.02)
    await until(lambda: {room for room, _, _ in said} == set(rooms))
    await ada.close()
    await bob.close()
