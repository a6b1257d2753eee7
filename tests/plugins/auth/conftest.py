"""One server for all tests of accounts that need no settings of their own."""

from collections.abc import AsyncIterator

import pytest_asyncio
from auth_people import People, auth_server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def people(postgres_server, valkey) -> AsyncIterator[People]:
    """A server with an owner."""
    async with auth_server(postgres_server.create_database(), valkey.url) as found:
        yield found
