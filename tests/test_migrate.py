"""Migrations of several components in one database; the relay's own are in tests/snapshot."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from relay.errors import StartError
from relay.migrate import Migration, migrate, migrations


@pytest.fixture
async def connection(postgres_server) -> AsyncIterator[asyncpg.Connection]:  # type: ignore[no-untyped-def]
    opened = await asyncpg.connect(postgres_server.create_database())
    yield opened
    await opened.close()


def test_migrations_are_found_in_their_package() -> None:
    """A package's numbered SQL files are its migrations, in order."""
    found = migrations("relay.snapshot.migrations")
    assert [step.version for step in found] == list(range(1, len(found) + 1))
    assert found[0].sql.startswith("--")


async def test_components_are_apart(connection: asyncpg.Connection) -> None:
    """Each component counts its own migrations, in its own schema."""
    one = [Migration(1, "one", "CREATE TABLE notes.a ()")]
    two = [Migration(1, "first", "CREATE TABLE tasks.a ()"), Migration(2, "second", "CREATE TABLE tasks.b ()")]
    assert await migrate(connection, one, schema="notes", component="plugin notes") == 1
    assert await migrate(connection, two, schema="tasks", component="plugin tasks") == 2
    assert await migrate(connection, one, schema="notes", component="plugin notes") == 0
    assert await connection.fetchval("SELECT count(*) FROM tasks.migration") == 2


async def test_refusal_names_the_component(connection: asyncpg.Connection) -> None:
    """A schema that newer code migrated is refused in the component's name."""
    two = [Migration(1, "first", "SELECT 1"), Migration(2, "second", "SELECT 1")]
    await migrate(connection, two, schema="tasks", component="plugin tasks")
    with pytest.raises(StartError, match="start the newer plugin tasks"):
        await migrate(connection, two[:1], schema="tasks", component="plugin tasks")


@pytest.mark.parametrize("schema", ["", "Tasks", 'a"b', "a" * 64, "1a"])
async def test_impossible_schema(connection: asyncpg.Connection, schema: str) -> None:
    """A schema's name is checked before it becomes part of a statement."""
    with pytest.raises(StartError, match="no name for a schema"):
        await migrate(connection, [], schema=schema, component="plugin")
