"""People, documents and a server for tests of workspaces, without the plugins that provide them elsewhere."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any
from uuid import UUID

from shim import Running, running

from api_shim.context import Context
from api_shim.ids import uuid7
from api_shim.plugin import Plugin
from api_shim.services import Access, User, Users, may
from plugins.workspaces.changes import CHANNEL
from plugins.workspaces.plugin import Workspaces
from plugins.workspaces.settings import WorkspacesSettings
from relay.control import KEY
from relay.errors import Deny
from relay.grants import Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked
from relay.types import Actor

__all__ = ["FAST", "Papers", "People", "Person", "Site", "site"]

FAST = {"argon2_time": 1, "argon2_memory": 8192, "sweep": 0.1}
_QUIET = """
SELECT NOT EXISTS (SELECT FROM bus.outbox) AND NOT EXISTS (
    SELECT FROM bus.event e JOIN bus.consumer c ON c.topic = e.topic AND c.position < e.position
    WHERE NOT EXISTS (SELECT FROM bus.handled h WHERE h.name = c.name AND h.event = e.id))
"""


class Person:
    """An account, and the token that it sends."""

    def __init__(self, name: str, email: str = "", *, verified: bool = True) -> None:
        self.id = uuid7()
        self.name = name
        self.user = User(self.id, email or f"{name}-{self.id}@example.org", name, "human", False, verified)
        self.token = f"person.{self.id}"
        self.principal = Principal(Actor(str(self.id)), name, {}, None, f"login-{self.id}")


class People(Plugin):
    """Provides accounts, and knows them by their tokens."""

    name = "people"
    provides = (Users,)

    def __init__(self) -> None:
        self.known: dict[UUID, Person] = {}

    async def start(self, context: Context) -> None:
        context.provide(Users, self)  # type: ignore[type-abstract]

    async def find(self, ids: Collection[UUID]) -> Mapping[UUID, User]:
        return {id: self.known[id].user for id in ids if id in self.known}

    async def by_email(self, email: str) -> User | None:
        return next((person.user for person in self.known.values() if person.user.email == email), None)

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        kind, _, id = ask.token.partition(".")
        if kind != "person":
            return None
        return self.known[UUID(id)].principal


class Papers(Plugin):
    """Documents as far as rights go: rooms are open to those with a role, to write in for those who may."""

    name = "papers"
    requires = (Access,)

    async def start(self, context: Context) -> None:
        self.context = context
        self.access: Access = context.service(Access)  # type: ignore[type-abstract]

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        role = await self.access.role(ask.principal, UUID(ask.room))
        if role is None:
            raise Deny("not yours", 4403)
        return Grant(ask.principal.actor, ask.principal.name, not may(role, "write"))

    async def make(self, kind: str, parent: UUID, owner: str = "") -> UUID:
        """A document or folder below a parent."""
        id = uuid7()
        async with self.context.database.acquire() as connection, connection.transaction():
            await self.access.place(connection, id, kind, parent, Actor(owner))  # type: ignore[arg-type]
        return id

    async def move(self, resource: UUID, parent: UUID) -> None:
        async with self.context.database.acquire() as connection, connection.transaction():
            await self.access.move(connection, resource, parent)


class Clock:
    """The time, and what has passed beside that. It never goes back."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return time.time() + self.passed


class Site:
    """A running server."""

    def __init__(self, shim: Running, people: People, papers: Papers, plugin: Workspaces, clock: Clock) -> None:
        self.clock = clock
        self.shim, self.people, self.papers, self.plugin = shim, people, papers, plugin
        self.access = plugin.access
        self.database = shim.shim.database
        self.redis = shim.shim.redis

    def person(self, name: str = "ada", email: str = "", *, verified: bool = True) -> Person:
        """One more account."""
        person = Person(name, email, verified=verified)
        self.people.known[person.id] = person
        return person

    async def call(
        self, who: Person | str | None, method: str, path: str, body: Any = None, expect: int = 0, **headers: str
    ) -> Any:
        """The body of an answer with the expected status (0: any that is no error)."""
        token = who.token if isinstance(who, Person) else who or ""
        if method == "POST" and body is None:
            body = b""
        status, content, _ = await self.shim.call(method, path, body, token=token, **headers)
        assert status == expect if expect else status < 300, (method, path, status, content)
        return content

    async def workspace(self, maker: Person, **members: Person) -> UUID:
        """A workspace of the maker's; `editor=bo` makes Bo a member."""
        made = await self.call(maker, "POST", "/v1/workspaces", {"name": "Works"})
        for role, person in members.items():
            await self.call(maker, "PUT", f"/v1/workspaces/{made['id']}/members/{person.id}",
                            {"role": role.partition("_")[0]})  # fmt: skip
        return UUID(made["id"])

    async def grant(self, who: Person, resource: UUID, subject: UUID, role: str, expect: int = 0, kind: str = "user",
                    **more: Any) -> Any:  # fmt: skip
        return await self.call(
            who, "PUT", f"/v1/resources/{resource}/grants/{kind}/{subject}", {"role": role, **more}, expect
        )

    async def role(self, who: Person, resource: UUID) -> str | None:
        return await self.access.role(who.principal, resource)

    async def quiet(self) -> None:
        """Wait until every event so far has been handled by every group, and what PostgreSQL notifies of is done."""
        mark, heard = uuid7(), self.access._decisions._changed
        await self.database.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{mark} quiet")
        deadline = time.monotonic() + 10
        while not (
            mark in heard
            and not any(task.get_name() == "after changed rights" for task in asyncio.all_tasks())
            and await self.database.fetchval(_QUIET)
        ):
            assert time.monotonic() < deadline, "changes wait to be handled"
            await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def hints(self, *awaited: dict[str, str]) -> AsyncIterator[list[dict[str, str]]]:
        """What relays are told to look at by what is done within the block, by its events, and until all of `awaited`
        has been said."""
        await self.quiet()
        newest = await self.redis.xrevrange(KEY, count=1)
        last = newest[0][0] if newest else b"0-0"
        found: list[dict[str, str]] = []
        yield found
        await self.quiet()
        deadline = time.monotonic() + 10
        while True:
            for _, fields in await self.redis.xrange(KEY, min=b"(" + last):
                hint = {name.decode(): value.decode() for name, value in fields.items() if name != b"recheck"}
                if hint not in found:
                    found.append(hint)
            if all(hint in found for hint in awaited):
                return
            assert time.monotonic() < deadline, f"not said: {awaited}, but {found}"
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def site(postgres: str, redis: str, *plugins: Plugin, **settings: Any) -> AsyncIterator[Site]:
    """A server of these settings."""
    people, papers, plugin, clock = People(), Papers(), Workspaces(), Clock()
    plugin.settings = WorkspacesSettings.model_validate({**FAST, **settings})
    more = {"shim_secret": "s" * 32}
    given = [people, plugin, papers, *plugins]
    async with running(given, postgres=postgres, redis=redis, clock=clock, **more) as shim:
        deadline = time.monotonic() + 10
        found = Site(shim, people, papers, plugin, clock)
        while time.monotonic() < deadline and plugin.access._decisions._trusted < 0:
            await asyncio.sleep(0.01)
        yield found
