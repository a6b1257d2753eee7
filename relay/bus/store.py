"""The event store: every event, by month, in the order of publication."""

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

__all__ = ["EventStore", "Stored", "drop_before", "make_months"]

log = logging.getLogger("relay.bus")
_MONTH = re.compile(r"event_(\d{4})_(\d{2})")


class Stored(NamedTuple):
    """One event as it is kept; `body` is a serialized Envelope."""

    position: int
    id: UUID
    body: bytes


class EventStore:
    """Reads of `bus.event`. They raise asyncpg's errors."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def read(
        self, after: int, *, types: Sequence[str] = (), subject: str = "", topic: str = "", limit: int = 100
    ) -> list[Stored]:
        """Events past a position, in order; nothing that is published later comes before one returned."""
        conditions, arguments = ["position > $1"], [after]
        wanted: list[tuple[str, Any]] = [
            ("type = ANY($?)", list(types)),
            ("subject = $?", subject),
            ("topic = $?", topic),
        ]
        for condition, value in wanted:
            if value:
                arguments.append(value)
                conditions.append(condition.replace("?", str(len(arguments))))
        where = " AND ".join(conditions)
        sql = f"SELECT position, id, body FROM bus.event WHERE {where} ORDER BY position LIMIT {limit:d}"  # noqa: S608
        return [Stored(*row) for row in await self._pool.fetch(sql, *arguments)]

    async def position_of(self, id: UUID) -> int | None:
        """The position of an event; None when it was never published, or is past retention."""
        # the id says the month, so that one partition is looked into
        made = datetime.fromtimestamp((id.int >> 80) / 1000, UTC) if id.version == 7 else None
        found: int | None = await self._pool.fetchval(
            "SELECT position FROM bus.event WHERE id = $1 AND ($2::timestamptz IS NULL OR time = $2)", id, made
        )
        return found

    async def position_at(self, time: datetime) -> int:
        """The position after which come the events of that time and later."""
        found: int | None = await self._pool.fetchval("SELECT min(position) - 1 FROM bus.event WHERE time >= $1", time)
        return await self.newest() if found is None else found

    async def newest(self) -> int:
        """The last position that was published; 0 when there is none."""
        return int(await self._pool.fetchval("SELECT coalesce(max(position), 0) FROM bus.topic"))


async def make_months(connection: Any, now: datetime, ahead: int = 2) -> None:
    """Create the partitions of this month and the next `ahead`."""
    month = datetime(now.year, now.month, 1, tzinfo=UTC)
    for _ in range(ahead + 1):
        following = (month + timedelta(days=32)).replace(day=1)
        await _make_month(connection, month, following)
        month = following


async def _make_month(connection: Any, month: datetime, following: datetime) -> None:
    name = f"bus.event_{month:%Y_%m}"
    if await connection.fetchval("SELECT to_regclass($1)", name) is not None:
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('bus.months', 0))")
        if await connection.fetchval("SELECT to_regclass($1)", name) is not None:
            return
        await connection.execute("LOCK TABLE bus.event IN SHARE UPDATE EXCLUSIVE MODE")
        await connection.execute("LOCK TABLE bus.event_default IN ACCESS EXCLUSIVE MODE")
        await connection.execute(f"CREATE TABLE {name} (LIKE bus.event INCLUDING ALL)")
        moved = await connection.fetchval(
            f"WITH moved AS (DELETE FROM bus.event_default WHERE time >= $1 AND time < $2 RETURNING *), "  # noqa: S608
            f"kept AS (INSERT INTO {name} SELECT * FROM moved RETURNING 1) SELECT count(*) FROM kept",
            month,
            following,
        )
        span = f"FROM ('{month:%Y-%m-%d}+00') TO ('{following:%Y-%m-%d}+00')"
        await connection.execute(f"ALTER TABLE bus.event ATTACH PARTITION {name} FOR VALUES {span}")
    if moved:
        log.warning("events came before their month was created", extra={"partition": name, "events": moved})


async def drop_before(connection: Any, limit: datetime) -> list[str]:
    """Drop the months that ended before `limit`; returns their names."""
    rows = await connection.fetch(
        "SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'bus.event'::regclass"
    )
    dropped = []
    for row in rows:
        if not (match := _MONTH.fullmatch(row["relname"])):
            continue
        month = datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)
        if (month + timedelta(days=32)).replace(day=1) <= limit:
            await connection.execute(f"DROP TABLE bus.{row['relname']}")
            log.info("events dropped past retention", extra={"partition": row["relname"]})
            dropped.append(row["relname"])
    return dropped
