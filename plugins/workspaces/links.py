"""Share links: whoever has one gets in as a guest, without an account."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api_shim.cache import Cache
from api_shim.ids import read_uuid, uuid7
from api_shim.models import Model
from api_shim.paging import Page, PageQuery
from api_shim.problems import Conflict, Forbidden, Gone, NotFound, NotImplementedHere, TooMany
from api_shim.route import Answer, Call, Route
from api_shim.services import Resource, Users
from plugins.workspaces.desk import KINDS, Desk
from plugins.workspaces.grants import give
from plugins.workspaces.guests import PREFIX, Guests, digest
from plugins.workspaces.passwords import Passwords
from plugins.workspaces.problems import LinkUsedUp, PasswordNeeded
from plugins.workspaces.rights import RIGHTS, floor
from plugins.workspaces.roles import called
from relay.contracts.materi.v1 import documents_pb2 as documents

__all__ = ["Links"]

LinkRole = Literal["viewer", "commenter", "editor"]
GUESSES = 10
"""Wrong passwords for a link from one address, and a hundred times as many from all, in `WINDOW` seconds."""
WINDOW = 300.0


class Link(Model):
    """A share link."""

    id: UUID
    resource: UUID
    role: str
    label: str
    expires: datetime | None
    password: bool = Field(description="Whether it has one.")
    domain: str | None = Field(description="Only for accounts whose verified address is there.")
    max_uses: int | None
    uses: int
    made_by: UUID
    made: datetime
    last_used: datetime | None
    token: str | None = Field(default=None, description="Shown once, when it is made.")
    url: str | None = Field(default=None, description="For people; shown once, when it is made.")


class NewLink(Model):
    """A link to make."""

    role: LinkRole = "viewer"
    label: str = Field(default="", max_length=200)
    expires: datetime | None = Field(default=None, strict=False)
    password: str | None = Field(default=None, min_length=1, max_length=256)
    max_uses: int | None = Field(default=None, ge=1, le=1_000_000)
    domain: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]*\.)+[A-Za-z0-9-]{2,}$", max_length=255)


class LinkChange(Model):
    """What the link is to give, until when."""

    role: LinkRole
    expires: datetime | None = Field(default=None, strict=False, description="Null is never.")


class Opening(Model):
    """A link that somebody has."""

    token: str = Field(min_length=1, max_length=200)
    password: str | None = Field(default=None, max_length=256)
    name: str = Field(default="Guest", min_length=1, max_length=100, description="What others see of you.")


class Opened(Model):
    """What a guest gets."""

    token: str = Field(description="To send as bearer token, and to open documents in an editor with.")
    expires: datetime
    resource: UUID
    kind: Resource
    role: str


_LINKS = """
SELECT l.*, g.rights, g.expires FROM workspaces.link l
JOIN workspaces.granted g ON g.subject = l.id AND g.resource = l.resource
"""


class Links:
    """Handlers. `lifetime`: seconds that a guest's token is good for."""

    def __init__(
        self, desk: Desk, guests: Guests, passwords: Passwords, cache: Cache, people: Callable[[], Users], *,
        lifetime: float, enabled: bool, public_url: str,
    ) -> None:  # fmt: skip
        self._desk, self._guests, self._passwords, self._cache, self._users = desk, guests, passwords, cache, people
        self._lifetime, self._enabled, self._public_url = lifetime, enabled, public_url

    async def list(self, call: Call) -> Page[Link]:
        """Those that have expired too."""
        resource = call.path["resource"]
        await self._desk.require(call.who, "share", resource)
        keys = call.page.keyset({}, id="l.id", parameter=2)
        rows = await self._desk.database.fetch(
            f"SELECT l.*, g.rights, g.expires, {keys.select} FROM workspaces.link l"  # noqa: S608
            f" JOIN workspaces.granted g ON g.subject = l.id AND g.resource = l.resource"
            f" WHERE l.resource = $1 AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            resource, *keys.arguments,
        )  # fmt: skip
        return keys.page(rows, _link)

    async def make(self, call: Call) -> Answer:
        """The answer is the only one that holds the token: only its hash is kept. A link without password, domain and
        limit of uses is a bearer token itself; others are opened first."""
        body: NewLink = call.body
        if not self._enabled:
            raise NotImplementedHere("Share links are switched off: plugins.workspaces.guest_links.")
        await self._desk.require(call.who, "share", call.path["resource"])
        password = await self._passwords.hash(body.password) if body.password is not None else None
        token = PREFIX + secrets.token_urlsafe(24)
        async with self._desk.change(call.who, call.path["resource"], "share") as change:
            if change.kind == "workspace":
                raise Conflict("A workspace has members; links are to documents and folders.")
            id, rights = uuid7(), RIGHTS[body.role]
            await change.connection.execute(
                "INSERT INTO workspaces.link (id, resource, hash, label, password, domain, max_uses, made_by, made)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                id, change.resource, digest(token), body.label, password, body.domain and body.domain.lower(),
                body.max_uses, change.account, change.now,
            )  # fmt: skip
            await give(change, "link", id, rights, None, body.expires)
            event = documents.ShareLinkCreated(
                link_id=str(id), resource_id=str(change.resource), resource_kind=KINDS[change.kind], role=body.role
            )
            await change.emit(event, change.resource)
            row = await change.connection.fetchrow(f"{_LINKS} WHERE l.id = $1", id)
        link = _link(row).model_copy(update={"token": token, "url": f"{self._public_url}/share#{token}"})
        return Answer(link, headers={"Location": f"/v1/links/{id}"})

    async def look(self, call: Call) -> Link:
        row = await self._row(call)
        await self._desk.require(call.who, "share", row["resource"])
        return _link(row)

    async def change(self, call: Call) -> Link:
        """Guests who are there have the other role at once."""
        row = await self._row(call)
        async with self._desk.change(call.who, row["resource"], "share") as change:
            row = await self._row(call, change.connection)
            await give(change, "link", row["id"], RIGHTS[call.body.role], None, call.body.expires)
            row = await self._row(call, change.connection)
        return _link(row)

    async def revoke(self, call: Call) -> None:
        """Whoever came by it is out at once."""
        row = await self._row(call)
        async with self._desk.change(call.who, row["resource"], "share") as change:
            row = await self._row(call, change.connection)
            change.limit(row["rights"])
            await change.connection.execute("DELETE FROM workspaces.granted WHERE subject = $1", row["id"])
            await change.connection.execute("DELETE FROM workspaces.link WHERE id = $1", row["id"])
            event = documents.ShareLinkRevoked(link_id=str(row["id"]), resource_id=str(change.resource))
            await change.emit(event, change.resource)

    async def open(self, call: Call) -> Opened:
        """Become a guest. Each time counts as a use of the link."""
        body: Opening = call.body
        database, now = self._desk.database, self._desk.now
        row = await database.fetchrow(f"{_LINKS} WHERE l.hash = $1", digest(body.token)) if self._enabled else None
        if row is None:
            raise NotFound("There is no such link.")
        if row["expires"] is not None and row["expires"] <= now:
            raise Gone("The link has expired.")
        await self._check_domain(call, row["domain"])
        await self._check_password(call, row, body.password)
        used = await database.fetchval(
            "UPDATE workspaces.link SET uses = uses + 1, last_used = $2"
            " WHERE id = $1 AND (max_uses IS NULL OR uses < max_uses) RETURNING uses",
            row["id"], now,
        )  # fmt: skip
        if used is None:
            raise LinkUsedUp
        decision = await self._desk.access.decide(row["id"], row["resource"])
        if decision is None or not decision.rights:
            raise NotFound("There is no such link.")
        expires = now.timestamp() + self._lifetime
        if row["expires"] is not None:
            expires = min(expires, row["expires"].timestamp())
        kind = await database.fetchval("SELECT kind FROM workspaces.resource WHERE id = $1", row["resource"])
        return Opened(
            token=self._guests.issue(row["id"], row["resource"], body.name, expires),
            expires=datetime.fromtimestamp(expires, now.tzinfo), resource=row["resource"], kind=kind,
            role=floor(decision.rights) or "viewer",
        )  # fmt: skip

    async def _check_domain(self, call: Call, domain: str | None) -> None:
        if domain is None:
            return
        account = read_uuid(call.principal.actor) if call.principal is not None else None
        user = (await self._users().find([account])).get(account) if account is not None else None
        if user is None or not user.verified or user.email.rpartition("@")[2].lower() != domain:
            raise Forbidden(f"This link is for people at {domain}: log in with a verified address there.")

    async def _check_password(self, call: Call, row: Any, password: str | None) -> None:
        if row["password"] is None:
            return
        for who, most in ((call.address, GUESSES), ("", 100 * GUESSES)):
            if await self._cache.count(f"guess:{row['id']}:{who}", WINDOW) > most:
                raise TooMany("Too many guesses; try again later.", retry_after=WINDOW)
        if password is None or not await self._passwords.check(row["password"], password):
            raise PasswordNeeded
        await self._cache.delete(f"guess:{row['id']}:{call.address}")

    async def _row(self, call: Call, connection: Any = None) -> Any:
        row = await (connection or self._desk.database).fetchrow(f"{_LINKS} WHERE l.id = $1", call.path["link"])
        if row is None:
            raise NotFound("There is no such link.")
        return row

    def routes(self) -> Sequence[Route]:
        """The operations on links."""
        many, one = "/v1/resources/{resource:uuid}/links", "/v1/links/{link:uuid}"
        read, write = "workspaces:read", "workspaces:write"
        return (
            Route(method="GET", path=many, handler=self.list, summary="List the share links of something",
                  query=PageQuery, answer=Page[Link], scope=read, tag="links"),
            Route(method="POST", path=many, handler=self.make, summary="Make a share link", body=NewLink, answer=Link,
                  status=201, scope=write, problems=(Conflict, NotImplementedHere), tag="links"),
            Route(method="GET", path=one, handler=self.look, summary="Look at a share link", answer=Link, scope=read),
            Route(method="PUT", path=one, handler=self.change, summary="Change what a share link gives",
                  body=LinkChange, answer=Link, scope=write),
            Route(method="DELETE", path=one, handler=self.revoke, summary="Withdraw a share link", scope=write),
            Route(method="POST", path="/v1/links:open", handler=self.open, summary="Open a share link", body=Opening,
                  answer=Opened, public=True, problems=(Gone, LinkUsedUp, PasswordNeeded), cost=2, tag="links"),
        )  # fmt: skip


def _link(row: Any) -> Link:
    return Link(
        id=row["id"], resource=row["resource"], role=called(row["rights"], None), label=row["label"],
        expires=row["expires"], password=row["password"] is not None, domain=row["domain"],
        max_uses=row["max_uses"], uses=row["uses"], made_by=row["made_by"], made=row["made"],
        last_used=row["last_used"],
    )  # fmt: skip
