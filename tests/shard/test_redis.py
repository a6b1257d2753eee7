"""What redis-py does to a listening connection now and then."""

import uuid
from typing import Any

import pytest
from fakes import until

from relay.errors import Unavailable
from relay.shard import redis as module
from relay.shard.redis import RedisChannels
from relay.types import NodeId, RoomId


async def test_listening_fails_in_an_unforeseen_way(valkey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that two tasks read from is made again, and the owner looks for what it missed; whoever asks
    meanwhile is told to try again."""
    monkeypatch.setattr(module, "RETRY", 0.01)
    room, heard, resets = RoomId(uuid.uuid4().hex), [], []
    one = RedisChannels(
        valkey.url, NodeId("one"), lambda room, node, said: heard.append(said), lambda: resets.append(1)
    )
    two = RedisChannels(valkey.url, NodeId("two"), lambda room, node, said: None)
    await one.listen(room)
    assert await two.tell(room, b"first") == 1
    await until(lambda: heard == [b"first"])
    (ear,) = one._ears.values()

    async def read(**_: object) -> None:
        raise RuntimeError("read() called while another coroutine is already waiting for incoming data")

    ear._pubsub.get_message = read
    await two.tell(room, b"lost")
    await until(lambda: resets)
    heard.clear()
    assert await two.tell(room, b"second") == 1
    await until(lambda: heard == [b"second"])

    async def publish(*_: object) -> int:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    two._client.publish = publish  # type: ignore[method-assign, assignment]
    with pytest.raises(Unavailable):
        await two.tell(room, b"third")
    await one.close()
    await two.close()
