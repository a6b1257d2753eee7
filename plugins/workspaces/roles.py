"""Roles: the standard ones, and those that a workspace makes for itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import Field

from api_shim.ids import read_uuid, uuid7
from api_shim.models import Model
from api_shim.paging import Page, PageQuery
from api_shim.problems import Conflict, FieldError, Invalid, NotFound, PreconditionFailed, PreconditionRequired
from api_shim.route import Answer, Call, Route
from api_shim.services import Permission
from plugins.workspaces.desk import Change, Desk
from plugins.workspaces.problems import RoleInUse
from plugins.workspaces.rights import RIGHTS, combined, floor, permissions
from relay.contracts.materi.v1 import users_pb2 as users

__all__ = ["RoleName", "Roles", "called", "rights_of"]

RoleName = Field(
    description="`owner`, `admin`, `editor`, `commenter`, `viewer`, or the id of a role of the workspace's own.",
    min_length=1,
    max_length=36,
)


class CustomRole(Model):
    """A set of permissions with a name of the workspace's own."""

    id: UUID
    name: str
    permissions: list[Permission]
    created: datetime


class NewRole(Model):
    """What a role is called and allows. All take `read`; to `write` takes `comment`; both come by themselves."""

    name: str = Field(min_length=1, max_length=100)
    permissions: list[Permission] = Field(max_length=10)


def called(rights: int, role: UUID | None) -> str:
    """How a role is named in answers: a standard role's name, `none`, or the id of the workspace's own."""
    return str(role) if role is not None else floor(rights) or "none"


async def rights_of(change: Change, name: str, *, none: bool = False) -> tuple[int, UUID | None]:
    """The rights that a role's name stands for in this workspace, and its id if it is the workspace's own. Raises
    Invalid."""
    for standard, rights in RIGHTS.items():
        if name == standard:
            return rights, None
    if none and name == "none":
        return 0, None
    if (id := read_uuid(name)) is not None:
        found = await change.connection.fetchval(
            "SELECT rights FROM workspaces.role WHERE id = $1 AND workspace = $2", id, change.workspace
        )
        if found is not None:
            return int(found), id
    raise Invalid(errors=[FieldError(pointer="/role", code="role", detail="There is no such role here.")])


class Roles:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def roles(self, call: Call) -> Page[CustomRole]:
        workspace = call.path["workspace"]
        await self._desk.require(call.who, "read", workspace, "workspace")
        keys = call.page.keyset({}, id="id", parameter=2)
        rows = await self._desk.database.fetch(
            f"SELECT *, {keys.select} FROM workspaces.role"  # noqa: S608
            f" WHERE workspace = $1 AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            workspace, *keys.arguments,
        )  # fmt: skip
        return keys.page(rows, _role)

    async def make(self, call: Call) -> Answer:
        """Nobody can make a role that allows more than they may do themselves."""
        body: NewRole = call.body
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            rights = combined(body.permissions)
            change.limit(rights)
            row = await _unique(
                change.connection,
                "INSERT INTO workspaces.role (id, workspace, name, rights, created)"
                " VALUES ($1, $2, $3, $4, $5) RETURNING *",
                uuid7(), change.workspace, body.name, rights, change.now,
            )  # fmt: skip
            role = _role(row)
            event = users.RoleCreated(workspace_id=str(change.workspace), role_id=str(role.id), name=role.name)
            event.permissions.extend(role.permissions)
            await change.emit(event, change.workspace)
        return Answer(role, etag=str(row["version"]))

    async def role(self, call: Call) -> Answer:
        await self._desk.require(call.who, "read", call.path["workspace"], "workspace")
        row = await self._row(self._desk.database, call)
        return Answer(_role(row), etag=str(row["version"]))

    async def change(self, call: Call) -> Answer:
        """Whoever has the role has the permissions from then on."""
        body: NewRole = call.body
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            before = await self._row(change.connection, call)
            call.require_match(str(before["version"]))
            rights = combined(body.permissions)
            change.limit(rights | before["rights"])
            row = await _unique(
                change.connection,
                "UPDATE workspaces.role SET name = $2, rights = $3, version = version + 1 WHERE id = $1 RETURNING *",
                before["id"], body.name, rights,
            )  # fmt: skip
            for table in ("member", "granted", "invitation"):
                await change.connection.execute(
                    f"UPDATE workspaces.{table} SET rights = $2 WHERE role = $1",  # noqa: S608
                    before["id"], rights,
                )  # fmt: skip
            role = _role(row)
            event = users.RoleUpdated(workspace_id=str(change.workspace), role_id=str(role.id), name=role.name)
            event.permissions.extend(role.permissions)
            await change.emit(event, change.workspace)
        return Answer(role, etag=str(row["version"]))

    async def delete(self, call: Call) -> None:
        """Only a role that nobody has."""
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            row = await self._row(change.connection, call)
            call.require_match(str(row["version"]))
            try:
                async with change.connection.transaction():
                    await change.connection.execute("DELETE FROM workspaces.role WHERE id = $1", row["id"])
            except asyncpg.ForeignKeyViolationError:
                raise RoleInUse from None
            event = users.RoleDeleted(workspace_id=str(change.workspace), role_id=str(row["id"]))
            await change.emit(event, change.workspace)

    async def _row(self, connection: Any, call: Call) -> Any:
        row = await connection.fetchrow(
            "SELECT * FROM workspaces.role WHERE id = $1 AND workspace = $2", call.path["role"], call.path["workspace"]
        )
        if row is None:
            raise NotFound("There is no such role.")
        return row

    def routes(self) -> Sequence[Route]:
        """The operations on roles."""
        many, one = "/v1/workspaces/{workspace:uuid}/roles", "/v1/workspaces/{workspace:uuid}/roles/{role:uuid}"
        read, write = "workspaces:read", "workspaces:write"
        seen = (PreconditionFailed, PreconditionRequired)
        return (
            Route(method="GET", path=many, handler=self.roles, summary="List a workspace's own roles", query=PageQuery,
                  answer=Page[CustomRole], scope=read),
            Route(method="POST", path=many, handler=self.make, summary="Make a role", body=NewRole, answer=CustomRole,
                  status=201, scope=write, problems=(Conflict,)),
            Route(method="GET", path=one, handler=self.role, summary="Look at a role", answer=CustomRole, scope=read),
            Route(method="PUT", path=one, handler=self.change, summary="Change what a role allows", body=NewRole,
                  answer=CustomRole, scope=write, problems=(Conflict, *seen)),
            Route(method="DELETE", path=one, handler=self.delete, summary="Delete a role", scope=write,
                  problems=(RoleInUse, *seen)),
        )  # fmt: skip


def _role(row: Any) -> CustomRole:
    return CustomRole(id=row["id"], name=row["name"], permissions=permissions(row["rights"]), created=row["created"])


async def _unique(connection: Any, sql: str, *arguments: object) -> Any:
    try:
        async with connection.transaction():
            return await connection.fetchrow(sql, *arguments)
    except asyncpg.UniqueViolationError:
        raise Conflict("There is a role of that name.") from None
