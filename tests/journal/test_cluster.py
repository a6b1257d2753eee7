"""Group commit to a cluster: what goes where, and what happens when a node says "not here" or is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.crc import key_slot
from redis_servers import Server, free_ports, started

from relay.errors import RelayError, Unavailable
from relay.journal.cluster import ClusterWire
from relay.journal.keys import epoch_key
from relay.journal.redis import RedisJournal
from relay.types import Actor, Edit, NodeId, Position, RoomId

Make = Callable[..., RedisJournal]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    journals: list[RedisJournal] = []

    def make(url: str, **options: Any) -> RedisJournal:
        journals.append(RedisJournal(url, NodeId("n1"), **options))
        return journals[-1]

    yield make
    for journal in journals:
        await journal.close()


def append(journal: RedisJournal, room: RoomId, epoch: int, update: bytes) -> "asyncio.Future[Position | RelayError]":
    future: asyncio.Future[Position | RelayError] = asyncio.get_running_loop().create_future()
    journal.append(room, epoch, [Edit(Actor("ann"), update)], future.set_result)
    return future


def one_room_each(cluster: Any) -> dict[Server, RoomId]:
    found: dict[Server, RoomId] = {}
    number = 0
    while len(found) < len(cluster.masters):
        room = RoomId(f"cluster-{number}")
        found.setdefault(cluster.owner(epoch_key(room)), room)
        number += 1
    return found


async def test_appends_go_to_the_node_of_their_room(cluster: Any, make: Make) -> None:
    """Rooms of all nodes are appended to in one turn; each node has its own, and all are listed."""
    states: list[bool] = []
    journal = make(cluster.url, on_state=states.append)
    await journal.start()
    assert journal.connected
    assert states == [True]
    rooms = one_room_each(cluster)
    epochs = {room: (await journal.open(room, None)).epoch for room in rooms.values()}
    answers = [append(journal, room, epoch, b"%d" % n) for n in range(20) for room, epoch in epochs.items()]
    assert all(isinstance(answer, Position) for answer in await asyncio.gather(*answers))
    for server, room in rooms.items():
        assert server.client.xlen(f"materi:{{{room}}}:j:{epochs[room]}") == 20
        entries = (await journal.open(room, None)).entries
        assert [entry.edits[0].update for entry in entries] == [b"%d" % n for n in range(20)]
    assert set(rooms.values()) <= set(await journal.rooms())
    for room in rooms.values():
        await journal.delete(room)


async def test_append_that_is_redirected_fails_and_is_followed(cluster: Any, make: Make) -> None:
    """ASK and MOVED fail the append that met them, and the next one goes to the right node, in the middle of a move and
    after; rooms of a slot that has moved are told to look."""
    doubted: list[set[str]] = []
    names = [RoomId("{moving}"), RoomId("other"), RoomId("third")]
    journal = make(cluster.url, on_doubt=lambda concerned: doubted.append({name for name in names if concerned(name)}))
    await journal.start()
    doubted.clear()
    room = names[0]
    epoch = (await journal.open(room, None)).epoch
    key = epoch_key(room)
    slot, source = key_slot(key), cluster.owner(key)
    target = next(server for server in cluster.masters if server is not source)

    async def saved(update: bytes) -> list[str]:
        refusals = []
        while isinstance(answer := await append(journal, room, epoch, update), RelayError):
            refusals.append(str(answer).split()[0])
            assert len(refusals) < 4, refusals
        return refusals

    assert await saved(b"1") == []
    cluster.begin_move(slot, source, target)
    assert await saved(b"2") == []
    cluster.move_keys(slot, source, target)
    assert await saved(b"3") == ["ASK"]
    assert await saved(b"4") == []
    assert [e.edits[0].update for e in (await journal.open(room, None)).entries] == [b"1", b"2", b"3", b"4"]
    assert doubted == []
    cluster.finish_move(slot, source, target)
    assert await saved(b"5") == []  # it went to the new owner already
    cluster.begin_move(slot, target, source)
    cluster.move_keys(slot, target, source)
    cluster.finish_move(slot, target, source)
    assert await saved(b"6") == ["MOVED"]
    assert await saved(b"7") == []
    assert [e.edits[0].update for e in (await journal.open(room, None)).entries] == [b"%d" % n for n in range(1, 8)]
    assert {frozenset(rooms) for rooms in doubted} <= {frozenset({room}), frozenset()}
    await journal.delete(room)


async def test_node_away(cluster: Any, make: Make) -> None:
    """A node that hangs up concerns its rooms only: they are told to look, the others are saved meanwhile."""
    states: list[bool] = []
    rooms = one_room_each(cluster)
    doubted: list[RoomId] = []
    journal = make(
        cluster.url,
        on_state=states.append,
        on_doubt=lambda concerned: doubted.extend(room for room in rooms.values() if concerned(room)),
    )
    await journal.start()
    epochs = {room: (await journal.open(room, None)).epoch for room in rooms.values()}
    doubted.clear()
    (server, away), (_, here), *_ = rooms.items()
    server.client.config_set("maxclients", 1)  # whoever hangs up does not come back
    server.client.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
    async with asyncio.timeout(10):
        while not doubted:
            await asyncio.sleep(0.01)
    assert set(doubted) == {away}
    assert isinstance(await append(journal, here, epochs[here], b"1"), Position)
    assert isinstance(await append(journal, away, epochs[away], b"1"), Unavailable)
    with pytest.raises(Unavailable, match="is away"):
        await journal.open(away, None)
    await journal.ping()
    assert states == [True, False]
    server.client.config_set("maxclients", 1000)
    async with asyncio.timeout(10):
        while states != [True, False, True]:
            await asyncio.sleep(0.01)
    assert isinstance(await append(journal, away, epochs[away], b"1"), Position)
    for room in rooms.values():
        await journal.delete(room)


async def test_wrong_kind_of_url(cluster: Any, make: Make) -> None:
    """A cluster's node under redis://, and a single server under redis+cluster://, are told apart with what to do."""
    with pytest.raises(Unavailable, match=r"write redis\+cluster://"):
        await make(f"redis://127.0.0.1:{cluster.masters[0].port}").start()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await make("redis+cluster://127.0.0.1:1").start()
    server = Server(*free_ports(1))
    try:
        started([server])
        with pytest.raises(Unavailable, match="cluster support disabled"):
            await make(f"redis+cluster://127.0.0.1:{server.port}").start()
    finally:
        server.remove()


async def test_closed_wire_answers(cluster: Any, make: Make) -> None:
    """What is appended after the end fails at once."""
    journal = make(cluster.url)
    await journal.start()
    assert isinstance(journal._wire, ClusterWire)
    await journal.close()
    assert isinstance(await append(journal, RoomId("r"), 1, b"1"), Unavailable)
