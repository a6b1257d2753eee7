"""A document whose stored bytes are broken: set aside, reported, and recoverable; nobody else notices."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis
from relay_process import Relay
from typists import Typist, until


def rooms_command(relay: Relay, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", "rooms", *words, "--data", str(relay.data)]
    return subprocess.run(command, env=relay.environment(), capture_output=True, text=True, timeout=60, check=False)


async def poisoned(relay: Relay, room: str, other: Typist) -> None:
    """`room` is closed to both protocols with 4423 or its reason, an operator sees why, and `other` types on."""
    late = await Typist.join(relay.port, room, 1, wait=None)
    later = await Typist.join(relay.port, room, 1, hocuspocus=True, wait=None)
    await until(lambda: late.closed and later.denied, 20, lambda: (late.closed, later.denied, relay.tail()))
    assert late.closed == (4423, "document quarantined")
    assert later.denied == "document quarantined"
    later.leave()
    other.type(3)
    await until(lambda: other.saved == other.typed, 20, "the other room goes on")
    shown = rooms_command(relay, "show", room, "--json")
    assert json.loads(shown.stdout)["quarantined"], shown


@pytest.mark.parametrize("column", ["clocks", pytest.param("state", marks=pytest.mark.slow)])
async def test_corrupt_snapshot(
    relays: Callable[..., Relay], postgres_server: Any, own_valkey: Any, column: str
) -> None:
    """A stored document that is broken is set aside, nobody else notices; repaired and released it is as before."""
    database = postgres_server.create_database()
    relay = relays("--idle-unload", "0.2", postgres=database, valkey=own_valkey.url)
    author = await Typist.join(relay.port, "poison", 5)
    author.type(50)
    await until(lambda: author.saved == 50, 20, "saved")
    author.leave()
    await until(lambda: relay.metrics()["relay_rooms"] == 0, 30, "the room is let go")
    other = await Typist.join(relay.port, "other", 6)

    def sql(statement: str) -> None:
        psql = postgres_server.binaries / "psql"
        done = subprocess.run([psql, database, "-qXc", statement], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    sql(f"CREATE TABLE kept AS SELECT {column} FROM relay.segment WHERE room = 'poison'")
    sql(f"UPDATE relay.segment SET {column} = '\\xffffffffffffffffffff' WHERE room = 'poison'")
    await poisoned(relay, "poison", other)
    sql(f"UPDATE relay.segment SET {column} = kept.{column} FROM kept WHERE room = 'poison'")
    assert rooms_command(relay, "release", "poison").returncode == 0
    again = await Typist.join(relay.port, "poison", 1)
    assert len(again.text(5)) == 50
    assert 'relay_errors_total{kind="internal"}' not in relay.metrics()


async def test_corrupt_journal_entry(relays: Callable[..., Relay], database: str, own_valkey: Any) -> None:
    """A journal entry that is no update sets its document aside when it is loaded, and nothing of it is trimmed."""
    relay = relays("--snapshot-idle", "300", postgres=database, valkey=own_valkey.url)
    author = await Typist.join(relay.port, "poison", 5)
    author.type(50)
    await until(lambda: author.saved == 50, 20, "saved")
    relay.kill()
    client = redis.Redis(unix_socket_path=str(own_valkey.socket))
    (stream,) = client.scan_iter(_type="stream")
    bad = client.xadd(stream, {b"n": b"nobody", b"": b"\xff\xff\xff\xff\xff"})
    there = client.xlen(stream)
    relay.start()
    other = await Typist.join(relay.port, "other", 6)
    await poisoned(relay, "poison", other)
    assert client.xlen(stream) == there
    client.xdel(stream, bad)
    assert rooms_command(relay, "release", "poison").returncode == 0
    again = await Typist.join(relay.port, "poison", 1)
    assert len(again.text(5)) == 50


@pytest.mark.slow
async def test_corruption_found_by_a_snapshot(
    relays: Callable[..., Relay], postgres_server: Any, own_valkey: Any
) -> None:
    """Bytes that rotted where loading does not look are found when the room is compacted; who is in it is let go."""
    database = postgres_server.create_database()
    flags = "--idle-unload", "0.2", "--snapshot-idle", "0.5"
    relay = relays(*flags, postgres=database, valkey=own_valkey.url)
    author = await Typist.join(relay.port, "poison", 5)
    author.type(50)
    await until(lambda: author.saved == 50, 20, "saved")
    author.leave()
    await until(lambda: relay.metrics()["relay_rooms"] == 0, 30, "the room is let go")
    psql = [postgres_server.binaries / "psql", database, "-qXc"]
    rot = r"UPDATE relay.segment SET state = overlay(state placing '\xffffffff' from 4) WHERE room = 'poison'"
    subprocess.run([*psql, rot], check=True)
    other = await Typist.join(relay.port, "other", 6)
    again = await Typist.join(relay.port, "poison", 7, keep=True)
    again.type(5)
    await until(lambda: again.closed, 10, relay.tail)
    assert again.closed == (4423, "document quarantined")
    assert again.saved == 5
    await poisoned(relay, "poison", other)
    assert relay.metrics()['relay_errors_total{kind="poison"}'] == 1
