"""People for tests of accounts: a shim with the plugin, an owner, and others who register."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shim import Running, running

__all__ = ["FAST", "PASSWORD", "People", "auth_server"]

FAST: dict[str, object] = {
    "argon2_time": 1,
    "argon2_memory": 64 << 10,
    "registration": "open",
    "attempts_address": 100_000,
}
"""Settings for tests: weak hashes, and everybody comes from one address."""
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


class People:
    """The server and its owner."""

    def __init__(self, server: Running, owner: dict[str, Any]) -> None:
        self.server = server
        self.owner = owner

    async def call(self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> Any:
        """As `Running.call`, each from an address of its own, for limits go by address."""
        headers.setdefault("X_Forwarded_For", str(IPv4Address(0x0A000000 + next(_numbers))))
        return await self.server.call(method, path, body, token=token, **headers)

    @property
    def admin(self) -> str:
        """The owner's token."""
        token: str = self.owner["access_token"]
        return token

    async def register(self, name: str = "Ada") -> dict[str, Any]:
        """Somebody new: the answer of their login, `email` added."""
        email = f"{name.lower()}{next(_numbers)}@example.com"
        body = {"email": email, "password": PASSWORD, "name": name}
        status, answer, _ = await self.call("POST", "/v1/auth/register", body)
        assert status == 201, answer
        return {**answer["login"], "email": email}

    async def login(self, email: str, password: str = PASSWORD) -> tuple[int, Any]:
        """Status and answer."""
        status, answer, _ = await self.call("POST", "/v1/auth/login", {"email": email, "password": password})
        return status, answer

    async def letters(self, to: str) -> list[dict[str, Any]]:
        """What was sent to an address, the newest first."""
        status, answer, _ = await self.call("GET", "/v1/auth/letters?limit=200", token=self.admin)
        assert status == 200, answer
        return [letter for letter in answer["data"] if letter["to"] == to]

    async def events(self, type: str) -> list[Any]:
        """What the events of a type are about, the oldest first."""
        rows = await self.server.context("auth").database.fetch(
            "SELECT event AS id, subject FROM bus.outbox WHERE type = $1"
            " UNION SELECT id, subject FROM bus.event WHERE type = $1 ORDER BY id",
            type,
        )
        return [row["subject"] for row in rows]


def token_of(link: str) -> str:
    """The token in a letter's link."""
    values: Iterator[list[str]] = iter(parse_qs(urlsplit(link).query).values())
    return next(values)[0]


async def set_up(server: Running) -> dict[str, Any]:
    """Make the owner by the link that was printed."""
    database = server.context("auth").database
    plugin = server.shim.plugins[0]
    token = await plugin._parts.links.standing(database, "setup")
    body = {"token": token, "email": "owner@example.com", "password": PASSWORD, "name": "Olga Owner"}
    status, answer, _ = await server.call("POST", "/v1/auth/setup", body)
    assert status == 201, answer
    return dict(answer)


@contextlib.asynccontextmanager
async def auth_server(postgres: str, redis: str, **settings: object) -> AsyncIterator[People]:
    """A server with an owner."""
    given = {"auth": FAST | settings}
    async with running(
        ["auth"], postgres=postgres, redis=redis, settings=given, trusted_proxies=("127.0.0.0/8",)
    ) as server:
        yield People(server, await set_up(server))
