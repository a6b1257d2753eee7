"""Where Redis is: a URL, and both ways of connecting to it."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from relay.errors import StartError

__all__ = ["Address"]

_POOL = 16

P = TypeVar("P", bound=asyncio.Protocol)


class Address:
    """`redis://`, `rediss://` (TLS) or `unix://`, with `user:password@`, a database and redis-py's query options.

    `str(address)` is the URL without user, password and options, fit for logs. Raises StartError for anything else.
    """

    def __init__(self, url: str) -> None:
        try:
            options: dict[str, Any] = dict(parse_url(url))
            parts = urlsplit(url)
            self._host: str = options.get("host", "localhost")
            self._port: int = options.get("port", 6379)
            self._path: str | None = options["path"] if parts.scheme == "unix" else None
            self._tls: ssl.SSLContext | None = None
            if parts.scheme == "rediss":
                tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
                self._tls = SSLConnection(**tls).ssl_context.get()
        except (ValueError, TypeError, KeyError, OSError, RedisError):
            # the parser's own message may quote a part of the password
            raise StartError(
                "the Redis URL is not valid: write redis://host:6379/0, rediss://… for TLS, or unix:///path/to/socket"
            ) from None
        self._url = url
        self._username: str | None = options.get("username")
        self._password: str | None = options.get("password")
        self._database = int(options.get("db", 0))
        self._text = f"unix://{self._path}" if self._path else f"{parts.scheme}://{self._host}:{self._port}"
        if self._database:
            self._text += f"?db={self._database}" if self._path else f"/{self._database}"

    def __str__(self) -> str:
        return self._text

    def client(self, name: str, timeout: float) -> "Redis":
        """A redis-py client of a few connections; calls beyond them wait their turn.

        A pooled connection that the server closed meanwhile is replaced once, nothing else is retried: a call takes
        at most about `timeout` seconds, and as long again for its turn.
        """
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=_POOL,
            timeout=timeout,
            client_name=name,
            protocol=2,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        return Redis.from_pool(pool)

    async def connect(self, factory: Callable[[], P]) -> P:
        """A connection of our own, before `greeting`. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self._path is not None:
            return (await loop.create_unix_connection(factory, self._path))[1]
        name = self._host if self._tls else None
        return (await loop.create_connection(factory, self._host, self._port, ssl=self._tls, server_hostname=name))[1]

    def greeting(self, name: str) -> list[tuple[str, ...]]:
        """What to say first on such a connection; each command answers OK."""
        commands: list[tuple[str, ...]] = []
        if self._password is not None:
            user = (self._username,) if self._username else ()
            commands.append(("AUTH", *user, self._password))
        commands.append(("CLIENT", "SETNAME", name))
        if self._database:
            commands.append(("SELECT", str(self._database)))
        return commands
