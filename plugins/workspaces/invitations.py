"""Invitations to a workspace: by a link that is shown once, or by the verified address they were sent to."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import Field

from api_shim.ids import uuid7
from api_shim.models import Model
from api_shim.paging import Page, PageQuery
from api_shim.problems import Conflict, Gone, NotFound
from api_shim.route import Answer, Call, Route
from api_shim.services import Letter, Mail, User, Users
from plugins.workspaces.desk import Change, Desk, person
from plugins.workspaces.guests import digest
from plugins.workspaces.members import enter
from plugins.workspaces.rights import exceeds
from plugins.workspaces.roles import RoleName, called, rights_of
from relay.contracts.materi.v1 import users_pb2 as users

__all__ = ["Invitations"]

PREFIX = "mi_"


class Invitation(Model):
    """Somebody who was asked to become a member."""

    id: UUID
    workspace: UUID
    email: str
    role: str
    made_by: UUID
    made: datetime
    expires: datetime
    token: str | None = Field(default=None, description="Shown once, when it is made: good for whoever has it.")
    url: str | None = Field(default=None, description="For people; shown once, when it is made.")


class NewInvitation(Model):
    """Whom to invite."""

    email: str = Field(pattern=r"^[^@\s]{1,64}@[^@\s]{1,255}$", max_length=320)
    role: str = RoleName


class Acceptance(Model):
    """The token of an invitation's link."""

    token: str = Field(min_length=1, max_length=200)


class Joined(Model):
    """What you are a member of now."""

    workspace: UUID
    role: str


class MyInvitation(Model):
    """A workspace that you may become a member of."""

    id: UUID
    workspace: UUID
    workspace_name: str
    role: str
    expires: datetime


class Invitations:
    """Handlers. `lifetime` in seconds.  mail: who sends letters, if anybody does."""

    def __init__(
        self, desk: Desk, people: Callable[[], Users], mail: Callable[[], Mail | None], *, lifetime: float,
        public_url: str,
    ) -> None:  # fmt: skip
        self._desk, self._users, self._mail = desk, people, mail
        self._lifetime, self._public_url = timedelta(seconds=lifetime), public_url

    async def list(self, call: Call) -> Page[Invitation]:
        workspace = call.path["workspace"]
        await self._desk.require(call.who, "manage", workspace, "workspace")
        keys = call.page.keyset({}, id="id", parameter=3)
        rows = await self._desk.database.fetch(
            f"SELECT *, {keys.select} FROM workspaces.invitation"  # noqa: S608
            f" WHERE workspace = $1 AND expires > $2 AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            workspace, self._desk.now, *keys.arguments,
        )  # fmt: skip
        return keys.page(rows, _invitation)

    async def make(self, call: Call) -> Answer:
        """One invitation for each address: a later one takes the place of the one before. The answer alone holds the
        link; where the server sends mail, the address gets it too."""
        body: NewInvitation = call.body
        token = PREFIX + secrets.token_urlsafe(24)
        url = f"{self._public_url}/invitation#{token}"
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            rights, role = await rights_of(change, body.role)
            change.limit(rights)
            before = await change.connection.fetchrow(
                "DELETE FROM workspaces.invitation WHERE workspace = $1 AND lower(email) = lower($2) RETURNING rights",
                change.workspace, body.email,
            )  # fmt: skip
            if before is not None:
                change.limit(before["rights"])
            row = await change.connection.fetchrow(
                "INSERT INTO workspaces.invitation (id, workspace, hash, email, rights, role, made_by, made, expires)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING *",
                uuid7(), change.workspace, digest(token), body.email, rights, role, change.account, change.now,
                change.now + self._lifetime,
            )  # fmt: skip
            event = users.InvitationSent(
                invitation_id=str(row["id"]), workspace_id=str(change.workspace), email=body.email,
                role=called(rights, role),
            )  # fmt: skip
            await change.emit(event, change.workspace)
            if (mail := self._mail()) is not None:
                await mail.send(change.connection, Letter("invitation", body.email, "", url))
        return Answer(_invitation(row).model_copy(update={"token": token, "url": url}))

    async def revoke(self, call: Call) -> None:
        async with self._desk.change(call.who, call.path["workspace"], "manage", kind="workspace") as change:
            rights = await change.connection.fetchval(
                "DELETE FROM workspaces.invitation WHERE id = $1 AND workspace = $2 RETURNING rights",
                call.path["invitation"], change.workspace,
            )  # fmt: skip
            if rights is None:
                raise NotFound("There is no such invitation.")
            change.limit(rights)
            event = users.InvitationRevoked(
                invitation_id=str(call.path["invitation"]), workspace_id=str(change.workspace)
            )
            await change.emit(event, change.workspace)

    async def mine(self, call: Call) -> Page[MyInvitation]:
        """Those sent to your address, if it is verified."""
        user = await self._me(call)
        keys = call.page.keyset({}, id="i.id", parameter=3)
        rows = await self._desk.database.fetch(
            f"SELECT i.*, w.name, {keys.select} FROM workspaces.invitation i"  # noqa: S608
            f" JOIN workspaces.workspace w ON w.id = i.workspace AND w.trashed IS NULL"
            f" WHERE lower(i.email) = lower($1) AND i.expires > $2 AND {keys.where}"
            f" ORDER BY {keys.order} LIMIT {keys.limit}",
            user.email if user.verified else "", self._desk.now, *keys.arguments,
        )  # fmt: skip
        return keys.page(
            rows,
            lambda row: MyInvitation(
                id=row["id"], workspace=row["workspace"], workspace_name=row["name"],
                role=called(row["rights"], row["role"]), expires=row["expires"],
            ),
        )  # fmt: skip

    async def accept(self, call: Call) -> Joined:
        """By its link, whatever your address is."""
        row = await self._desk.database.fetchrow(
            "SELECT id, workspace FROM workspaces.invitation WHERE hash = $1", digest(call.body.token)
        )
        return await self._accept(call, row)

    async def accept_mine(self, call: Call) -> Joined:
        """One that was sent to your address, which is verified."""
        user = await self._me(call)
        row = await self._desk.database.fetchrow(
            "SELECT id, workspace FROM workspaces.invitation WHERE id = $1 AND lower(email) = lower($2)",
            call.path["invitation"], user.email if user.verified else "",
        )  # fmt: skip
        return await self._accept(call, row)

    async def _accept(self, call: Call, found: Any) -> Joined:
        account = person(call.who)
        if found is None:
            raise NotFound("There is no such invitation.")
        async with self._desk.change_without_rights(account, found["workspace"]) as change:
            row = await change.connection.fetchrow(
                "DELETE FROM workspaces.invitation i USING workspaces.workspace w"
                " WHERE i.id = $1 AND w.id = i.workspace AND w.trashed IS NULL RETURNING i.*",
                found["id"],
            )
            if row is None:
                raise NotFound("There is no such invitation.")
            if row["expires"] <= change.now:
                raise Gone("The invitation has expired.")
            return Joined(workspace=change.workspace, role=await self._enter(change, account, row))

    async def _enter(self, change: Change, account: UUID, row: Any) -> str:
        member = await change.connection.fetchrow(
            "SELECT rights, role FROM workspaces.member WHERE workspace = $1 AND account = $2",
            change.workspace, account,
        )  # fmt: skip
        if member is not None and exceeds(member["rights"], row["rights"]):
            raise Conflict("You are a member already, and may do more than you are invited to.")
        await enter(change, account, row["rights"], row["role"])
        event = users.InvitationAccepted(
            invitation_id=str(row["id"]), workspace_id=str(change.workspace), user_id=str(account)
        )
        await change.emit(event, change.workspace)
        return called(row["rights"], row["role"])

    async def _me(self, call: Call) -> User:
        account = person(call.who)
        user = (await self._users().find([account])).get(account)
        if user is None:
            raise NotFound
        return user

    def routes(self) -> Sequence[Route]:
        """The operations on invitations."""
        many = "/v1/workspaces/{workspace:uuid}/invitations"
        read, write = "workspaces:read", "workspaces:write"
        answers = (Conflict, Gone)
        return (
            Route(method="GET", path=many, handler=self.list, summary="List invitations to a workspace",
                  query=PageQuery, answer=Page[Invitation], scope=read, tag="invitations"),
            Route(method="POST", path=many, handler=self.make, summary="Invite somebody to a workspace",
                  body=NewInvitation, answer=Invitation, status=201, scope=write, tag="invitations"),
            Route(method="DELETE", path=f"{many}/{{invitation:uuid}}", handler=self.revoke,
                  summary="Withdraw an invitation", scope=write, tag="invitations"),
            Route(method="GET", path="/v1/me/invitations", handler=self.mine, summary="List your invitations",
                  query=PageQuery, answer=Page[MyInvitation], scope=read, tag="invitations"),
            Route(method="POST", path="/v1/invitations:accept", handler=self.accept,
                  summary="Accept an invitation by its link", body=Acceptance, answer=Joined, scope=write,
                  problems=answers, tag="invitations"),
            Route(method="POST", path="/v1/invitations/{invitation:uuid}:accept", handler=self.accept_mine,
                  summary="Accept an invitation to your address", answer=Joined, scope=write, problems=answers,
                  tag="invitations"),
        )  # fmt: skip


def _invitation(row: Any) -> Invitation:
    return Invitation(
        id=row["id"], workspace=row["workspace"], email=row["email"], role=called(row["rights"], row["role"]),
        made_by=row["made_by"], made=row["made"], expires=row["expires"],
    )  # fmt: skip
