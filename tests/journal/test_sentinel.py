"""The master that Sentinels name, and what happens to connections when they name another."""

import asyncio
from collections.abc import Iterator

import pytest
from redis_servers import Sentinels

from relay.errors import RelayError, Unavailable
from relay.journal.address import Address
from relay.journal.redis import RedisJournal
from relay.types import Actor, Edit, NodeId, Position, RoomId

ROOM = RoomId("room")


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    servers = Sentinels(1)
    try:
        yield servers.start()
    finally:
        servers.remove()


def append(journal: RedisJournal, epoch: int, update: bytes) -> "asyncio.Future[Position | RelayError]":
    future: asyncio.Future[Position | RelayError] = asyncio.get_running_loop().create_future()
    journal.append(ROOM, epoch, [Edit(Actor("ann"), update)], future.set_result)
    return future


async def test_master_killed(sentinels: Sentinels) -> None:
    """When the Sentinels make another server master, appends and reads go there, after rooms were told to look."""
    doubts: list[bool] = []
    journal = RedisJournal(sentinels.url, NodeId("n1"), on_doubt=lambda concerned: doubts.append(concerned(ROOM)))
    await journal.start()
    epoch = (await journal.open(ROOM, None)).epoch
    first = await append(journal, epoch, b"1")
    assert isinstance(first, Position)
    before, after = sentinels.servers
    before.client.wait(1, 1000)
    before.kill()
    answer: Position | RelayError = first
    async with asyncio.timeout(10):
        while not doubts or not isinstance(answer, Position):
            answer = await append(journal, epoch, b"2")
            await asyncio.sleep(0.02)
    assert doubts == [True]
    assert sentinels.master() is after
    assert (await journal.read(ROOM, None, None))[-1].position == answer
    assert after.client.xrevrange(f"materi:{{room}}:j:{epoch}", count=1)[0][1][b"ann"] == b"2"
    assert (await journal.open(ROOM, None)).epoch == epoch
    await journal.close()


async def test_pool_follows_the_master_that_was_found(sentinels: Sentinels) -> None:
    """A pooled connection to another server than the master found last is made again before it is used."""
    address = Address(sentinels.url)
    client = address.client("me", 2)
    assert (await client.info())["tcp_port"] == sentinels.servers[0].port
    assert address._master is not None
    address._master.found = ("127.0.0.1", 1)
    ports = {(await client.info())["tcp_port"]}
    assert ports == {sentinels.servers[0].port}
    assert address._master.found == ("127.0.0.1", sentinels.servers[0].port)
    await client.aclose()


@pytest.mark.parametrize("service", ["journal", "unheard-of"])
async def test_nobody_to_ask(service: str) -> None:
    """Sentinels that are away, or do not know the name, make the journal unavailable, and soon."""
    journal = RedisJournal(f"redis+sentinel://127.0.0.1:1,127.0.0.1:2/{service}", NodeId("n1"))
    with pytest.raises(Unavailable, match="No master found"):
        await asyncio.wait_for(journal.start(), 3)
    await journal.close()
