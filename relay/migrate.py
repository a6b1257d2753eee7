"""Bring a schema of the database up to this code's: forward only, one transaction a migration.

A component (the relay, the bus, each plugin) has a schema and a package with files `NNNN_name.sql`, numbered from 1
without gaps. Once applied, a file never changes: its checksum is kept in the schema's table `migration`, and a schema
that was migrated by other text, or by newer code, is refused.
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

log = logging.getLogger("relay.migrate")
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_LOCK = int.from_bytes(b"relay", "big")


class Migration(NamedTuple):
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(package: str) -> list[Migration]:
    """The migrations in `package` ("relay.bus.migrations"), in order."""
    parent, _, folder = package.rpartition(".")
    found = []
    for file in files(parent).joinpath(folder).iterdir():
        if match := _FILE.fullmatch(file.name):
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return sorted(found)


async def migrate(connection: Connection, known: Sequence[Migration], schema: str, component: str) -> int:
    """Apply what `schema` lacks of `known` and return how many that was. Raises StartError.

    `component` is what an operator calls the code whose schema it is: "relay", "plugin auth". Any number of processes
    may call it at once: each migration is looked for and applied under one advisory lock.
    """
    if not _SCHEMA.fullmatch(schema):
        raise StartError(f"{schema!r} is no name for a schema: lower-case letters, digits and _, 63 at most")
    applied = 0
    while await _step(connection, known, schema, component):
        applied += 1
    return applied


async def _step(connection: Connection, known: Sequence[Migration], schema: str, component: str) -> bool:
    table = f'"{schema}".migration'
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        # Looked for first: IF NOT EXISTS asks for the right to create even where there is nothing to create.
        if await connection.fetchval("SELECT to_regclass($1)", table) is None:
            await connection.execute(
                f"""
                CREATE SCHEMA IF NOT EXISTS "{schema}";
                CREATE TABLE {table} (
                    version integer PRIMARY KEY,
                    name text NOT NULL,
                    checksum text NOT NULL,
                    applied timestamptz NOT NULL DEFAULT now()
                );
                """
            )
        rows = await connection.fetch(f"SELECT version, checksum FROM {table}")  # noqa: S608  (a checked name)
        step = _pending({row["version"]: row["checksum"] for row in rows}, known, component)
        if step is None:
            return False
        await connection.execute(step.sql)
        await connection.execute(
            f"INSERT INTO {table} (version, name, checksum) VALUES ($1, $2, $3)",  # noqa: S608  (a checked name)
            step.version,
            step.name,
            step.checksum,
        )
    fields = {"component": component, "version": step.version, "migration": step.name}
    log.info("database migrated", extra=fields)
    return True


def _pending(applied: Mapping[int, str], known: Sequence[Migration], component: str) -> Migration | None:
    """The first migration not applied yet. Raises StartError when the schema is not one that this code knows."""
    newest = max(applied, default=0)
    if newest > len(known):
        raise StartError(
            f"the database is at schema version {newest}, this {component} knows {len(known)}: "
            f"start the newer {component} that migrated it, or restore a backup taken before"
        )
    for migration in known[:newest]:
        if applied.get(migration.version) != migration.checksum:
            raise StartError(
                f"migration {migration.version:04}_{migration.name} is not the one the database was migrated with: "
                f"install an unmodified {component}, or restore a backup"
            )
    return known[newest] if newest < len(known) else None
