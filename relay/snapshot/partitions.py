"""The archive's months: made ahead, and dropped whole when they are older than the operator wants to keep.

Partitions are named after what they hold: `archive_2026_12` a month, `archive_before_2026_12` all before one,
`archive_default` what no other takes. What the last one got before its month was made moves to the month.
"""

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg

__all__ = ["Tended", "tend"]

log = logging.getLogger("relay.archive")
AHEAD = 2
"""Months made before they begin. One would do; two give an operator a month to notice that it failed."""
_NAME = re.compile(r"archive_(before_)?(\d{4})_(\d\d)")
# Who waits for a table makes all who come later wait too: not for long.
_TURN = f"SET LOCAL lock_timeout = '2s'; SELECT pg_advisory_xact_lock({int.from_bytes(b'archive', 'big')})"

_PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'relay.archive'::regclass
"""


class Tended(NamedTuple):
    """Names of the partitions made and dropped."""

    made: list[str]
    dropped: list[str]


async def tend(connection: asyncpg.Connection, now: datetime, retention: float) -> Tended:
    """Make the months that are lacking up to two ahead of `now`, and drop those that ended `retention` seconds ago or
    more (0: none). Any number of relays may do it at once; each step is a transaction of its own.

    Making or dropping a month keeps everybody else from the archive for a moment, and waits for its turn no longer
    than two seconds. Raises what asyncpg raises.
    """
    done = Tended([], [])
    month = _month(now)
    for _ in range(AHEAD + 1):
        if await _make(connection, month):
            done.made.append(_name(month))
        month = _next(month)
    if retention:
        for name in sorted(await _partitions(connection)):
            end = _end(name)
            if end is not None and end <= now - timedelta(seconds=retention) and await _drop(connection, name):
                done.dropped.append(name)
    if done.made or done.dropped:
        log.info("archive tended", extra=done._asdict())
    return done


async def _make(connection: asyncpg.Connection, month: datetime) -> bool:
    async with connection.transaction():
        await connection.execute(_TURN)
        names = await _partitions(connection)
        if _name(month) in names or any(_covers(name, month) for name in names):
            return False
        table, span = f"relay.{_name(month)}", (_ms(month), _ms(_next(month)))
        await connection.execute("LOCK TABLE relay.archive_default")  # ATTACH will; taken now, no row slips in between
        await connection.execute(f"CREATE TABLE {table} (LIKE relay.archive INCLUDING DEFAULTS INCLUDING STORAGE)")
        await connection.execute(
            "WITH early AS (DELETE FROM relay.archive_default WHERE last_ms >= $1 AND last_ms < $2 RETURNING *)"  # noqa: S608
            f" INSERT INTO {table} SELECT * FROM early",
            *span,
        )
        attach = "ALTER TABLE relay.archive ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)"
        await connection.execute(attach % (table, *span))
    return True


async def _drop(connection: asyncpg.Connection, name: str) -> bool:
    async with connection.transaction():
        await connection.execute(_TURN)
        if name not in await _partitions(connection):
            return False
        await connection.execute(f"DROP TABLE relay.{name}")
    return True


async def _partitions(connection: asyncpg.Connection) -> set[str]:
    return {row["relname"] for row in await connection.fetch(_PARTITIONS)}


def _covers(name: str, month: datetime) -> bool:
    """Whether the partition is one of all before a later month."""
    end = _end(name)
    return end is not None and name.startswith("archive_before_") and month < end


def _end(name: str) -> datetime | None:
    """When the partition's last month is over; None for the default partition, which has no end."""
    if (found := _NAME.fullmatch(name)) is None:
        return None
    month = datetime(int(found[2]), int(found[3]), 1, tzinfo=UTC)
    return month if found[1] else _next(month)


def _name(month: datetime) -> str:
    return f"archive_{month:%Y_%m}"


def _month(now: datetime) -> datetime:
    return datetime(now.year, now.month, 1, tzinfo=UTC)


def _next(month: datetime) -> datetime:
    return _month(month + timedelta(days=31))


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
