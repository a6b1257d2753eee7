"""Groups of members, to grant things to many at once. A group is in one workspace and holds members of it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import Field

from api_shim.ids import uuid7
from api_shim.models import Model
from api_shim.paging import Page, PageQuery
from api_shim.problems import Conflict, NotFound, PreconditionFailed, PreconditionRequired
from api_shim.route import Answer, Call, Route
from api_shim.services import Users
from plugins.workspaces.desk import Change, Desk
from plugins.workspaces.rights import BITS, OWN
from relay.contracts.materi.v1 import users_pb2 as users

__all__ = ["Groups", "limit_to_group"]


class Group(Model):
    """Some of a workspace's members."""

    id: UUID
    name: str
    created: datetime


class GroupName(Model):
    """What to call it."""

    name: str = Field(min_length=1, max_length=100)


class GroupMember(Model):
    """Somebody in a group."""

    account: UUID
    name: str
    added: datetime


async def limit_to_group(change: Change, group: UUID) -> None:
    """Raises Forbidden when something is granted to the group that the one who changes may not do: whoever decides who
    is in a group gives and takes what it was granted."""
    grants = await change.connection.fetch(
        "SELECT resource, rights FROM workspaces.granted WHERE subject = $1"
        " AND (expires IS NULL OR expires > $2)", group, change.now,
    )  # fmt: skip
    for grant in () if change.rights & OWN else grants:
        change.limit(grant["rights"] or BITS["read"], await change.rights_of(change.account, grant["resource"]))


class Groups:
    """Handlers."""

    def __init__(self, desk: Desk, people: Callable[[], Users]) -> None:
        self._desk, self._users = desk, people

    async def list(self, call: Call) -> Page[Group]:
        workspace = call.path["workspace"]
        await self._desk.require(call.who, "read", workspace, "workspace")
        keys = call.page.keyset({}, id="id", parameter=2)
        rows = await self._desk.database.fetch(
            f"SELECT *, {keys.select} FROM workspaces.team"  # noqa: S608
            f" WHERE workspace = $1 AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            workspace, *keys.arguments,
        )  # fmt: skip
        return keys.page(rows, _group)

    async def make(self, call: Call) -> Answer:
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            row = await _unique(
                change.connection,
                "INSERT INTO workspaces.team (id, workspace, name, created) VALUES ($1, $2, $3, $4) RETURNING *",
                uuid7(), change.workspace, call.body.name, change.now,
            )  # fmt: skip
            event = users.GroupCreated(workspace_id=str(change.workspace), group_id=str(row["id"]), name=row["name"])
            await change.emit(event, change.workspace)
        return Answer(_group(row), etag=str(row["version"]))

    async def look(self, call: Call) -> Answer:
        await self._desk.require(call.who, "read", call.path["workspace"], "workspace")
        row = await self._row(self._desk.database, call)
        return Answer(_group(row), etag=str(row["version"]))

    async def rename(self, call: Call) -> Answer:
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            before = await self._row(change.connection, call)
            call.require_match(str(before["version"]))
            row = await _unique(
                change.connection,
                "UPDATE workspaces.team SET name = $2, version = version + 1 WHERE id = $1 RETURNING *",
                before["id"], call.body.name,
            )  # fmt: skip
            event = users.GroupUpdated(workspace_id=str(change.workspace), group_id=str(row["id"]), name=row["name"])
            await change.emit(event, change.workspace)
        return Answer(_group(row), etag=str(row["version"]))

    async def delete(self, call: Call) -> None:
        """What was granted to it is granted no more."""
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            row = await self._row(change.connection, call)
            call.require_match(str(row["version"]))
            await limit_to_group(change, row["id"])
            people = await change.connection.fetch(
                "SELECT account FROM workspaces.team_member WHERE team = $1", row["id"]
            )
            await change.connection.execute("DELETE FROM workspaces.granted WHERE subject = $1", row["id"])
            await change.connection.execute("DELETE FROM workspaces.team WHERE id = $1", row["id"])
            event = users.GroupDeleted(workspace_id=str(change.workspace), group_id=str(row["id"]))
            event.user_ids.extend(str(one["account"]) for one in people)
            await change.emit(event, change.workspace)

    async def members(self, call: Call) -> Page[GroupMember]:
        await self._desk.require(call.who, "read", call.path["workspace"], "workspace")
        await self._row(self._desk.database, call)
        keys = call.page.keyset({}, id="account", parameter=2)
        rows = await self._desk.database.fetch(
            f"SELECT *, {keys.select} FROM workspaces.team_member"  # noqa: S608
            f" WHERE team = $1 AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            call.path["group"], *keys.arguments,
        )  # fmt: skip
        people = await self._users().find([row["account"] for row in rows]) if rows else {}

        def member(row: Any) -> GroupMember:
            user = people.get(row["account"])
            return GroupMember(account=row["account"], name=user.name if user else "", added=row["added"])

        return keys.page(rows, member)

    async def add(self, call: Call) -> None:
        """Only members of the workspace; and only to a group that was granted nothing that you may not do."""
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            row, account = await self._row(change.connection, call), call.path["account"]
            await limit_to_group(change, row["id"])
            try:
                async with change.connection.transaction():
                    added = await change.connection.fetchval(
                        "INSERT INTO workspaces.team_member (team, workspace, account, added) VALUES ($1, $2, $3, $4)"
                        " ON CONFLICT DO NOTHING RETURNING account",
                        row["id"], change.workspace, account, change.now,
                    )  # fmt: skip
            except asyncpg.ForeignKeyViolationError:
                raise NotFound("There is no such member.") from None
            if added:
                ids = {"workspace_id": str(change.workspace), "group_id": str(row["id"]), "user_id": str(account)}
                await change.emit(users.GroupMemberAdded(**ids), change.workspace)

    async def remove(self, call: Call) -> None:
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            row, account = await self._row(change.connection, call), call.path["account"]
            await limit_to_group(change, row["id"])
            gone = await change.connection.fetchval(
                "DELETE FROM workspaces.team_member WHERE team = $1 AND account = $2 RETURNING account",
                row["id"], account,
            )  # fmt: skip
            if gone is None:
                raise NotFound("There is no such member.")
            ids = {"workspace_id": str(change.workspace), "group_id": str(row["id"]), "user_id": str(account)}
            await change.emit(users.GroupMemberRemoved(**ids), change.workspace)

    async def _row(self, connection: Any, call: Call) -> Any:
        row = await connection.fetchrow(
            "SELECT * FROM workspaces.team WHERE id = $1 AND workspace = $2", call.path["group"], call.path["workspace"]
        )
        if row is None:
            raise NotFound("There is no such group.")
        return row

    def routes(self) -> Sequence[Route]:
        """The operations on groups."""
        many = "/v1/workspaces/{workspace:uuid}/groups"
        one = f"{many}/{{group:uuid}}"
        member = f"{one}/members/{{account:uuid}}"
        read, write = "workspaces:read", "workspaces:write"
        seen = (PreconditionFailed, PreconditionRequired)
        return (
            Route(method="GET", path=many, handler=self.list, summary="List a workspace's groups", query=PageQuery,
                  answer=Page[Group], scope=read),
            Route(method="POST", path=many, handler=self.make, summary="Make a group", body=GroupName, answer=Group,
                  status=201, scope=write, problems=(Conflict,)),
            Route(method="GET", path=one, handler=self.look, summary="Look at a group", answer=Group, scope=read),
            Route(method="PATCH", path=one, handler=self.rename, summary="Rename a group", body=GroupName,
                  answer=Group, scope=write, problems=(Conflict, *seen)),
            Route(method="DELETE", path=one, handler=self.delete, summary="Delete a group", scope=write, problems=seen),
            Route(method="GET", path=f"{one}/members", handler=self.members, summary="List a group's members",
                  query=PageQuery, answer=Page[GroupMember], scope=read),
            Route(method="PUT", path=member, handler=self.add, summary="Put a member into a group", scope=write),
            Route(method="DELETE", path=member, handler=self.remove, summary="Take a member out of a group",
                  scope=write),
        )  # fmt: skip


def _group(row: Any) -> Group:
    return Group(id=row["id"], name=row["name"], created=row["created"])


async def _unique(connection: Any, sql: str, *arguments: object) -> Any:
    try:
        async with connection.transaction():
            return await connection.fetchrow(sql, *arguments)
    except asyncpg.UniqueViolationError:
        raise Conflict("There is a group of that name.") from None
