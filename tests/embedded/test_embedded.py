"""The embedded servers as a whole: starts, kills and restarts on one directory that a relay has left."""

import asyncio
import os
import signal
import stat
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from relay import embedded
from relay.errors import StartError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root changes to another account for its servers")
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="the death signal exists on Linux")


async def ask(url, sql, *values):
    connection = await asyncpg.connect(url, timeout=20)
    try:
        return await connection.fetchval(sql, *values)
    finally:
        await connection.close()


async def keep(url, word):
    await ask(url, "CREATE TABLE IF NOT EXISTS kept (word text)")
    await ask(url, "INSERT INTO kept VALUES ($1)", word)


async def command(url, *words):
    async with redis.asyncio.from_url(url, decode_responses=True) as client:
        return await client.execute_command(*words)


async def test_start_makes_servers_that_take_work(tmp_path, gone):
    """An empty directory becomes PostgreSQL with the product's database and a durable Redis-compatible server."""
    async with await embedded.start(tmp_path / "new", postgres=True, valkey=True) as servers:
        assert await ask(servers.database_url, "SELECT current_setting('server_encoding')") == "UTF8"
        assert await ask(servers.database_url, "SELECT lower('ÄÖ')") == "äö"
        assert not await ask(servers.database_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert await ask(servers.database_url, "SELECT current_setting('fsync')") == "on"
        await ask(servers.database_url, "CREATE EXTENSION IF NOT EXISTS vector")
        await ask(servers.database_url, "CREATE EXTENSION pg_trgm")
        await keep(servers.database_url, "a row")
        assert (await command(servers.redis_url, "CONFIG", "GET", "appendonly"))["appendonly"] == "yes"
        assert (await command(servers.redis_url, "CONFIG", "GET", "maxmemory-policy"))[
            "maxmemory-policy"
        ] == "noeviction"
        assert (await command(servers.redis_url, "CONFIG", "GET", "save"))["save"] == ""
    await gone(tmp_path)


async def test_servers_listen_on_sockets_only(data, owner):
    """No TCP port is opened, and the sockets are their account's alone."""
    with owner(data) as it:
        assert await ask(it.said["database"], "SHOW listen_addresses") == ""
        assert (await command(it.said["redis"], "CONFIG", "GET", "port"))["port"] == "0"
        run = Path(it.said["redis"].removeprefix("unix://")).parent
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in run.iterdir()] == [0, 0, 0]


async def test_stop_twice_frees_the_directory(data):
    """Stopping is idempotent, and the next start in the same process succeeds."""
    servers = await embedded.start(data, postgres=False, valkey=True)
    assert servers.database_url == ""
    assert list(servers.pids) == ["valkey"]
    await servers.stop()
    await servers.stop()
    async with await embedded.start(data, postgres=False, valkey=True) as again:
        assert again.redis_url == servers.redis_url


@needs_proc
async def test_killed_relay_takes_its_servers_along_and_loses_nothing(data, owner, gone):
    """After kill -9 the servers are gone within moments, and the next start has every committed row and entry."""
    with owner(data) as it:
        await keep(it.said["database"], "before the kill")
        entry = await command(it.said["redis"], "XADD", "log", "*", "word", "before the kill")
        it.kill()
    await gone(data)
    async with await embedded.start(data, postgres=True, valkey=True) as servers:
        assert await ask(servers.database_url, "SELECT count(*) FROM kept WHERE word = 'before the kill'") == 1
        assert (await command(servers.redis_url, "XRANGE", "log", "-", "+"))[0][0] == entry


@needs_proc
async def test_start_right_after_a_kill_waits_for_the_old_servers(data, owner):
    """A restart does not race the servers that are still shutting down."""
    for _ in range(3):
        with owner(data) as it:
            await keep(it.said["database"], "again")
            it.process.kill()
            async with await embedded.start(data, postgres=True, valkey=True) as servers:
                assert it.process.wait() == -signal.SIGKILL
                assert not set(servers.pids.values()) & set(it.said["pids"].values())
                assert await ask(servers.database_url, "SELECT count(*) FROM kept WHERE word = 'again'")


async def test_second_relay_is_refused(data, owner):
    """A directory has one owner; the other is told its pid and what to do."""
    with owner(data) as it:
        with pytest.raises(StartError, match=rf"in use by another relay \(pid {it.process.pid}\).*--data"):
            await embedded.start(data, postgres=True, valkey=True)
        assert await ask(it.said["database"], "SELECT 1") == 1


async def test_lock_of_a_dead_relay_does_not_matter(data):
    """A lock file that is left behind, whatever pid it names, keeps nobody out."""
    (data / "lock").write_text(f"{os.getpid()}\n")
    async with await embedded.start(data, postgres=False, valkey=True):
        assert (data / "lock").read_text() == f"{os.getpid()}\n"


async def test_server_that_died_is_started_again(data):
    """Servers killed under us come back on the same addresses, with their data."""
    async with await embedded.start(data, postgres=True, valkey=True) as servers:
        await keep(servers.database_url, "before the kill")
        await command(servers.redis_url, "SET", "kept", "before the kill")
        before = servers.pids
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while True:
                try:
                    assert await ask(servers.database_url, "SELECT count(*) FROM kept") > 0
                    assert await command(servers.redis_url, "GET", "kept")
                    break
                except (OSError, redis.exceptions.RedisError, asyncpg.PostgresError):
                    await asyncio.sleep(0.02)
        assert not set(servers.pids.values()) & set(before.values())


async def test_start_that_is_cancelled_leaves_nothing(data, gone):
    """Cancelling a start, at whatever point, stops what it had started and frees the directory."""
    for pause in (0.0, 0.02, 0.05):
        task = asyncio.get_running_loop().create_task(embedded.start(data, postgres=True, valkey=True))
        await asyncio.sleep(pause)
        task.cancel()
        for started in await asyncio.gather(task, return_exceptions=True):
            if isinstance(started, embedded.Embedded):
                await started.stop()
        await gone(data)


async def test_one_failure_stops_the_other_server(data, gone):
    """When one server can't start, the other does not stay behind."""
    broken = data / "postgres" / "cluster" / "postgresql.auto.conf"
    kept = broken.read_text()
    broken.write_text(kept + "no_such_setting = 1\n")
    try:
        with pytest.raises(StartError, match=r"(?s)postgres ended with 1 at start.*no_such_setting"):
            await embedded.start(data, postgres=True, valkey=True)
    finally:
        broken.write_text(kept)
    await gone(data)


async def test_path_too_long_for_sockets(tmp_path):
    """With a long data path the sockets live in a short private directory, which goes at the end."""
    long = tmp_path / ("long " * 30)
    async with await embedded.start(long, postgres=False, valkey=True) as servers:
        run = Path(servers.redis_url.removeprefix("unix://")).parent
        assert run.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        assert await command(servers.redis_url, "PING")
    assert not run.exists()


@pytest.mark.slow
async def test_long_path_with_postgres(tmp_path):
    """PostgreSQL, too, lives under a path of blanks, commas and umlauts."""
    async with await embedded.start(tmp_path / "a, b" / ("ü" * 60), postgres=True, valkey=True) as servers:
        assert await ask(servers.database_url, "SELECT 1") == 1


@needs_root
@needs_proc
async def test_root_below_a_closed_directory(data, owner):
    """Root's servers run as another account, pass closed parents by one capability, and no directory is opened up."""
    parent = data.parent.parent
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700
    with owner(data) as it:
        for pid in it.said["pids"].values():
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert "0" not in status["Uid"].split()
            assert status["Groups"].strip() == ""
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 1 << 2
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700


@needs_root
@needs_proc
async def test_root_below_an_open_directory(owner):
    """Where nothing is in the way, root's servers keep no capability at all."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        async with await embedded.start(Path(name) / "data", postgres=False, valkey=True) as servers:
            status = Path(f"/proc/{servers.pids['valkey']}/status").read_text()
            assert "CapEff:\t0000000000000000" in status


@pytest.mark.slow
@needs_root
@needs_proc
async def test_ordinary_user(owner, gone):
    """Without root the servers run as ourselves, with the same promises; root may take over and give back."""
    uid = 65534
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        os.chown(name, uid, uid)
        with owner(data, uid) as it:
            assert it.said.get("error") is None
            await ask(it.said["database"], "CREATE TABLE mine (word text)")
            assert Path(f"/proc/{it.said['pids']['postgres']}").stat().st_uid == uid
            it.kill()
        await gone(data)
        async with await embedded.start(data, postgres=True, valkey=True) as servers:
            assert await ask(servers.database_url, "SELECT count(*) FROM mine") == 0
        with owner(data, uid) as it:
            assert await ask(it.said["database"], "SELECT count(*) FROM mine") == 0


@needs_root
async def test_directory_of_another_user(tmp_path, owner):
    """A directory that we may not write is refused, with its name and our uid."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with owner(Path(name) / "data", 65534) as it:
            assert "Permission denied. uid 65534 must be able to write there" in it.said["error"]
