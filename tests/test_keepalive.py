"""Connections to the services are given up soon after their other end has vanished."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tcp_proxy import Proxy

from relay.journal.address import Address
from relay.keepalive import KEEPALIVE, LIMIT
from relay.snapshot.database import Database, Limits, connect


@pytest.fixture
async def network(valkey: Any, postgres_server: Any) -> AsyncIterator[tuple[Proxy, Proxy]]:
    proxies = [await Proxy(Path(path)).start() for path in (valkey.socket, postgres_server.directory / ".s.PGSQL.5432")]
    yield proxies[0], proxies[1]
    for proxy in proxies:
        await proxy.close()


class Connected(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


def looked_after(transport: Any) -> bool:
    found = transport.get_extra_info("socket")
    values = {option: found.getsockopt(socket.IPPROTO_TCP, option) for option in KEEPALIVE}
    return found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1 and values == KEEPALIVE


async def test_redis(network: tuple[Proxy, Proxy], valkey: Any) -> None:
    """The connection for appends and those of redis-py; one to a unix socket needs nothing of it."""
    address = Address(f"redis://127.0.0.1:{network[0].port}")
    appends = await address.connect(Connected)
    assert looked_after(appends.transport)
    appends.transport.close()
    client: Any = address.client("test", 2.0)
    await client.ping()
    connection: Any = await client.connection_pool.get_connection()
    assert looked_after(connection._writer.transport)
    await client.connection_pool.release(connection)
    await client.aclose()
    local = Address(f"unix://{valkey.socket}").client("test", 2.0)
    assert await local.ping()
    await local.aclose()


async def test_postgres(network: tuple[Proxy, Proxy], postgres: str) -> None:
    """Connections of a pool and others, and the server's ends of the pool's."""
    name = postgres.partition("app@/")[2].partition("?")[0]
    url = f"postgresql://app@127.0.0.1:{network[1].port}/{name}"
    database = await Database.open(url, Limits(pool=2), "test")
    settings = "SELECT name, reset_val FROM pg_settings WHERE name LIKE 'tcp_%'"

    async def work(connection: Any) -> None:
        assert looked_after(connection._transport)
        server = dict(await connection.fetch(settings))
        assert int(server["tcp_keepalives_idle"]) < LIMIT
        assert int(server["tcp_user_timeout"]) == LIMIT * 1000

    await database.run(work)
    await database.close()
    alone = await connect(url, Limits(), "test")
    assert looked_after(alone._transport)
    await alone.close()
