"""One server for all tests of accounts that need no settings of their own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from auth_people import People, auth_server
from conftest import Valkey

from plugins.auth import live, throttle


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow a machine is, attempts come before the first wait has passed, and Redis answers in time."""
    monkeypatch.setattr(throttle, "FIRST_WAIT", 60.0)
    monkeypatch.setattr(throttle, "TIMEOUT", 10.0)
    monkeypatch.setattr(live, "TIMEOUT", 10.0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def people(postgres_server) -> AsyncIterator[People]:
    """A server with an owner."""
    # A Valkey of its own: the event bus's streams belong to one database.
    server = Valkey()
    try:
        server.start()
        async with auth_server(postgres_server.create_database(), server.url) as found:
            yield found
    finally:
        server.remove()
