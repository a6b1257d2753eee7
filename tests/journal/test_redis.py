"""The Redis journal when its server dies, hangs, forgets or fills up."""

import asyncio
import contextlib
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import certificate
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from relay.errors import RelayError, StartError, StreamLost, Unavailable
from relay.journal.keys import ACL
from relay.journal.redis import RedisJournal
from relay.shard.redis import RedisChannels
from relay.types import Actor, Edit, NodeId, Position, RoomId

ROOM = RoomId("room")
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


def append(journal: RedisJournal, epoch: int, update: bytes, room: RoomId = ROOM) -> "asyncio.Future[Position]":
    future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()

    def done(answer: Position | RelayError) -> None:
        if isinstance(answer, RelayError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    journal.append(room, epoch, [Edit(Actor("ann"), update)], done)
    return future


async def up(journal: RedisJournal) -> None:
    deadline = time.monotonic() + 10
    while not journal.connected:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_acknowledged_appends_survive_a_killed_server(own_valkey: Any, make: Make) -> None:
    """A server killed under load and restarted on its files has every acknowledged entry, at its position."""
    journal = make(own_valkey.url)
    await journal.start()
    epoch = (await journal.open(ROOM, None)).epoch
    acknowledged: dict[bytes, Position] = {}
    failed = 0
    started = time.monotonic()
    number = 0
    while failed == 0:
        assert time.monotonic() - started < 60
        updates = [b"%d" % (number + n) for n in range(20)]
        number += 20
        answers = [append(journal, epoch, update) for update in updates]
        if number == 1000:
            await asyncio.sleep(0)
            own_valkey.kill()
        for update, answer in zip(updates, await asyncio.gather(*answers, return_exceptions=True)):
            if isinstance(answer, Position):
                acknowledged[update] = answer
            else:
                assert isinstance(answer, Unavailable)
                failed += 1
    assert len(acknowledged) >= 900
    with pytest.raises(Unavailable):
        await journal.open(ROOM, None)
    own_valkey.start()
    await up(journal)
    opened = await journal.open(ROOM, None)
    assert opened.epoch == epoch
    found = {entry.edits[0].update: entry.position for entry in opened.entries}
    assert acknowledged.items() <= found.items()
    assert await append(journal, epoch, b"next") > max(found.values())


async def test_a_forgetful_server_loses_the_stream(own_valkey: Any, make: Make) -> None:
    """After FLUSHALL an append says StreamLost, and the room's next stream orders after the lost one."""
    journal = make(own_valkey.url)
    await journal.start()
    epoch = (await journal.open(ROOM, None)).epoch
    held = await append(journal, epoch, b"1")
    client = Redis.from_url(own_valkey.url)
    await client.flushall()
    await client.aclose()
    with pytest.raises(StreamLost):
        await append(journal, epoch, b"2")
    opened = await journal.open(ROOM, held)
    assert (opened.entries, opened.epoch > epoch) == ([], True)
    assert await append(journal, opened.epoch, b"2") > held


async def test_a_hanging_server_times_out_and_recovers(own_valkey: Any, make: Make) -> None:
    """A stopped server fails appends and calls after the timeout; once it runs again, positions match their entries."""
    states: list[bool] = []
    journal = make(own_valkey.url, timeout=0.6, on_state=states.append)
    await journal.start()
    epoch = (await journal.open(ROOM, None)).epoch
    await append(journal, epoch, b"before")
    own_valkey.signal(signal.SIGSTOP)
    hanging = [append(journal, epoch, b"hanging %d" % n) for n in range(5)]
    started = time.monotonic()
    answers = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert 0.5 < time.monotonic() - started < 10
    with pytest.raises(Unavailable):
        await append(journal, epoch, b"down")
    with pytest.raises(Unavailable):
        await journal.length(ROOM)
    with pytest.raises(Unavailable):
        await journal.ping()
    own_valkey.signal(signal.SIGCONT)
    await up(journal)
    sent = {b"after %d" % n: append(journal, epoch, b"after %d" % n) for n in range(50)}
    positions = {update: await answer for update, answer in sent.items()}
    found = {entry.edits[0].update: entry.position for entry in await journal.read(ROOM, None, None)}
    assert positions.items() <= found.items()
    assert found.keys() - positions.keys() <= {b"before", *(b"hanging %d" % n for n in range(5))}
    assert states == [True, False, True]
    await journal.ping()


async def test_a_full_server_refuses_and_recovers(own_valkey: Any, make: Make) -> None:
    """Out of memory, appends fail and the connection stays; trimming still works and so do appends afterwards."""
    states: list[bool] = []
    journal = make(own_valkey.url, on_state=states.append)
    await journal.start()
    epoch = (await journal.open(ROOM, None)).epoch
    position = await append(journal, epoch, bytes(1000))
    client = Redis.from_url(own_valkey.url)
    await client.config_set("maxmemory", "1mb")
    with pytest.raises(Unavailable, match="OOM"):
        await append(journal, epoch, b"2")
    await journal.trim(ROOM, position)
    assert await journal.length(ROOM) == 0
    await client.config_set("maxmemory", "0")
    await client.aclose()
    await append(journal, epoch, b"3")
    assert states == [True]


async def test_start_without_a_server(tmp_path: Any, make: Make) -> None:
    """Nobody listening is Unavailable, by every way in, and the message names the place without the password."""
    for url in (f"unix://ann:secret@{tmp_path}/none", "redis://ann:secret@127.0.0.1:1"):
        journal = make(url, timeout=1)
        with pytest.raises(Unavailable) as caught:
            await journal.start()
        assert "secret" not in str(caught.value)
        assert any(place in str(caught.value) for place in (f"{tmp_path}/none", "127.0.0.1:1"))
        with pytest.raises(Unavailable):
            await journal.open(ROOM, None)
        with pytest.raises(Unavailable):
            await append(journal, 1, b"1")


async def test_start_refuses_a_cache(own_valkey: Any, make: Make) -> None:
    """A server that may evict any key is not fit to hold documents."""
    client = Redis.from_url(own_valkey.url)
    await client.config_set("maxmemory", "1gb")
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.aclose()
    with pytest.raises(StartError, match="maxmemory-policy"):
        await make(own_valkey.url).start()


async def test_start_with_a_password_and_a_database(own_valkey: Any, make: Make) -> None:
    """User, password and database of the URL hold for appends and for everything else."""
    client = Redis.from_url(own_valkey.url)
    await client.execute_command("ACL", "SETUSER", "ann", "on", ">pa@ss", "~*", "+@all")
    await client.execute_command("CONFIG", "SET", "requirepass", "other")
    await client.aclose()
    journal = make(f"unix://ann:pa%40ss@{own_valkey.socket}?db=2")
    await journal.start()
    epoch = (await journal.open(ROOM, None)).epoch
    position = await append(journal, epoch, b"1")
    assert [entry.position for entry in await journal.read(ROOM, None, None)] == [position]
    other = make(f"unix://ann:pa%40ss@{own_valkey.socket}?db=1")
    await other.start()
    assert await other.rooms() == []
    with pytest.raises(Unavailable, match="WRONGPASS") as caught:
        await make(f"unix://ann:wrong@{own_valkey.socket}").start()
    assert "wrong" not in str(caught.value)


async def test_two_nodes_share_a_stream(valkey: Any, make: Make) -> None:
    """Nodes that open a room get one epoch, and each reads what the other appended."""
    one, two = make(valkey.url), make(valkey.url)
    room = RoomId("shared")
    await asyncio.gather(one.start(), two.start())
    [epoch] = {opened.epoch for opened in await asyncio.gather(one.open(room, None), two.open(room, None))}
    await asyncio.gather(*(append(j, epoch, b"%d" % n, room) for n in range(100) for j in (one, two)))
    read = await one.read(room, None, None)
    assert read == await two.read(room, None, None)
    assert sorted(entry.edits[0].update for entry in read) == sorted([b"%d" % n for n in range(100)] * 2)
    await one.delete(room)


async def test_many_rooms_open_at_once(valkey: Any, make: Make) -> None:
    """A storm of opens waits for its turn on few connections; none fails."""
    journal = make(valkey.url)
    await journal.start()
    rooms = [RoomId(f"storm {n}") for n in range(300)]
    opened = await asyncio.gather(*(journal.open(room, None) for room in rooms))
    assert len(opened) == 300
    client = Redis.from_url(valkey.url)
    assert (await client.info("clients"))["connected_clients"] < 50
    await client.aclose()
    await asyncio.gather(*(journal.delete(room) for room in rooms))


async def test_an_empty_stream_survives_a_rewritten_file(own_valkey: Any, make: Make) -> None:
    """A stream trimmed to nothing keeps its epoch and its last id over a compacted append-only file and a kill."""
    journal = make(own_valkey.url)
    await journal.start()
    empty, trimmed = RoomId("empty"), RoomId("trimmed")
    epochs = [(await journal.open(room, None)).epoch for room in (empty, trimmed)]
    position = await append(journal, epochs[1], b"1", trimmed)
    await journal.trim(trimmed, position)
    client = Redis.from_url(own_valkey.url)
    for preamble in ("yes", "no"):
        await client.config_set("aof-use-rdb-preamble", preamble)
        await client.bgrewriteaof()
        while (await client.info("persistence"))["aof_rewrite_in_progress"]:
            await asyncio.sleep(0.01)
        own_valkey.kill()
        own_valkey.start()
        await asyncio.sleep(0.1)
        await up(journal)
        assert (await journal.open(trimmed, position)).epoch == epochs[1]
        await append(journal, epochs[0], b"2", empty)
        held, position = position, await append(journal, epochs[1], b"2", trimmed)
        assert position > held
        await journal.trim(trimmed, position)
    await client.aclose()


async def test_a_large_tail_is_read_in_chunks(valkey: Any, make: Make) -> None:
    """More entries than a chunk holds come whole, in order, by open and by a limited read."""
    journal = make(valkey.url)
    room = RoomId("large")
    await journal.start()
    epoch = (await journal.open(room, None)).epoch
    positions = await asyncio.gather(*(append(journal, epoch, b"x", room) for _ in range(1537)))
    assert [entry.position for entry in (await journal.open(room, None)).entries] == positions
    assert [entry.position for entry in await journal.read(room, positions[0], None, 1024)] == positions[1:1025]
    assert [entry.position for entry in await journal.read(room, None, positions[700], 1300)] == positions[:701]
    await journal.delete(room)


async def test_keys_are_as_documented(own_valkey: Any, make: Make) -> None:
    """One string and one stream per room; a deleted room leaves its epoch, for a minute."""
    journal = make(own_valkey.url)
    await journal.start()
    epoch = (await journal.open(ROOM, None)).epoch
    client = Redis.from_url(own_valkey.url)
    assert sorted(await client.keys()) == [b"materi:{room}:epoch", b"materi:{room}:j:%d" % epoch]
    assert await client.ttl("materi:{room}:epoch") == -1
    await journal.delete(ROOM)
    assert await client.keys() == [b"materi:{room}:epoch"]
    assert 50 < await client.ttl("materi:{room}:epoch") <= 60
    await journal.open(ROOM, None)
    assert await client.ttl("materi:{room}:epoch") == -1
    await client.aclose()


@pytest.mark.parametrize("kind", ["valkey", "cluster"])
async def test_user_with_few_rights(request: pytest.FixtureRequest, make: Make, kind: str) -> None:
    """The user that contrib/keys.md proposes may do all that a relay does, and nothing with others' keys."""
    server: Any = request.getfixturevalue(kind)
    clients = [node.client for node in server.masters] if kind == "cluster" else [SyncRedis.from_url(server.url)]
    for client in clients:
        client.execute_command("ACL", "SETUSER", "few", "on", ">s%cret", *ACL.split())
    url = server.url.replace("://", "://few:s%25cret@")
    journal = make(url)
    try:
        await journal.start()
        epoch = (await journal.open(ROOM, None)).epoch
        first = await append(journal, epoch, b"1")
        assert (await journal.intervene(ROOM, None, [Edit(Actor("eve"), b"2")])).epoch > epoch
        assert len((await journal.open(ROOM, None)).entries) == 2
        assert ROOM in await journal.rooms()
        await journal.trim(ROOM, first)
        await journal.delete(ROOM)
        await journal.ping()
        heard: list[Any] = []
        ada = RedisChannels(url, NodeId("ada"), lambda *said: None)
        bob = RedisChannels(url, NodeId("bob"), lambda *said: heard.append(said))
        await bob.listen(ROOM)
        assert await ada.tell(ROOM, b"x") == 1
        await bob.stop(ROOM)
        await ada.close()
        await bob.close()
        with pytest.raises(NoPermissionError):
            await journal._client.get("somebody:else")
        with pytest.raises(Unavailable, match=r"(?i)invalid username-password"):
            await make(server.url.replace("://", "://few:other@")).start()
    finally:
        for client in clients:
            client.execute_command("ACL", "DELUSER", "few")


async def test_tls(valkey: Any, make: Make, tmp_path: Path) -> None:
    """Over rediss both ways of connecting are encrypted and check the server: its authority and its name."""
    authority, secret = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, secret)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_unix_connection(valkey.socket)
        await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    port = proxy.sockets[0].getsockname()[1]
    for url in (
        f"localhost:{port}/0?ca={authority}",
        f"127.0.0.1:{port}?ca={authority}&verify=ca",
        f"localhost:{port}?verify=none",
    ):
        journal = make(f"rediss://{url}")
        await journal.start()
        epoch = (await journal.open(ROOM, None)).epoch
        position = await append(journal, epoch, b"1")
        assert [entry.position for entry in await journal.read(ROOM, None, None)] == [position]
        await journal.delete(ROOM)
        await journal.close()
    for url in (f"localhost:{port}", f"127.0.0.1:{port}?ca={authority}"):
        with pytest.raises(Unavailable, match="certificate"):
            await make(f"rediss://{url}").start()
    proxy.close()
