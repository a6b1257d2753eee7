"""Bring the database's schema up to this code's: forward only, one transaction a migration.

A migration is a file `NNNN_name.sql`, numbered from 1 without gaps. Once applied it never changes: its checksum is
kept in `relay.migration`, and a database that was migrated by other text, or by newer code, is refused.
"""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from asyncpg import Connection

from relay.errors import StartError

__all__ = ["Migration", "migrate", "migrations"]

log = logging.getLogger("relay.snapshot")
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_LOCK = int.from_bytes(b"relay", "big")


class Migration(NamedTuple):
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The migrations of this code, in order."""
    found = []
    for file in files("relay.snapshot").joinpath("migrations").iterdir():
        if match := _FILE.fullmatch(file.name):
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return sorted(found)


async def migrate(connection: Connection, known: Sequence[Migration]) -> int:
    """Apply what the database lacks of `known` and return how many that was. Raises StartError.

    Any number of processes may call it at once: each migration is looked for and applied under one advisory lock.
    """
    applied = 0
    while await _step(connection, known):
        applied += 1
    return applied


async def _step(connection: Connection, known: Sequence[Migration]) -> bool:
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        # Looked for first: IF NOT EXISTS asks for the right to create even where there is nothing to create.
        if await connection.fetchval("SELECT to_regclass('relay.migration')") is None:
            await connection.execute(
                """
                CREATE SCHEMA IF NOT EXISTS relay;
                CREATE TABLE relay.migration (
                    version integer PRIMARY KEY,
                    name text NOT NULL,
                    checksum text NOT NULL,
                    applied timestamptz NOT NULL DEFAULT now()
                );
                """
            )
        rows = await connection.fetch("SELECT version, checksum FROM relay.migration")
        step = _pending({row["version"]: row["checksum"] for row in rows}, known)
        if step is None:
            return False
        await connection.execute(step.sql)
        await connection.execute(
            "INSERT INTO relay.migration (version, name, checksum) VALUES ($1, $2, $3)",
            step.version,
            step.name,
            step.checksum,
        )
    log.info("database migrated", extra={"version": step.version, "migration": step.name})
    return True


def _pending(applied: Mapping[int, str], known: Sequence[Migration]) -> Migration | None:
    """The first migration not applied yet. Raises StartError when the database is not one that this code knows."""
    newest = max(applied, default=0)
    if newest > len(known):
        raise StartError(
            f"the database is at schema version {newest}, this relay knows {len(known)}: "
            "start the newer relay that migrated it, or restore a backup taken before"
        )
    for migration in known[:newest]:
        if applied.get(migration.version) != migration.checksum:
            raise StartError(
                f"migration {migration.version:04}_{migration.name} is not the one the database was migrated with: "
                "install an unmodified relay, or restore a backup"
            )
    return known[newest] if newest < len(known) else None
