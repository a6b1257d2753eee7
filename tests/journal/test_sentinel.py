"""The master that Sentinels name, and what happens to connections when they name another."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis_servers import Sentinels

from relay.errors import RelayError, Unavailable
from relay.journal.address import Address
from relay.journal.redis import RedisJournal
from relay.journal.wire import Wire
from relay.types import Actor, Edit, NodeId, Position, RoomId

ROOM = RoomId("room")


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    """One watches; the last test kills the master."""
    servers = Sentinels(1)
    try:
        yield servers.start()
    finally:
        servers.remove()


def append(journal: RedisJournal, epoch: int, update: bytes) -> "asyncio.Future[Position | RelayError]":
    future: asyncio.Future[Position | RelayError] = asyncio.get_running_loop().create_future()
    journal.append(ROOM, epoch, [Edit(Actor("ann"), update)], future.set_result)
    return future


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


async def test_who_asks_and_who_answers(sentinels: Sentinels) -> None:
    """The Sentinels have users of their own, and a server that they name is only trusted if it says it is master."""
    sentinels.sentinels[0].client.execute_command("ACL", "SETUSER", "watch", "on", ">s%cret", "+@all")
    wire: dict[str, Any] = {"window": 0.01, "timeout": 10, "max_queued_bytes": 1000, "on_state": lambda up: None}
    options = "sentinel_username=watch&sentinel_password="
    good = Wire(Address(f"{sentinels.url}?{options}s%25cret"), "me", **wire)
    await good.start()
    await good.close()
    with pytest.raises(Unavailable, match="invalid username-password"):
        await Wire(Address(f"{sentinels.url}?{options}wrong"), "me", **wire).start()
    with pytest.raises(Unavailable, match=r"no master 'unheard-of': .* does not know it"):
        await Wire(Address(sentinels.url.replace("/journal", "/unheard-of")), "me", **wire).start()
    address = Address(sentinels.url)
    master = address._master
    assert master is not None
    replica = sentinels.servers[1].port

    async def stale() -> tuple[str, int]:
        return "127.0.0.1", replica

    master.get_master_address = stale  # type: ignore[method-assign]
    sentinels.servers[1].client.config_set("replica-read-only", "no")
    with pytest.raises(Unavailable, match="it is a replica now"):
        await Wire(address, "me", **wire).start()


async def test_nobody_to_ask() -> None:
    """Sentinels that are away make the journal unavailable, and soon."""
    journal = RedisJournal("redis+sentinel://127.0.0.1:1,127.0.0.1:2/journal", NodeId("n1"))
    with pytest.raises(Unavailable, match=r"no master .*: 127.0.0.1:1: .*, 127.0.0.1:2: "):
        await asyncio.wait_for(journal.start(), 10)
    await journal.close()


async def test_master_killed(sentinels: Sentinels) -> None:
    """When the Sentinels make another server master, appends and reads go there, after rooms were told to look."""
    doubts: list[bool] = []
    journal = RedisJournal(sentinels.url, NodeId("n1"), on_doubt=lambda concerned: doubts.append(concerned(ROOM)))
    await journal.start()
    epoch = (await journal.open(ROOM, None)).epoch
    first = await append(journal, epoch, b"1")
    assert isinstance(first, Position)
    before, after = sentinels.servers
    assert before.client.wait(1, 10_000) == 1
    sentinels.hasten()
    before.kill()
    answer: Position | RelayError = first
    async with asyncio.timeout(40):
        while not doubts or not isinstance(answer, Position):
            answer = await append(journal, epoch, b"2")
            await asyncio.sleep(0.02)
    assert doubts == [True]
    assert sentinels.master() is after
    assert (await journal.read(ROOM, None, None))[-1].position == answer
    assert after.client.xrevrange(f"materi:{{room}}:j:{epoch}", count=1)[0][1][b"ann"] == b"2"
    assert (await journal.open(ROOM, None)).epoch == epoch
    await journal.close()
