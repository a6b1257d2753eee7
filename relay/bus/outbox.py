"""Events added in a transaction of the caller's, to be published once it has committed."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from relay.contracts import Event
from relay.ids import milliseconds, uuid7

__all__ = ["CHANNEL", "MAX_BODY", "PostgresOutbox", "made"]

CHANNEL = "bus_outbox"
"""What publishers listen on."""

MAX_BODY = 256 << 10
"""Bytes of an event at most: events say what happened, and name what they are about."""

_ADD = f"""
WITH added AS (
    INSERT INTO bus.outbox (event, time, topic, type, subject, actor, body)
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[])
)
SELECT pg_notify('{CHANNEL}', '')
"""  # noqa: S608


def made(payload: Message, *, subject: str, actor: str = "", trace: str = "") -> Event:
    """A new event of now. Raises ValueError."""
    id = uuid7()
    return Event(id, milliseconds(id), subject, actor, trace, payload)


class PostgresOutbox:
    """`Outbox` in the table `bus.outbox`."""

    async def add(self, connection: Any, event: Message, *, subject: str, actor: str = "", trace: str = "") -> UUID:
        one = made(event, subject=subject, actor=actor, trace=trace)
        await self.add_many(connection, [one])
        return one.id

    async def add_many(self, connection: Any, events: list[Event]) -> None:
        """Add events made by `made`, in one statement. Raises ValueError when one is too large."""
        bodies = [event.encode() for event in events]
        if max(map(len, bodies), default=0) > MAX_BODY:
            raise ValueError(f"an event of over {MAX_BODY} bytes")
        await connection.execute(
            _ADD,
            [event.id for event in events],
            [datetime.fromtimestamp(event.time / 1000, UTC) for event in events],
            [event.topic for event in events],
            [event.type for event in events],
            [event.subject for event in events],
            [event.actor for event in events],
            bodies,
        )
