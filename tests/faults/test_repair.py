"""Damage that `relay rooms check` finds and `relay rooms repair` undoes, while relays run and other rooms are open."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis
from relay_process import Relay
from typists import Typist, until

FLAGS = ("--snapshot-idle", "0.3", "--idle-unload", "0.3")


async def command(relay: Relay, *words: str, code: int = 0) -> str:
    """What `relay rooms ...` says; it must end with `code`."""
    line = [sys.executable, "-m", "relay", "rooms", *words, "--data", str(relay.data)]
    done = await asyncio.to_thread(
        subprocess.run, line, env=relay.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return str(done.stdout)


@pytest.fixture
def sql(postgres_server: Any, database: str) -> Callable[[str], None]:
    def run(statement: str) -> None:
        psql = [postgres_server.binaries / "psql", database, "-qXc", statement]
        subprocess.run(psql, check=True, capture_output=True)

    return run


async def stored(relays: list[Relay], room: str) -> None:
    """The room is in nobody's memory any more, and all in PostgreSQL."""
    await until(lambda: all(relay.metrics()["relay_rooms"] == 0 for relay in relays), 40, relays[0].tail)


async def pair(relays: Callable[..., Relay], database: str, valkey: str) -> list[Relay]:
    return [relays(*FLAGS, postgres=database, valkey=valkey) for _ in range(2)]


@pytest.mark.parametrize("damage", ["state = '\\xffffffffff'", "clocks = '\\xffffffffff'"])
async def test_damaged_segment(
    relays: Callable[..., Relay], own_valkey: Any, database: str, sql: Callable[[str], None], damage: str
) -> None:
    """A snapshot that rotted is found by the check, stored anew from the history, kept as it was, and open again; a
    document beside it is edited all the while."""
    both = await pair(relays, database, own_valkey.url)
    authors = [await Typist.join(relay.port, "rotten", 5 + n) for n, relay in enumerate(both)]
    for author in authors:
        author.type(40)
    await until(lambda: all(author.saved == 40 for author in authors), 20, "saved")
    assert "rotten: ok" in await command(both[0], "check", "rotten")
    for author in authors:
        author.leave()
    await stored(both, "rotten")
    assert json.loads(await command(both[0], "check", "rotten", "--json"))[0]["ok"]
    other = await Typist.join(both[0].port, "other", 9)
    typing = asyncio.ensure_future(other.keep_typing(50))  # noqa: TID251
    sql(f"UPDATE relay.segment SET {damage} WHERE room = 'rotten'")
    late = await Typist.join(both[1].port, "rotten", 1, wait=None)
    await until(lambda: late.closed or late.synced, 20, both[1].tail)
    (found,) = json.loads(await command(both[0], "check", "rotten", "--json", code=1))
    assert found["wrong"]
    said = await command(both[0], "check", "--all", code=1)
    assert "2 documents checked, 1 differ" in said
    said = await command(both[0], "repair", "rotten")
    assert "80 ids" in said
    assert "nothing was changed" in said
    said = await command(both[0], "repair", "rotten", "--yes")
    assert "repaired and released" in said
    again = [await Typist.join(relay.port, "rotten", 1) for relay in both]
    assert [[len(reader.text(5 + n)) for n in range(2)] for reader in again] == [[40, 40], [40, 40]]
    assert "rotten: ok" in await command(both[0], "check", "rotten")
    listed = json.loads(await command(both[0], "list", "--prefix", "rotten.damaged", "--json"))
    assert [room["quarantined"] for room in listed] == ["segment 1 of rotten, as it was"]
    typing.cancel()
    await until(lambda: other.saved == other.typed, 20, "the other document went on")
    assert other.closed is None


async def test_poison_in_the_journal(
    relays: Callable[..., Relay], own_valkey: Any, database: str, sql: Callable[[str], None]
) -> None:
    """An entry that no codec can read locks its document; repaired, the rest is there, and the entry is in the
    history."""
    both = await pair(relays, database, own_valkey.url)
    author = await Typist.join(both[0].port, "poison", 5)
    author.type(30)
    await until(lambda: author.saved == 30, 20, "saved")
    client = redis.Redis(unix_socket_path=str(own_valkey.socket))
    (stream,) = client.scan_iter(_type="stream", match="materi:{poison}*")
    client.xadd(stream, {b"n": b"nobody", b"": b"\xff\xff\xff\xff\xff"})
    author.type()
    await until(lambda: author.closed, 30, both[0].tail)
    assert author.closed == (4423, "document quarantined")
    assert "set aside" in await command(both[0], "check", "poison", code=1)
    said = await command(both[0], "repair", "poison", "--yes")
    assert "can't be read: 1 edits" in said
    again = await Typist.join(both[1].port, "poison", 6)
    assert len(again.text(5)) >= author.saved
    again.type(5)
    await until(lambda: again.saved == 5, 20, "it is open for edits")
