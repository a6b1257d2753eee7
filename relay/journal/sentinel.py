"""The master of a service, as Redis Sentinels name it."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

__all__ = ["Master", "MasterPool"]

TIMEOUT = 1.0
"""Seconds that one Sentinel has to answer; the next one is asked then."""


class Master:
    """Asks the Sentinels in turn, and remembers what they last said: all connections share one of these, so that none
    of them talks to the old master once another has found the next.

    `options` are redis-py's, for connections to the Sentinels.
    """

    is_master, check_connection = True, False  # what redis-py's connections ask their pool

    def __init__(self, sentinels: Sequence[tuple[str, int]], service: str, **options: Any) -> None:
        self._sentinels = sentinels
        self._service = service
        retry = Retry(NoBackoff(), 0)
        self._options = {
            "protocol": 2,
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "retry": retry,
            **options,
        }
        self.found: tuple[str, int] | None = None

    async def get_master_address(self) -> tuple[str, int]:
        """Where the master is. Raises redis-py's ConnectionError when no Sentinel knows one that is up."""
        why = []
        for host, port in self._sentinels:
            client = Redis(host=host, port=port, **self._options)
            try:
                masters: Any = await client.sentinel_masters()
                state = masters.get(self._service)
            except (RedisError, OSError) as error:
                why.append(f"{host}:{port}: {error or type(error).__name__}")
                continue
            finally:
                await client.aclose()
            if state is None:
                why.append(f"{host}:{port} does not know it")
            elif not state["is_master"] or state["is_sdown"] or state["is_odown"]:
                why.append(f"{host}:{port} says that it is down")
            else:
                self.found = state["ip"], int(state["port"])
                return self.found
        raise MasterNotFoundError(f"no master {self._service!r}: {', '.join(why)}")


class MasterPool(BlockingConnectionPool):
    """Connections to the master found last; one to another server is made again before it is used."""

    def __init__(self, master: Master, **options: Any) -> None:
        super().__init__(connection_pool=master, **options)
        self._master = master

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """As redis-py's, and to the right server."""
        if connection.is_connected and (connection.host, connection.port) != self._master.found:  # type: ignore[attr-defined]
            await connection.disconnect()
        await super().ensure_connection(connection)
