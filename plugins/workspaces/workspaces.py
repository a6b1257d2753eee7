"""Workspaces: made, named, put in the trash, purged."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import Field

from api_shim.ids import uuid7
from api_shim.models import Model
from api_shim.paging import Page, PageQuery
from api_shim.problems import Conflict, Forbidden, NotFound, PreconditionFailed, PreconditionRequired
from api_shim.route import Answer, Call, Route
from api_shim.services import Permission
from plugins.workspaces.desk import Desk, person
from plugins.workspaces.rights import OWN, RIGHTS, permissions
from plugins.workspaces.roles import called
from relay.contracts.materi.v1 import users_pb2 as users
from relay.tasks import end, spawn

__all__ = ["Purge", "Workspace", "Workspaces"]

log = logging.getLogger("plugins.workspaces")


class Workspace(Model):
    """People, and the documents they work on."""

    id: UUID
    name: str
    description: str
    role: str = Field(description="What you are in it: a standard role, or the id of one of the workspace's own.")
    permissions: list[Permission] = Field(description="What that allows.")
    created: datetime
    updated: datetime
    trashed: datetime | None = Field(default=None, description="When it went to the trash.")
    purge_after: datetime | None = Field(default=None, description="When it will be deleted for good.")


class NewWorkspace(Model):
    """A workspace to make."""

    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)


class WorkspaceChange(Model):
    """What is to be different."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)


class WorkspacesQuery(PageQuery):
    """Which workspaces."""

    trashed: bool = Field(default=False, description="Those in the trash, which are shown to their owners.")


_SEEN = """
SELECT w.*, m.rights, m.role FROM workspaces.workspace w
LEFT JOIN workspaces.member m ON m.workspace = w.id AND m.account = $2 WHERE w.id = $1
"""


class Workspaces:
    """Handlers. `retention`: seconds in the trash.  most: workspaces that one account may own."""

    def __init__(self, desk: Desk, retention: float, most: int) -> None:
        self._desk, self._retention, self._most = desk, timedelta(seconds=retention), most

    async def list(self, call: Call) -> Page[Workspace]:
        """Those that you are a member of. What was shared with you one by one is not in a workspace of yours."""
        account = person(call.who)
        keys = call.page.keyset({}, id="w.id", parameter=2)
        trashed = f"w.trashed IS NOT NULL AND m.rights & {OWN} <> 0" if call.query.trashed else "w.trashed IS NULL"
        rows = await self._desk.database.fetch(
            f"SELECT w.*, m.rights, m.role, {keys.select}"  # noqa: S608
            f" FROM workspaces.member m JOIN workspaces.workspace w ON w.id = m.workspace"
            f" WHERE m.account = $1 AND {trashed} AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            account, *keys.arguments,
        )  # fmt: skip
        return keys.page(rows, _workspace)

    async def make(self, call: Call) -> Answer:
        """You are its owner."""
        account, body, now = person(call.who), call.body, self._desk.now
        id = uuid7()
        async with self._desk.database.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 21))", str(account))
            owned = await connection.fetchval(
                f"SELECT count(*) FROM workspaces.member WHERE account = $1 AND rights & {OWN} <> 0",  # noqa: S608
                account,
            )
            if owned >= self._most:
                raise Forbidden(f"You own {owned} workspaces; no more can be made.")
            await connection.execute(
                "INSERT INTO workspaces.workspace (id, name, description, created, updated)"
                " VALUES ($1, $2, $3, $4, $4)",
                id, body.name, body.description, now,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO workspaces.resource (id, kind, parent, workspace, node, policy)"
                " VALUES ($1, 'workspace', $1, $1, true, $1)",
                id,
            )
            await connection.execute("SELECT workspaces.rebuild($1)", id)
            await connection.execute(
                "INSERT INTO workspaces.member (workspace, account, rights, joined) VALUES ($1, $2, $3, $4)",
                id, account, RIGHTS["owner"], now,
            )  # fmt: skip
            event = users.WorkspaceCreated(workspace_id=str(id), name=body.name, owner_id=str(account))
            await self._desk.outbox.add(connection, event, subject=str(id), actor=str(account))
            row = await connection.fetchrow(_SEEN, id, account)
        return Answer(_workspace(row), etag="1", headers={"Location": f"/v1/workspaces/{id}"})

    async def look(self, call: Call) -> Answer:
        row = await self._row(call)
        if row["trashed"] is None:
            await self._desk.require(call.who, "read", row["id"])
        elif row["rights"] is None or not row["rights"] & OWN:
            raise NotFound
        return Answer(_workspace(row), etag=str(row["version"]))

    async def change(self, call: Call) -> Answer:
        workspace, body = call.path["workspace"], call.body
        async with self._desk.change(call.who, workspace, "manage", kind="workspace") as change:
            before = await change.connection.fetchrow(_SEEN, workspace, change.account)
            call.require_match(str(before["version"]))
            given = body.model_dump(exclude_unset=True, exclude_none=True)
            changed = [name for name, value in given.items() if before[name] != value]
            if changed:
                await change.connection.execute(
                    "UPDATE workspaces.workspace SET name = $2, description = $3, updated = $4, version = version + 1"
                    " WHERE id = $1",
                    workspace, given.get("name", before["name"]), given.get("description", before["description"]),
                    change.now,
                )  # fmt: skip
                await change.emit(users.WorkspaceUpdated(workspace_id=str(workspace), changed=changed), workspace)
            row = await change.connection.fetchrow(_SEEN, workspace, change.account)
        return Answer(_workspace(row), etag=str(row["version"]))

    async def trash(self, call: Call) -> None:
        """It is closed to everybody at once, and deleted for good when the time in the trash is over."""
        workspace = call.path["workspace"]
        async with self._desk.change(call.who, workspace, None, own=True, kind="workspace") as change:
            version = await change.connection.fetchval(
                "SELECT version FROM workspaces.workspace WHERE id = $1", workspace
            )
            call.require_match(str(version))
            await change.connection.execute(
                "UPDATE workspaces.workspace SET trashed = $2, purge_after = $3, updated = $2, version = version + 1"
                " WHERE id = $1",
                workspace, change.now, change.now + self._retention,
            )  # fmt: skip
            await change.emit(users.WorkspaceTrashed(workspace_id=str(workspace)), workspace)

    async def restore(self, call: Call) -> Answer:
        """Everything is as it was, but what has expired meanwhile."""
        account, row = person(call.who), await self._row(call)
        workspace = row["id"]
        if row["rights"] is None:
            raise NotFound
        if not row["rights"] & OWN:
            raise NotFound if row["trashed"] is not None else Forbidden("Only an owner may do this.")
        async with self._desk.change_without_rights(account, workspace) as change:
            done = await change.connection.fetchval(
                "UPDATE workspaces.workspace w SET trashed = NULL, purge_after = NULL, updated = $2,"
                " version = w.version + 1 FROM workspaces.member m WHERE w.id = $1 AND w.trashed IS NOT NULL"
                " AND m.workspace = w.id AND m.account = $3 AND m.rights & $4 <> 0 RETURNING w.id",
                workspace, change.now, account, OWN,
            )  # fmt: skip
            if done is None:
                raise Conflict("It is not in the trash.")
            await change.emit(users.WorkspaceRestored(workspace_id=str(workspace)), workspace)
            row = await change.connection.fetchrow(_SEEN, workspace, account)
        return Answer(_workspace(row), etag=str(row["version"]))

    async def _row(self, call: Call) -> Any:
        row = await self._desk.database.fetchrow(_SEEN, call.path["workspace"], person(call.who))
        if row is None or row["rights"] is None:
            raise NotFound
        return row

    def routes(self) -> Sequence[Route]:
        """The operations on workspaces."""
        many, one = "/v1/workspaces", "/v1/workspaces/{workspace:uuid}"
        read, write = "workspaces:read", "workspaces:write"
        seen = (PreconditionFailed, PreconditionRequired)
        return (
            Route(method="GET", path=many, handler=self.list, summary="List your workspaces", query=WorkspacesQuery,
                  answer=Page[Workspace], scope=read),
            Route(method="POST", path=many, handler=self.make, summary="Make a workspace", body=NewWorkspace,
                  answer=Workspace, status=201, scope=write),
            Route(method="GET", path=one, handler=self.look, summary="Look at a workspace", answer=Workspace,
                  scope=read),
            Route(method="PATCH", path=one, handler=self.change, summary="Change a workspace", body=WorkspaceChange,
                  answer=Workspace, scope=write, problems=seen),
            Route(method="DELETE", path=one, handler=self.trash, summary="Put a workspace into the trash", scope=write,
                  problems=seen),
            Route(method="POST", path=f"{one}:restore", handler=self.restore, summary="Restore a workspace",
                  answer=Workspace, scope=write, problems=(Conflict,)),
        )  # fmt: skip


class Purge:
    """Deletes for good what has been in the trash for long enough. What is in a workspace goes when its plugins hear of
    it: nobody may see it any more."""

    def __init__(self, desk: Desk, every: float) -> None:
        self._desk, self._every = desk, every
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._looking = spawn("purge workspaces", self._look())

    async def close(self) -> None:
        """Stop looking."""
        await end(self._looking)

    async def _look(self) -> None:
        while True:
            try:
                while await self.one():
                    pass
                await self.tidy()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("the trash can't be emptied", extra={"error": str(error) or type(error).__name__})
            await asyncio.sleep(self._every)

    async def one(self) -> bool:
        """Delete one that is due, with all that is said in it; whether there was one."""
        async with self._desk.database.acquire() as connection, connection.transaction():
            workspace = await connection.fetchval(
                "SELECT id FROM workspaces.workspace WHERE purge_after <= $1 LIMIT 1 FOR UPDATE SKIP LOCKED",
                self._desk.now,
            )
            if workspace is None:
                return False
            # Who has a role of its own must go before the role.
            for table in ("member", "invitation", "resource"):
                await connection.execute(f"DELETE FROM workspaces.{table} WHERE workspace = $1", workspace)  # noqa: S608
            await connection.execute("DELETE FROM workspaces.workspace WHERE id = $1", workspace)
            event = users.WorkspaceDeleted(workspace_id=str(workspace))
            await self._desk.outbox.add(connection, event, subject=str(workspace))
        log.info("workspace purged", extra={"workspace": str(workspace)})
        return True

    async def tidy(self) -> None:
        """Forget what expired a month ago; nothing rests on it. A share link is kept until it is withdrawn."""
        long_ago = self._desk.now - timedelta(days=30)
        for sql in (
            "DELETE FROM workspaces.granted WHERE expires < $1 AND kind <> 'link'",
            "DELETE FROM workspaces.invitation WHERE expires < $1",
        ):
            await self._desk.database.execute(sql, long_ago)


def _workspace(row: Any) -> Workspace:
    return Workspace(
        id=row["id"], name=row["name"], description=row["description"], role=called(row["rights"], row["role"]),
        permissions=permissions(row["rights"]), created=row["created"], updated=row["updated"],
        trashed=row["trashed"], purge_after=row["purge_after"],
    )  # fmt: skip
