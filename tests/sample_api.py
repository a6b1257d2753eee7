"""An API of a few routes, to hold the conventions to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import aiohttp
import asyncpg
from aiohttp import web
from pydantic import Field
from redis.asyncio import Redis

from api_shim.app import Conventions, make_app
from api_shim.ids import uuid7
from api_shim.jobs import Jobs, accepted
from api_shim.metrics import ApiMetrics
from api_shim.models import Model, Query
from api_shim.paging import Page, PageQuery
from api_shim.problems import Conflict, NotFound, PreconditionRequired
from api_shim.route import Answer, Call, Route
from api_shim.runner import Runner
from relay.errors import Deny
from relay.grants import Principal
from relay.hooks import ConnectAsked
from relay.migrate import migrate, migrations
from relay.types import Actor

SECRET = b"s" * 32


class Part(Model):
    name: str = Field(max_length=20)
    count: int = 0


class NewThing(Model):
    title: str = Field(min_length=1, max_length=100, examples=["Plan"])
    parts: list[Part] = Field(default=[])
    owner: UUID | None = None


class Thing(Model):
    id: UUID
    title: str
    version: int = 1


class ThingsQuery(PageQuery):
    sort: Literal["created", "-created", "title", "-title"] = "created"
    kind: str | None = Field(default=None, alias="filter[kind]")


class FlagQuery(Query):
    flag: bool = False
    tags: list[str] = Field(default=[])


class Flags(Model):
    flag: bool
    tags: list[str]


class Full(Conflict):
    """There are too many things. Delete some."""

    code, title = "full", "There are too many things"


@dataclass
class Things:
    """The sample's handlers and what they keep."""

    database: asyncpg.Pool
    jobs: Jobs
    things: dict[UUID, Thing] = field(default_factory=dict)
    made: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    def routes(self) -> list[Route]:
        one = "/v1/things/{thing:uuid}"
        return [
            Route(method="GET", path="/v1/things", handler=self.list, summary="List", query=ThingsQuery,
                  answer=Page[Thing]),
            Route(method="POST", path="/v1/things", handler=self.create, summary="Make", body=NewThing, answer=Thing,
                  status=201, scope="things:write", problems=(Full,), max_body=4096),
            Route(method="GET", path=one, handler=self.get, summary="Read", answer=Thing),
            Route(method="PUT", path=one, handler=self.put, summary="Replace", body=NewThing, answer=Thing,
                  problems=(PreconditionRequired,)),
            Route(method="DELETE", path=one, handler=self.delete, summary="Delete"),
            Route(method="POST", path=one + ":copy", handler=self.copy, summary="Copy", answer=Thing, status=201),
            Route(method="POST", path="/v1/slow", handler=self.slow, summary="Wait", timeout=0.5, answer=Thing),
            Route(method="POST", path="/v1/work", handler=self.work, summary="Work", status=202, answer=Any),
            Route(method="GET", path="/v1/flags", handler=self.flags, summary="Echo", query=FlagQuery, answer=Flags,
                  public=True),
            Route(method="GET", path="/v1/broken", handler=self.broken, summary="Fail", answer=Thing),
            Route(method="GET", path="/v1/away", handler=self.away, summary="Fail", answer=Thing),
            Route(method="GET", path="/v1/page/{name}", handler=self.page, summary="Text", produces=("text/html",),
                  answer=str, public=True),
            Route(method="PUT", path="/v1/files/{name}", handler=self.upload, summary="Upload", raw=True,
                  consumes=("image/*",), max_body=1000, answer=int),
            Route(method="GET", path="/v1/expensive", handler=self.flags_plain, summary="Cost", cost=20, answer=Flags),
        ]  # fmt: skip

    async def list(self, call: Call) -> Page[Thing]:
        """Things, in pages."""
        keys = call.page.keyset({"created": "id", "title": "title"}, id="id")
        rows = await self.database.fetch(
            f"SELECT *, {keys.select} FROM thing WHERE {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            *keys.arguments,
        )
        return keys.page(rows, lambda row: Thing(id=UUID(int=row["id"].int), title=row["title"]))

    async def create(self, call: Call) -> Answer:
        self.made += 1
        if call.body.title == "full":
            raise Full("No room.", most=3)
        if call.body.title == "hold":
            self.entered.set()
            await self.hold.wait()
        thing = Thing(id=uuid7(), title=call.body.title)
        self.things[thing.id] = thing
        return Answer(thing, etag="1", headers={"Location": f"/v1/things/{thing.id}"})

    def _find(self, call: Call) -> Thing:
        if (thing := self.things.get(call.path["thing"])) is None:
            raise NotFound
        return thing

    async def get(self, call: Call) -> Answer:
        thing = self._find(call)
        return Answer(thing, etag=str(thing.version))

    async def put(self, call: Call) -> Answer:
        thing = self._find(call)
        call.require_match(str(thing.version))
        thing = Thing(id=thing.id, title=call.body.title, version=thing.version + 1)
        self.things[thing.id] = thing
        return Answer(thing, etag=str(thing.version))

    async def delete(self, call: Call) -> None:
        del self.things[self._find(call).id]

    async def copy(self, call: Call) -> Thing:
        return self._find(call)

    async def slow(self, call: Call) -> None:
        await asyncio.sleep(60)

    async def work(self, call: Call) -> Answer:
        async def work(progress: Any) -> object:
            progress(0.5, "half")
            await self.hold.wait()
            return {"made": 3}

        return accepted(await self.jobs.start("sample", work, owner=call.who))

    async def flags(self, call: Call) -> Flags:
        return Flags(flag=call.query.flag, tags=call.query.tags)

    async def flags_plain(self, call: Call) -> Flags:
        return Flags(flag=True, tags=[])

    async def broken(self, call: Call) -> Thing:
        raise RuntimeError("secret-password")

    async def away(self, call: Call) -> Thing:
        raise ConnectionRefusedError("10.0.0.7")

    async def page(self, call: Call) -> str:
        return f"<p>{len(call.path['name'])}"

    async def upload(self, call: Call) -> int:
        return sum([len(chunk) async for chunk in call.chunks()])


async def identify(ask: ConnectAsked) -> Principal:
    """`alice`, `bob`, ... are their own tokens; `narrow` has one scope; `banned` is known and not let in."""
    if not ask.token:
        raise Deny("a token is needed", 4401)
    if ask.token == "banned":
        raise Deny("banned", 4403)
    if ask.token == "wrong":
        raise Deny("the token is not valid", 4401)
    if ask.token == "overload":
        raise Deny("try again", 1013)
    if ask.token == "crash":
        raise ConnectionRefusedError
    scopes = frozenset({"things:read"}) if ask.token == "narrow" else None
    return Principal(Actor(ask.token), ask.token, None, scopes=scopes)


async def prepare(url: str) -> asyncpg.Pool:
    """A pool on a database with the tables of the shim and of the sample."""
    pool: asyncpg.Pool = await asyncpg.create_pool(url, min_size=1, max_size=8)
    async with pool.acquire() as connection:
        await migrate(connection, migrations("api_shim.migrations"), "api_shim", "the API")
        await connection.execute("CREATE TABLE IF NOT EXISTS thing (id uuid PRIMARY KEY, title text NOT NULL)")
    return pool


@dataclass
class Sample:
    """The running sample."""

    things: Things
    client: aiohttp.ClientSession
    runner: Runner
    metrics: ApiMetrics
    port: int
    jobs: Jobs

    async def raw(self, request: bytes, *, timeout: float = 5.0) -> bytes:
        """What the server sends for these bytes until it closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            async with asyncio.timeout(timeout):
                return await reader.read()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def running(
    database: asyncpg.Pool, redis: Redis | None = None, *, token: str = "alice", head: float = 60.0, **chosen: Any
) -> AsyncIterator[Sample]:
    """The sample API on a free port of loopback."""
    metrics = ApiMetrics()
    jobs = Jobs(database, metrics, beat=0.1, dead=30.0, tick=0.05)
    things = Things(database, jobs)
    app = make_app(
        things.routes(), identify=identify, database=database, redis=redis, secret=SECRET, metrics=metrics, jobs=jobs,
        conventions=Conventions(**chosen),
    )  # fmt: skip
    runner = Runner(app, head=head, linger=0.2, drain=2.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as client:
        try:
            yield Sample(things, client, runner, metrics, port, jobs)
        finally:
            things.hold.set()
            await runner.cleanup()
