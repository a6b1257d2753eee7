"""Requests for access, by those who came to a door that is closed to them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api_shim.ids import uuid7
from api_shim.models import Model
from api_shim.paging import Page, PageQuery
from api_shim.problems import Forbidden, NotFound
from api_shim.route import Answer, Call, Route
from api_shim.services import Users
from plugins.workspaces.desk import Change, Desk, person
from plugins.workspaces.grants import give
from plugins.workspaces.members import enter
from plugins.workspaces.rights import RIGHTS, floor, holds
from relay.contracts.materi.v1 import documents_pb2 as documents

__all__ = ["Requests"]

Wanted = Literal["viewer", "commenter", "editor"]
MOST = 100
"""Requests that somebody may have waiting, so that nobody fills the table by guessing."""


class AccessRequest(Model):
    """Somebody asks to be let in."""

    id: UUID
    resource: UUID
    account: UUID
    name: str
    role: Wanted
    message: str
    made: datetime


class NewAccessRequest(Model):
    """What to ask for."""

    role: Wanted = "viewer"
    message: str = Field(default="", max_length=1000)


class Approval(Model):
    """What to give; without a role, what was asked for."""

    role: Wanted | None = None
    expires: datetime | None = Field(default=None, strict=False)


class Requests:
    """Handlers."""

    def __init__(self, desk: Desk, people: Callable[[], Users]) -> None:
        self._desk, self._users = desk, people

    async def make(self, call: Call) -> Answer:
        """Answered alike whether there is such a thing or not, so that nobody learns what exists by asking for it. One
        request of an account waits for each resource; a later one takes its place."""
        account, resource, body = person(call.who), call.path["resource"], call.body
        now = self._desk.now
        decision = await self._desk.access.decide(account, resource)
        if decision is not None and not RIGHTS[body.role] & ~decision.rights:
            return Answer(None, 202)  # has it already
        async with self._desk.database.acquire() as connection, connection.transaction():
            id = await connection.fetchval(
                "INSERT INTO workspaces.request (id, resource, account, wanted, message, made)"
                " SELECT $1, r.id, $3, $4, $5, $6 FROM workspaces.resource r"
                " JOIN workspaces.workspace w ON w.id = r.workspace AND w.trashed IS NULL WHERE r.id = $2"
                " AND (SELECT count(*) FROM workspaces.request WHERE account = $3) < $7"
                " ON CONFLICT (resource, account) DO UPDATE SET wanted = excluded.wanted, message = excluded.message,"
                " made = excluded.made RETURNING id",
                uuid7(), resource, account, body.role, body.message, now, MOST,
            )  # fmt: skip
            if id is not None:
                event = documents.AccessRequested(
                    request_id=str(id), resource_id=str(resource), user_id=str(account), role=body.role,
                    message=body.message,
                )  # fmt: skip
                await self._desk.outbox.add(connection, event, subject=str(resource), actor=str(account))
        return Answer(None, 202)

    async def list(self, call: Call) -> Page[AccessRequest]:
        resource = call.path["resource"]
        await self._desk.require(call.who, "share", resource)
        keys = call.page.keyset({}, id="id", parameter=2)
        rows = await self._desk.database.fetch(
            f"SELECT *, {keys.select} FROM workspaces.request"  # noqa: S608
            f" WHERE resource = $1 AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            resource, *keys.arguments,
        )  # fmt: skip
        people = await self._users().find([row["account"] for row in rows]) if rows else {}

        def request(row: Any) -> AccessRequest:
            user = people.get(row["account"])
            return AccessRequest(
                id=row["id"], resource=row["resource"], account=row["account"], name=user.name if user else "",
                role=row["wanted"], message=row["message"], made=row["made"],
            )  # fmt: skip

        return keys.page(rows, request)

    async def approve(self, call: Call) -> None:
        """They get a grant on what they asked for, or become a member if that is a workspace."""
        async with self._desk.change(call.who, await self._resource(call), "share") as change:
            row = await self._take(call, change)
            rights = RIGHTS[call.body.role or row["wanted"]]
            if change.kind == "workspace":
                if not holds(change.rights, "manage"):
                    raise Forbidden("You need the permission to manage.")
                change.limit(rights | await change.rights_of(row["account"]))
                await enter(change, row["account"], rights, None)
            else:
                await give(change, "user", row["account"], rights, None, call.body.expires)
            await self._decided(change, row, floor(rights) or "")

    async def deny(self, call: Call) -> None:
        async with self._desk.change(call.who, await self._resource(call), "share") as change:
            await self._decided(change, await self._take(call, change), "")

    async def _resource(self, call: Call) -> UUID:
        found: UUID | None = await self._desk.database.fetchval(
            "SELECT resource FROM workspaces.request WHERE id = $1", call.path["request"]
        )
        if found is None:
            raise NotFound("There is no such request.")
        return found

    async def _take(self, call: Call, change: Change) -> Any:
        row = await change.connection.fetchrow(
            "DELETE FROM workspaces.request WHERE id = $1 AND resource = $2 RETURNING *",
            call.path["request"], change.resource,
        )  # fmt: skip
        if row is None:
            raise NotFound("There is no such request.")
        return row

    async def _decided(self, change: Change, row: Any, role: str) -> None:
        event = documents.AccessDecided(
            request_id=str(row["id"]), resource_id=str(change.resource), user_id=str(row["account"]), role=role
        )
        await change.emit(event, change.resource)

    def routes(self) -> Sequence[Route]:
        """The operations on requests."""
        many, one = "/v1/resources/{resource:uuid}/access-requests", "/v1/access-requests/{request:uuid}"
        read, write = "workspaces:read", "workspaces:write"
        return (
            Route(method="POST", path=many, handler=self.make, summary="Ask for access", body=NewAccessRequest,
                  status=202, scope=write, tag="access requests", cost=2),
            Route(method="GET", path=many, handler=self.list, summary="List who asks for access", query=PageQuery,
                  answer=Page[AccessRequest], scope=read, tag="access requests"),
            Route(method="POST", path=f"{one}:approve", handler=self.approve, summary="Let somebody in",
                  body=Approval, scope=write, tag="access requests"),
            Route(method="POST", path=f"{one}:deny", handler=self.deny, summary="Refuse a request for access",
                  scope=write, tag="access requests"),
        )  # fmt: skip
