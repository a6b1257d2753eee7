"""One server for all tests of workspaces that need no settings of their own."""

from collections.abc import AsyncIterator

import pytest_asyncio
from conftest import PostgresServer, Valkey
from workspaces_people import Site, site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def works(postgres_server: PostgresServer) -> AsyncIterator[Site]:
    # A Valkey of its own: the event bus's streams belong to one database.
    server = Valkey()
    try:
        server.start()
        async with site(postgres_server.create_database(), server.url) as found:
            yield found
    finally:
        server.remove()
