"""One server for a module's tests."""

from collections.abc import AsyncIterator

import pytest_asyncio
from auth_people import People, auth_server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(postgres: str, valkey) -> AsyncIterator[People]:
    """The module's server, with an owner."""
    async with auth_server(postgres, valkey.url) as found:
        yield found
