"""The snapshot store's schema `relay`, brought up to this code's (see `relay.migrate`)."""

from collections.abc import Sequence

from asyncpg import Connection

from relay import migrate as schemas
from relay.migrate import Migration

__all__ = ["Migration", "migrate", "migrations"]


def migrations() -> list[Migration]:
    """The migrations of this code, in order."""
    return schemas.migrations("relay.snapshot.migrations")


async def migrate(connection: Connection, known: Sequence[Migration]) -> int:
    """Apply what the database lacks of `known` and return how many that was. Raises StartError."""
    return await schemas.migrate(connection, known, schema="relay", component="relay")
