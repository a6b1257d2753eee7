"""Which relays share a Redis."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
import redis

from relay.errors import Unavailable
from relay.journal.keys import NODES, node_key
from relay.shard import cluster as module
from relay.shard.cluster import Cluster, NodeInfo
from relay.types import NodeId

INFO = NodeInfo(NodeId("n"), "host", 7, None, "1", 1.0, 8080, "", 3, 2, False)


@pytest.fixture
async def join(own_valkey: Any) -> AsyncIterator[Callable[[str], Cluster]]:
    """`join(id)`: a relay that says it is there; all are closed in the end."""
    joined: list[Cluster] = []

    def one(node: str, **facts: Any) -> Cluster:
        cluster = Cluster(own_valkey.url, f"test-{node}")
        joined.append(cluster)
        cluster.start(lambda: replace(INFO, id=NodeId(node), **facts))
        return cluster

    yield one
    for cluster in joined:
        await cluster.close()


async def test_life(join: Any, own_valkey: Any) -> None:
    """A relay is seen with what it says, and no more once it is closed."""
    first, second = join("a", connections=5), join("b", host="another", worker=1)
    await first.say()
    await second.say()
    nodes = await first.nodes()
    assert [(node.id, node.connections, node.worker) for node in nodes] == [("b", 3, 1), ("a", 5, None)]
    await second.close()
    assert [node.id for node in await first.nodes()] == ["a"]


async def test_dead(join: Any, own_valkey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that says nothing more expires; its id goes later."""
    cluster = join("a")
    await cluster.say()
    client = redis.Redis(unix_socket_path=str(own_valkey.socket))
    try:
        assert 0 < client.pttl(node_key(NodeId("a"))) <= module.EXPIRY * 1000
        client.zadd(NODES, {"gone": 1.0, "silent": 2e9})
        assert [node.id for node in await cluster.nodes()] == ["a"]
        monkeypatch.setattr(module, "BEAT", 0.01)
        other = join("b")
        await other.say()
        for _ in range(200):
            if client.zscore(NODES, "gone") is None:
                break
            await other.say()
        assert client.zrange(NODES, 0, -1) == [b"a", b"b", b"silent"]
    finally:
        client.close()


async def test_other_versions(join: Any, own_valkey: Any) -> None:
    """A relay that says more is read, one that says less or rubbish is left out."""
    cluster = join("a")
    await cluster.say()
    client = redis.Redis(unix_socket_path=str(own_valkey.socket))
    try:
        said = orjson.loads(client.get(node_key(NodeId("a"))))  # type: ignore[arg-type]
        more = orjson.dumps(said | {"id": "more", "mood": "good"})
        for node, value in (("more", more), ("less", b'{"id": "less"}'), ("none", b"[1"), ("list", b"[1]")):
            client.set(node_key(NodeId(node)), value)
            client.zadd(NODES, {node: 2e9})
        assert {node.id for node in await cluster.nodes()} == {"a", "more"}
    finally:
        client.close()


async def test_away(own_valkey: Any) -> None:
    """Without Redis nobody can be asked, and leaving does not fail."""
    cluster = Cluster(own_valkey.url, "test")
    own_valkey.kill()
    with pytest.raises(Unavailable):
        await cluster.nodes()
    cluster.start(lambda: INFO)
    await cluster.close()


async def test_redis_cluster(cluster: Any) -> None:
    """What relays say of themselves is in one slot of a Redis Cluster."""
    one = Cluster(cluster.url, "test-one")
    one.start(lambda: INFO)
    await one.say()
    assert await one.nodes() == [INFO]
    await one.close()
    other = Cluster(cluster.url, "test-other")
    assert await other.nodes() == []
    await other.close()
