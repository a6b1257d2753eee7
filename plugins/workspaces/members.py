"""Members of a workspace and their roles."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from api_shim.models import Model
from api_shim.paging import Page, PageQuery
from api_shim.problems import Conflict, FieldError, Forbidden, Invalid, NotFound
from api_shim.route import Call, Route
from api_shim.services import Users
from plugins.workspaces.desk import Change, Desk
from plugins.workspaces.problems import LastOwner
from plugins.workspaces.rights import BITS, OWN, RIGHTS, exceeds, holds
from plugins.workspaces.roles import RoleName, called, rights_of
from relay.bus import Event
from relay.contracts.materi.v1 import documents_pb2 as documents
from relay.contracts.materi.v1 import users_pb2 as users

__all__ = ["Member", "Members", "enter"]


class Member(Model):
    """Somebody in a workspace."""

    account: UUID
    name: str = Field(description="Empty for an account that is gone.")
    email: str | None = Field(default=None, description="Shown to those who manage the workspace, and to oneself.")
    role: str
    joined: datetime


class MemberRole(Model):
    """The role to have."""

    role: str = RoleName


class NewOwner(Model):
    """Who is to own the workspace."""

    account: UUID = Field(strict=False, description="A member of it.")


async def enter(change: Change, account: UUID, rights: int, role: UUID | None) -> None:
    """Make somebody a member, or change the role of one; the caller has checked that they may. Raises LastOwner."""
    before = await change.connection.fetchrow(
        "SELECT rights, role FROM workspaces.member WHERE workspace = $1 AND account = $2", change.workspace, account
    )
    if before is not None and before["rights"] & OWN and not rights & OWN:
        await keep_an_owner(change, account)
    await change.connection.execute(
        "INSERT INTO workspaces.member (workspace, account, rights, role, joined) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (workspace, account) DO UPDATE SET rights = excluded.rights, role = excluded.role,"
        " version = member.version + 1",
        change.workspace, account, rights, role, change.now,
    )  # fmt: skip
    ids = {"workspace_id": str(change.workspace), "user_id": str(account), "role": called(rights, role)}
    if before is None:
        await change.emit(users.MemberAdded(**ids), change.workspace)
        return
    was = called(before["rights"], before["role"])
    if was != ids["role"]:
        await change.emit(users.MemberChanged(**ids, role_before=was), change.workspace)
    if exceeds(before["rights"], rights):
        await withdraw(change, account)


async def keep_an_owner(change: Change, leaving: UUID) -> None:
    """Raises LastOwner when nobody but `leaving` owns the workspace."""
    others = await change.connection.fetchval(
        f"SELECT count(*) FROM workspaces.member WHERE workspace = $1 AND account <> $2 AND rights & {OWN} <> 0",  # noqa: S608
        change.workspace, leaving,
    )  # fmt: skip
    if not others:
        raise LastOwner


async def withdraw(change: Change, account: UUID) -> None:
    """Take back the links and invitations that somebody made and may make no more: they know their secrets."""
    links = await change.connection.fetch(
        "SELECT l.id, l.resource, g.rights FROM workspaces.link l JOIN workspaces.resource r ON r.id = l.resource"
        " LEFT JOIN workspaces.granted g ON g.subject = l.id WHERE l.made_by = $1 AND r.workspace = $2",
        account, change.workspace,
    )  # fmt: skip
    for link in links:
        rights = await change.rights_of(account, link["resource"])
        if not holds(rights, "share") or exceeds(link["rights"] or 0, rights):
            await change.connection.execute("DELETE FROM workspaces.granted WHERE subject = $1", link["id"])
            await change.connection.execute("DELETE FROM workspaces.link WHERE id = $1", link["id"])
            event = documents.ShareLinkRevoked(link_id=str(link["id"]), resource_id=str(link["resource"]))
            await change.emit(event, link["resource"])
    rights = await change.rights_of(account, change.workspace)
    gone = await change.connection.fetch(
        "DELETE FROM workspaces.invitation WHERE workspace = $1 AND made_by = $2"
        " AND (rights & ~$3::int <> 0 OR $3::int & $4::int = 0) RETURNING id",
        change.workspace, account, rights, BITS["manage"],
    )  # fmt: skip
    for row in gone:
        event_ = users.InvitationRevoked(invitation_id=str(row["id"]), workspace_id=str(change.workspace))
        await change.emit(event_, change.workspace)


async def take_out(change: Change, account: UUID) -> None:
    """End a membership with all that came with it: groups, grants, what they own, links and invitations they made."""
    await change.connection.execute(
        "DELETE FROM workspaces.member WHERE workspace = $1 AND account = $2", change.workspace, account
    )
    await change.connection.execute(
        "DELETE FROM workspaces.granted g USING workspaces.resource r"
        " WHERE g.subject = $2 AND r.id = g.resource AND r.workspace = $1",
        change.workspace, account,
    )  # fmt: skip
    await change.connection.execute(
        "UPDATE workspaces.resource SET owner = NULL WHERE workspace = $1 AND owner = $2", change.workspace, account
    )
    await change.connection.execute(
        "DELETE FROM workspaces.request q USING workspaces.resource r"
        " WHERE q.account = $2 AND r.id = q.resource AND r.workspace = $1",
        change.workspace, account,
    )  # fmt: skip
    await withdraw(change, account)
    await change.emit(users.MemberRemoved(workspace_id=str(change.workspace), user_id=str(account)), change.workspace)


class Members:
    """Handlers."""

    def __init__(self, desk: Desk, people: Callable[[], Users]) -> None:
        self._desk, self._users = desk, people

    async def list(self, call: Call) -> Page[Member]:
        workspace = call.path["workspace"]
        rights = await self._desk.require(call.who, "read", workspace, "workspace")
        keys = call.page.keyset({}, id="account", parameter=2)
        rows = await self._desk.database.fetch(
            f"SELECT *, {keys.select} FROM workspaces.member"  # noqa: S608
            f" WHERE workspace = $1 AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            workspace, *keys.arguments,
        )  # fmt: skip
        shown = {member.account: member for member in await self._show(call, rights, rows[: keys.limit - 1])}
        return keys.page(rows, lambda row: shown[row["account"]])

    async def look(self, call: Call) -> Member:
        workspace = call.path["workspace"]
        rights = await self._desk.require(call.who, "read", workspace, "workspace")
        return await self._member(call, rights)

    async def put(self, call: Call) -> Member:
        """Make an account a member, or change its role. You can give no more than you may do yourself, and can't change
        somebody who may do more than you."""
        account = call.path["account"]
        user = (await self._users().find([account])).get(account)
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            if user is None:
                raise NotFound("There is no such account.")
            rights, role = await rights_of(change, call.body.role)
            change.limit(rights | await change.rights_of(account))
            await enter(change, account, rights, role)
        return await self._member(call, change.rights)

    async def remove(self, call: Call) -> None:
        """Whatever they had by being a member they have no more. Everybody may take themselves out."""
        account = call.path["account"]
        async with self._desk.change(call.who, call.path["workspace"], None, kind="workspace") as change:
            if account != change.account and not holds(change.rights, "manage"):
                raise Forbidden("You need the permission to manage.")
            await self._remove(change, account)

    async def leave(self, call: Call) -> None:
        """The last owner can't."""
        async with self._desk.change(call.who, call.path["workspace"], None, kind="workspace") as change:
            await self._remove(change, change.account)

    async def _remove(self, change: Change, account: UUID) -> None:
        member = await change.connection.fetchval(
            "SELECT rights FROM workspaces.member WHERE workspace = $1 AND account = $2", change.workspace, account
        )
        if member is None:
            raise NotFound("There is no such member.")
        if account != change.account:
            change.limit(member)
        if member & OWN:
            await keep_an_owner(change, account)
        await take_out(change, account)

    async def transfer(self, call: Call) -> None:
        """Another member becomes owner, and you an admin."""
        heir: UUID = call.body.account
        async with self._desk.change(call.who, call.path["workspace"], None, own=True, kind="workspace") as change:
            found = await change.connection.fetchval(
                "SELECT true FROM workspaces.member WHERE workspace = $1 AND account = $2", change.workspace, heir
            )
            if not found:
                raise Invalid(errors=[
                    FieldError(pointer="/account", code="member", detail="Is no member of the workspace.")
                ])  # fmt: skip
            if heir != change.account:
                await enter(change, heir, RIGHTS["owner"], None)
                await enter(change, change.account, RIGHTS["admin"], None)

    async def _member(self, call: Call, rights: int) -> Member:
        row = await self._desk.database.fetchrow(
            "SELECT * FROM workspaces.member WHERE workspace = $1 AND account = $2",
            call.path["workspace"], call.path["account"],
        )  # fmt: skip
        if row is None:
            raise NotFound("There is no such member.")
        return (await self._show(call, rights, [row]))[0]

    async def _show(self, call: Call, rights: int, rows: Sequence[Any]) -> Sequence[Member]:
        people = await self._users().find([row["account"] for row in rows]) if rows else {}
        shown = []
        for row in rows:
            account = row["account"]
            user = people.get(account)
            known = user is not None and (holds(rights, "manage") or str(account) == call.who.actor)
            shown.append(
                Member(
                    account=account, name=user.name if user else "", email=user.email if user and known else None,
                    role=called(row["rights"], row["role"]), joined=row["joined"],
                )
            )  # fmt: skip
        return shown

    async def forget(self, connection: Any, event: Event) -> None:
        """The consumer of `user.deleted`: the account is taken out of everything. A workspace that it alone owned goes
        to whoever may do most in it, and then was there first."""
        if not isinstance(event.payload, users.UserDeleted):
            return
        account = UUID(event.payload.user_id)
        rows = await connection.fetch("SELECT workspace FROM workspaces.member WHERE account = $1", account)
        for row in rows:
            async with self._desk.change_without_rights(account, row["workspace"]) as change:
                try:
                    await keep_an_owner(change, account)
                except LastOwner:
                    heir = await change.connection.fetchval(
                        "SELECT account FROM workspaces.member WHERE workspace = $1 AND account <> $2"
                        " ORDER BY rights DESC, joined, account LIMIT 1",
                        change.workspace, account,
                    )  # fmt: skip
                    if heir is not None:
                        await enter(change, heir, RIGHTS["owner"], None)
                await take_out(change, account)
        await connection.execute("DELETE FROM workspaces.granted WHERE subject = $1", account)
        await connection.execute("DELETE FROM workspaces.request WHERE account = $1", account)

    def routes(self) -> Sequence[Route]:
        """The operations on members."""
        workspace = "/v1/workspaces/{workspace:uuid}"
        many, one = f"{workspace}/members", f"{workspace}/members/{{account:uuid}}"
        read, write = "workspaces:read", "workspaces:write"
        return (
            Route(method="GET", path=many, handler=self.list, summary="List a workspace's members", query=PageQuery,
                  answer=Page[Member], scope=read),
            Route(method="GET", path=one, handler=self.look, summary="Look at a member", answer=Member, scope=read),
            Route(method="PUT", path=one, handler=self.put, summary="Add a member, or change a member's role",
                  body=MemberRole, answer=Member, scope=write, problems=(LastOwner,)),
            Route(method="DELETE", path=one, handler=self.remove, summary="Remove a member", scope=write,
                  problems=(LastOwner,)),
            Route(method="POST", path=f"{workspace}:leave", handler=self.leave, summary="Leave a workspace",
                  scope=write, problems=(LastOwner,)),
            Route(method="POST", path=f"{workspace}:transfer", handler=self.transfer, summary="Hand a workspace over",
                  body=NewOwner, scope=write, problems=(Conflict,)),
        )  # fmt: skip
