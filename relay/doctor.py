"""What an operator should know before it hurts: each check looks at the machine or a service and says what to do."""

import asyncio
import os
import platform
import resource
import shutil
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
from redis.exceptions import RedisError

from relay.embedded.datadir import account_for, holder
from relay.embedded.postgres import binaries
from relay.embedded.process import admit
from relay.embedded.valkey import binary
from relay.errors import StartError
from relay.journal.address import Address
from relay.journal.slots import Client

__all__ = ["Check", "examine", "exit_code", "render"]

TIMEOUT = 5.0
"""Seconds that a service has to answer."""

MIN_PYTHON = (3, 11)
MIN_POSTGRES = 13
MIN_REDIS, GOOD_REDIS = (6, 2), (7, 0)
SPARE_DESCRIPTORS = 256
"""Open files besides client connections: services, logs, codec processes."""

LOW_DISK = 1 << 30
MAX_SKEW = 1.0
SLOW_LOOP = 20_000
"""Turns of an idle event loop per second; uvloop makes well over a hundred thousand on a server."""
LATE = 30.0
"""Seconds a replica may be behind before somebody should look."""

_DATABASE = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
       pg_is_in_recovery() AS replica, has_schema_privilege(current_schema(), 'CREATE') AS creates,
       current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off' AS durable,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS connections,
       (SELECT sum(numbackends)::int - 1 FROM pg_stat_database) AS used,
       to_regclass('relay.archive_default') IS NOT NULL AS archive
"""
_UNSORTED = "SELECT EXISTS (SELECT FROM relay.archive_default) AS found"
_REPLICA = """
SELECT pg_is_in_recovery() AS replica, (SELECT system_identifier FROM pg_control_system()) AS system,
       CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END AS late
"""


class Check(NamedTuple):
    """One finding. `ok`: True is fine, False stops or breaks the relay, None deserves a look."""

    name: str
    ok: bool | None
    detail: str
    fix: str = ""


async def examine(
    *,
    data: Path,
    host: str = "127.0.0.1",
    port: int = 8080,
    database_url: str | None = None,
    database_read_url: str | None = None,
    database_pool: int = 4,
    redis_url: str | None = None,
    max_connections: int = 50_000,
) -> list[Check]:
    """Run every check that applies to these settings; takes a few seconds at most and changes nothing.

    Without `database_url` or `redis_url` the embedded server for it is examined instead. Call it on the main thread.
    """
    checks = [_python(), _uvloop(), *await _loop_speed(), _descriptors(max_connections)]
    if port:
        checks.append(_port(host, port, data))
    if not (database_url and redis_url):
        checks += _data_directory(data)
    if not database_url:
        checks.append(_embedded("postgres", lambda: binaries() / "postgres", data))
    if not redis_url:
        checks.append(_embedded("valkey", binary, data))
    remote: list[Coroutine[Any, Any, list[Check]]] = []
    if database_url:
        remote.append(_database(database_url, database_pool))
        if database_read_url:
            remote.append(_replica(database_read_url, database_url))
    if redis_url:
        remote.append(_redis(redis_url))
    for found in await asyncio.gather(*remote):
        checks += found
    return checks


def render(checks: Iterable[Check]) -> str:
    """The findings for a terminal, one a line, each fix below its finding."""
    checks = list(checks)
    width = max((len(check.name) for check in checks), default=0)
    marks = {True: "ok  ", None: "look", False: "FAIL"}
    lines = []
    for check in checks:
        lines.append(f"{marks[check.ok]}  {check.name:<{width}}  {check.detail}")
        if check.ok is not True and check.fix:
            lines.append(f"{'':{width + 6}}  -> {check.fix}")
    failed, odd = (sum(check.ok is state for check in checks) for state in (False, None))
    lines.append(f"{len(checks)} checks, {failed} failed, {odd} to look at")
    return "\n".join(lines)


def exit_code(checks: Iterable[Check]) -> int:
    """1 if any check failed, else 0: what only deserves a look does not fail a script."""
    return int(any(check.ok is False for check in checks))


def _python() -> Check:
    detail = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    return Check("python", sys.version_info >= MIN_PYTHON, detail, "install Python 3.11 or later")


def _uvloop() -> Check:
    try:
        return Check("uvloop", True, version("uvloop"))
    except PackageNotFoundError:
        return Check("uvloop", False, "not installed", "pip install uvloop")


async def _loop_speed(seconds: float = 0.1) -> list[Check]:
    turns, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        await asyncio.sleep(0)
        turns += 1
    speed = int(turns / seconds)
    kind = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    fix = "the machine is slow or busy: measure with benchmarks/ before you promise numbers"
    return [Check("loop", True if speed >= SLOW_LOOP else None, f"{speed:,} turns/s on {kind}", fix)]


def _descriptors(max_connections: int) -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Check("descriptors", True, "unlimited")
    room = soft - SPARE_DESCRIPTORS
    limit = "unlimited" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    detail = f"ulimit -n is {soft:,} (at most {limit}): room for {max(room, 0):,} of {max_connections:,} connections"
    fix = f"ulimit -n {max_connections + SPARE_DESCRIPTORS} (LimitNOFILE= in systemd), or lower max_connections"
    return Check("descriptors", True if room >= max_connections else None if room > 0 else False, detail, fix)


def _port(host: str, port: int, data: Path) -> Check:
    name, pid = "port", holder(data)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if pid is not None:
            return Check(
                name, None, f"{host}:{port}: {error.strerror}; relay {pid} runs here", "stop it, or use --port"
            )
        return Check(
            name, False, f"{host}:{port}: {error.strerror}", "stop what listens there, or use --port and --host"
        )
    return Check(name, True, f"{host}:{port} is free")


def _data_directory(data: Path) -> list[Check]:
    name, existing = "data", _nearest(data)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        fix = "change its owner, or name another directory with --data"
        return [Check(name, False, f"uid {os.geteuid()} can't write {existing}", fix)]
    pid = holder(data)
    use = f", in use by relay {pid}" if pid else "" if existing == data.absolute() else ", not made yet"
    free = shutil.disk_usage(existing).free
    fix = "make room, or name another directory with --data"
    enough = True if free >= LOW_DISK else None if free >= LOW_DISK >> 2 else False
    return [
        Check(name, True, f"{data.absolute()}{use}"),
        Check("disk", enough, f"{free / (1 << 30):.1f} GiB free", fix),
    ]


def _embedded(name: str, find: Callable[[], Path], data: Path) -> Check:
    """Does the server's binary run here, as the account it would get, with a way to its data?"""
    try:
        account, printed = admit(find(), account_for(data), [_nearest(data)])
    except StartError as error:
        return Check(name, False, "no embedded server", str(error))
    return Check(
        name, True, f"embedded, {printed.partition(' sha=')[0]}" + (f", as uid {account.uid}" if account else "")
    )


def _nearest(path: Path) -> Path:
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


async def _database(url: str, pool: int) -> list[Check]:
    name, where = "database", _place(url)
    asked = await _ask(url, _DATABASE)
    if isinstance(asked, str):
        fix = f"check that PostgreSQL runs at {where} and that DATABASE_URL has the right user and password"
        return [Check(name, False, asked, fix)]
    row, took = asked
    detail = f"PostgreSQL {row['version']} at {where}, answers in {took * 1000:.1f} ms"
    if row["major"] < MIN_POSTGRES:
        return [Check(name, False, detail, f"upgrade to PostgreSQL {MIN_POSTGRES} or later")]
    if row["replica"]:
        return [Check(name, False, f"{detail}: a replica, read-only", "point DATABASE_URL at the primary")]
    checks = [Check(name, True, detail), _room_for(pool, row["connections"], row["used"])]
    if not row["creates"]:
        fix = "GRANT CREATE ON SCHEMA public TO the user of DATABASE_URL: migrations make tables"
        checks.append(Check("schema", False, "the user may not create tables", fix))
    if not row["durable"]:
        fix = "set fsync and synchronous_commit to on: the journal is trimmed once a snapshot is committed"
        checks.append(Check("durability", False, "PostgreSQL may lose what it has committed", fix))
    if row["archive"]:
        checks += await _archive(url)
    return checks


def _room_for(pool: int, connections: int, used: int) -> Check:
    detail = f"{used} of {connections} in use, each relay process takes up to {pool}"
    fix = "raise max_connections, lower database_pool, or put a pooler before it (database_pooler)"
    return Check("connections", True if connections - used >= pool else None, detail, fix)


async def _archive(url: str) -> list[Check]:
    """Whether months are made in time; what has none can't be dropped with it."""
    asked = await _ask(url, _UNSORTED)
    if isinstance(asked, str) or not asked[0]["found"]:
        return []
    fix = "let the relay's user own the tables of the schema relay, or look for a clock that is ahead"
    return [Check("archive", None, "there are entries in relay.archive_default, for which no month was made", fix)]


async def _replica(url: str, primary_url: str) -> list[Check]:
    """Only a copy of the primary is of use; one that is away or behind costs speed and nothing else."""
    name, where = "replica", _place(url)
    asked, primary = await asyncio.gather(_ask(url, _REPLICA), _ask(primary_url, _REPLICA))
    if isinstance(asked, str):
        fix = "check DATABASE_READ_URL; meanwhile documents are loaded from the primary"
        return [Check(name, None, asked, fix)]
    row, took = asked
    detail = f"{where}, answers in {took * 1000:.1f} ms"
    if not isinstance(primary, str) and primary[0]["system"] != row["system"]:
        fix = "point DATABASE_READ_URL at a physical replica of DATABASE_URL's server, or unset it"
        return [Check(name, None, f"{detail}: not a replica of that primary", fix)]
    if not row["replica"]:
        return [Check(name, None, f"{detail}: the primary itself", "point DATABASE_READ_URL at a replica, or unset it")]
    fix = "a replica that lags is asked in vain: look at its disk and network, or unset DATABASE_READ_URL"
    late = float(row["late"] or 0)
    return [Check(name, True if late <= LATE else None, f"{detail}, {late:.1f} s behind", fix)]


async def _ask(url: str, query: str) -> tuple[asyncpg.Record, float] | str:
    """The row, and how long it took; or why there is none."""
    where = _place(url)
    try:
        async with asyncio.timeout(TIMEOUT):
            # Nothing prepared, so that a pooler may be in between.
            connection = await asyncpg.connect(url, timeout=TIMEOUT, statement_cache_size=0)
            try:
                begin = time.perf_counter()
                async with connection.transaction():
                    return await connection.fetchrow(query), time.perf_counter() - begin
            finally:
                await connection.close(timeout=1.0)
    except TimeoutError:
        return f"{where} does not answer within {TIMEOUT:.0f} s"
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"{where}: {_reason(error)}"


async def _redis(url: str) -> list[Check]:
    name = "redis"
    try:
        address = Address(url)
    except StartError as error:
        return [Check(name, False, str(error), "correct REDIS_URL")]
    client = address.client("doctor", TIMEOUT)
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.ping()
            before, begin = time.time(), time.perf_counter()
            seconds, micros = await client.time()
            took = time.perf_counter() - begin
            nodes = await client.nodes() if isinstance(client, Client) else [client]
            infos: list[dict[str, Any]] = [await node.info() for node in nodes]
    except TimeoutError:
        return [Check(name, False, f"{address} does not answer within {TIMEOUT:.0f} s", "check that Redis runs there")]
    except (OSError, RedisError) as error:
        fix = "check that Redis runs there and that REDIS_URL has the right user and password"
        return [Check(name, False, f"{address}: {_reason(error)}", fix)]
    finally:
        await client.aclose()
    skew = seconds + micros / 1e6 - (before + took / 2)
    checks = [[_redis_version(info, str(address), took), *_redis_safety(info)] for info in infos]
    if address.redundant or address.seeds:
        for found, info in zip(checks, infos):
            found.append(_failover(info))
    # Of several nodes the worst counts.
    return [min(same, key=lambda check: {False: 0, None: 1, True: 2}[check.ok]) for same in zip(*checks)] + [
        _clock(skew, took)
    ]


def _redis_version(info: dict[str, Any], where: str, took: float) -> Check:
    speaks = str(info.get("redis_version", "0"))
    product = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {speaks}"
    detail = f"{product} at {where}, answers in {took * 1000:.1f} ms"
    if info.get("role") not in (None, "master"):
        return Check("redis", False, f"{detail}: a replica, read-only", "point REDIS_URL at the primary")
    number = tuple(int(part) for part in speaks.split(".")[:2] if part.isdigit())
    state = True if number >= GOOD_REDIS else None if number >= MIN_REDIS else False
    return Check("redis", state, detail, "upgrade to Redis 7 or later, or Valkey")


def _redis_safety(info: dict[str, Any]) -> Sequence[Check]:
    """From INFO, which managed services answer where they refuse CONFIG."""
    aof, policy, limit = info.get("aof_enabled"), str(info.get("maxmemory_policy", "")), int(info.get("maxmemory") or 0)
    appends = Check(
        "appendonly",
        True if aof == 1 else None,
        "on" if aof == 1 else "off: edits since the last snapshot are lost when Redis restarts",
        "CONFIG SET appendonly yes, and appendfsync everysec or always",
    )
    bounded = f"maxmemory is {limit >> 20} MiB" if limit else "maxmemory is not set"
    if policy == "noeviction":
        return [appends, Check("eviction", True, f"{policy}, {bounded}")]
    fix = "CONFIG SET maxmemory-policy noeviction: an evicted stream is a lost document"
    return [appends, Check("eviction", False if limit else None, f"{policy or 'policy unknown'}, {bounded}", fix)]


def _failover(info: dict[str, Any]) -> Check:
    replicas, good = int(info.get("connected_slaves") or 0), info.get("min_slaves_good_slaves")
    if not replicas:
        return Check("failover", None, "a master without a replica: nobody takes over from it", "add a replica")
    fix = "CONFIG SET min-replicas-to-write 1: what is acknowledged is then on a replica too, within seconds"
    bounded = "writes need one" if good is not None else "writes need none: a failover may lose the last ones"
    return Check("failover", True if good is not None else None, f"replicas: {replicas}, {bounded}", fix)


def _clock(skew: float, took: float) -> Check:
    detail = f"{skew * 1000:+.0f} ms between Redis and this machine"
    return Check("clock", True if abs(skew) <= MAX_SKEW + took else None, detail, "synchronise both with NTP (chrony)")


def _place(url: str) -> str:
    """A database URL without user, password and options."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port or 5432}" if parts.hostname else "its socket"
    except ValueError:
        return "DATABASE_URL"
    return f"{host}{parts.path}"


def _reason(error: BaseException) -> str:
    """The first line of an error; a bare class name where it says nothing."""
    return str(error).partition("\n")[0] or type(error).__name__
