"""The journal's server is replaced under open rooms: a Sentinel's or a cluster's failover, a slot that moves."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.crc import key_slot
from redis_servers import Cluster, Sentinels, Server, wait
from relay_process import Relay
from typists import Typist, until

FLAGS = "--snapshot-bytes", "16KiB"


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    servers = Sentinels()
    try:
        yield servers.start()
    finally:
        servers.remove()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    servers = Cluster(replica=True)
    try:
        yield servers.start()
    finally:
        servers.remove()


async def saved_again(authors: list[Typist], within: float) -> float:
    before = [author.acknowledged for author in authors]
    return await until(
        lambda: all(now.acknowledged > then for now, then in zip(authors, before)), within, "saved again"
    )


async def finish(relay: Relay, authors: list[Typist], typing: list[Any], count: Any) -> None:
    """All is saved in the end, nobody was let go, and what was saved is there without this relay's memory."""
    for task in typing:
        task.cancel()
    await asyncio.gather(*typing, return_exceptions=True)
    assert [author.closed for author in authors if author.closed] == []
    await until(lambda: all(author.saved == author.typed for author in authors), 10, lambda: relay.tail(5))
    relay.kill()
    relay.start()
    found = await count(relay, authors)
    print(found)
    assert (found.lost, found.wrong) == (0, 0)
    assert found.acknowledged == sum(author.typed for author in authors)


def cut_off(replica: Server, master: Server) -> None:
    """The replica hears no more of the master, and will not until it is promoted."""
    master.client.config_set("requirepass", "somebody-else")
    master.client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")
    wait(lambda: replica.client.info("replication")["master_link_status"] == "down", 5, "still connected")


def entries(server: Server) -> int:
    return sum(server.client.xlen(key) for key in server.client.scan_iter(_type="stream"))


@pytest.mark.slow
@pytest.mark.parametrize("lagging", [False, True])
async def test_sentinel_failover(
    sentinels: Sentinels, relays: Callable[..., Relay], database: str, crowd: Any, count: Any, lagging: bool
) -> None:
    """The master is killed under load, with entries that its replica never got: open rooms bring them to the next."""
    relay = relays("--snapshot-idle", "300", postgres=database, valkey=sentinels.url)
    quiet, authors = await crowd(relay, ["quiet"], 2), await crowd(relay, [f"room-{n}" for n in range(4)], 3)
    typing = [asyncio.ensure_future(author.keep_typing(40)) for author in authors]  # noqa: TID251
    await saved_again(authors, 20)
    master, replica = sentinels.servers
    if lagging:
        cut_off(replica, master)
        for author in quiet:
            author.type()
        await saved_again(authors + quiet, 20)
        await until(lambda: entries(replica) < entries(master) - 10, 20, "more was saved than the replica has")
    sentinels.hasten()
    master.kill()
    took = await until(lambda: sentinels.master() is replica, 60, "promoted")
    took += await saved_again(authors, 20)
    print(f"saved again after {took:.2f} s")
    await asyncio.sleep(0.5)
    await finish(relay, authors + quiet, typing, count)


@pytest.mark.slow
async def test_sentinel_switch(
    sentinels: Sentinels, relays: Callable[..., Relay], database: str, crowd: Any, count: Any
) -> None:
    """An operator has the replica promoted, and the old master takes writes for seconds before it is told."""
    relay = relays("--snapshot-idle", "300", postgres=database, valkey=sentinels.url)
    authors = await crowd(relay, [f"room-{n}" for n in range(4)], 3)
    typing = [asyncio.ensure_future(author.keep_typing(40)) for author in authors]  # noqa: TID251
    await saved_again(authors, 20)
    replica = sentinels.servers[1]
    wait(lambda: sentinels.switch(), 20, "the replica is not fit to be promoted")
    await until(lambda: sentinels.master() is replica, 20, "promoted")
    before = entries(replica)
    took = await until(lambda: entries(replica) > before, 40, "the relay has moved")
    print(f"the relay has moved after {took:.2f} s")
    await saved_again(authors, 20)
    await finish(relay, authors, typing, count)


@pytest.mark.slow
@pytest.mark.parametrize("lagging", [False, True])
async def test_cluster_failover(
    own_cluster: Cluster, relays: Callable[..., Relay], database: str, crowd: Any, count: Any, lagging: bool
) -> None:
    """A node is killed under load: rooms on the others are saved all the time, those on it by its replica."""
    relay = relays("--snapshot-idle", "300", postgres=database, valkey=own_cluster.url)
    master, replica = own_cluster.masters[0], own_cluster.servers[3]
    names = [f"room-{n}" for n in range(9)]
    there = {name for name in names if own_cluster.owner(b"{%s}" % name.encode()) is master}
    authors = await crowd(relay, names, 2)
    hit, spared = ([a for a in authors if (a.room in there) is on] for on in (True, False))
    assert hit
    assert spared
    typing = [asyncio.ensure_future(author.keep_typing(40)) for author in authors]  # noqa: TID251
    await saved_again(authors, 20)
    if lagging:
        cut_off(replica, master)
        replica.client.readonly()  # on the one connection of this client
        await until(lambda: entries(replica) < entries(master), 20, "more was saved than the replica has")
    master.kill()
    await saved_again(spared, 20)
    own_cluster.hasten()
    key = b"{%s}" % hit[0].room.encode()
    took = await until(lambda: own_cluster.owner(key) is replica, 60, "promoted")
    took += await saved_again(hit, 20)
    print(f"saved again after {took:.2f} s")
    await finish(relay, authors, typing, count)


async def test_slot_moves(
    relays: Callable[..., Relay], cluster: Cluster, database: str, crowd: Any, count: Any
) -> None:
    """A room's slot goes to another node and back while people type in it: all is saved, also in the middle."""
    relay = relays(*FLAGS, postgres=database, valkey=cluster.url)
    authors = await crowd(relay, ["moving"], 3)
    slot, source = key_slot(b"moving"), cluster.owner(b"{moving}")
    target = next(server for server in cluster.masters if server is not source)
    typing = [asyncio.ensure_future(author.keep_typing(40)) for author in authors]  # noqa: TID251
    await saved_again(authors, 20)
    try:
        for here, there in ((source, target), (target, source)):
            cluster.begin_move(slot, here, there)
            await saved_again(authors, 20)
            assert cluster.move_keys(slot, here, there) == 2
            await asyncio.sleep(0.2)
            await saved_again(authors, 20)
            cluster.finish_move(slot, here, there)
            await asyncio.sleep(0.2)
            await saved_again(authors, 20)
    finally:
        if cluster.owner(b"{moving}") is not source:
            cluster.move_keys(slot, target, source)
            cluster.finish_move(slot, target, source)
    log = relay.log.read_text()
    assert f"ASK {slot} " in log
    await finish(relay, authors, typing, count)
