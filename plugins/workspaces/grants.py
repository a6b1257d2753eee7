"""Grants on workspaces, folders and documents, and where inheritance ends."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api_shim.models import Model
from api_shim.problems import Conflict, FieldError, Forbidden, Invalid, NotFound
from api_shim.route import Call, Route
from api_shim.services import Permission, Resource, Users
from plugins.workspaces.desk import KINDS, Change, Desk
from plugins.workspaces.members import withdraw
from plugins.workspaces.problems import LocksOut
from plugins.workspaces.rights import NONE, OWN, exceeds, floor, holds, permissions
from plugins.workspaces.roles import RoleName, called, rights_of
from plugins.workspaces.tree import make_node
from relay.contracts.materi.v1 import documents_pb2 as documents

__all__ = ["Grants", "give"]

SubjectKind = Literal["user", "group", "link"]
_LATEST = 2999


class GrantMade(Model):
    """What somebody was given on a resource itself. It goes before what they would inherit, be it more or less."""

    kind: SubjectKind
    subject: UUID = Field(description="The account, group or share link.")
    name: str = Field(description="Of the account, group or link; may be empty.")
    role: str = Field(description="A standard role, the id of one of the workspace's own, or `none`.")
    expires: datetime | None = None


class ResourceAccess(Model):
    """Who was given what on a resource itself, and where the rest comes from."""

    resource: UUID
    kind: Resource
    workspace: UUID
    parent: UUID | None = Field(description="What it is in, which it inherits from; null for a workspace.")
    inherits: bool
    owner: UUID | None = Field(description="Who owns it, as long as their role in the workspace may write.")
    role: str | None = Field(description="What you are to it: the standard role that your permissions come to.")
    permissions: list[Permission] = Field(description="What you may do with it.")
    grants: list[GrantMade]


class NewGrant(Model):
    """What to give."""

    role: str = RoleName
    expires: datetime | None = Field(default=None, strict=False, description="When it ends by itself.")


class Inheritance(Model):
    """Whether what is granted further up counts."""

    inherits: bool


async def give(
    change: Change, kind: SubjectKind, subject: UUID, rights: int, role: UUID | None, expires: datetime | None
) -> None:
    """Put a grant on the resource of `change`, in place of one that is there. Raises Forbidden when the subject may do,
    or would be given, what the one who changes may not do; Invalid for an end that is past."""
    if expires is not None and (expires.tzinfo is None or expires <= change.now or expires.year > _LATEST):
        detail = f"Has to be in the future, before {_LATEST + 1}, with a time zone."
        raise Invalid(errors=[FieldError(pointer="/expires", code="past", detail=detail)])
    change.limit(rights)
    await _limit_to(change, kind, subject)
    await make_node(change.connection, change.resource)
    before = await change.connection.fetchrow(
        "SELECT rights, role FROM workspaces.granted WHERE subject = $1 AND resource = $2", subject, change.resource
    )
    await change.connection.execute(
        "INSERT INTO workspaces.granted (resource, subject, kind, rights, role, expires, made_by, made)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (subject, resource) DO UPDATE SET"
        " rights = excluded.rights, role = excluded.role, expires = excluded.expires, made_by = excluded.made_by,"
        " made = excluded.made, version = granted.version + 1",
        change.resource, subject, kind, rights, role, expires, str(change.account), change.now,
    )  # fmt: skip
    await _tell(change, kind, subject, called(before["rights"], before["role"]) if before else "", called(rights, role))
    if kind == "user":
        await withdraw(change, subject)


async def _tell(change: Change, kind: SubjectKind, subject: UUID, before: str, after: str) -> None:
    event = documents.GrantChanged(
        resource_id=str(change.resource), resource_kind=KINDS[change.kind], grantee_kind=kind, grantee_id=str(subject),
        role_before=before, role=after,
    )  # fmt: skip
    await change.emit(event, change.resource)


async def _limit_to(change: Change, kind: SubjectKind, subject: UUID) -> None:
    """Raises Forbidden when any of those meant may do more with the resource than the one who changes."""
    if change.rights & OWN:
        return
    people: Collection[UUID] = [subject]
    if kind == "group":
        rows = await change.connection.fetch("SELECT account FROM workspaces.team_member WHERE team = $1", subject)
        people = [row["account"] for row in rows]
    for one in people:
        change.limit(await change.rights_of(one))


class Grants:
    """Handlers."""

    def __init__(self, desk: Desk, people: Callable[[], Users]) -> None:
        self._desk, self._users = desk, people

    async def look(self, call: Call) -> ResourceAccess:
        resource = call.path["resource"]
        rights = await self._desk.require(call.who, "share", resource)
        return await self._show(resource, rights)

    async def put(self, call: Call) -> ResourceAccess:
        """You can give no more than you may do yourself, and can't change what somebody has who may do more than you.
        `none` shuts out, which takes the permission to manage. To own is not granted: make somebody an owner of the
        workspace instead, and a member with a role there rather than with a grant on the workspace."""
        kind, subject, body = call.path["kind"], call.path["subject"], call.body
        if kind not in ("user", "group"):
            raise NotFound
        user = (await self._users().find([subject])).get(subject) if kind == "user" else None
        need: Permission = "manage" if body.role == "none" else "share"
        async with self._desk.change(call.who, call.path["resource"], need) as change:
            rights, role = await rights_of(change, body.role, none=True)
            if rights & OWN:
                raise Invalid(errors=[FieldError(pointer="/role", code="role", detail="Can't be granted.")])
            if kind == "user":
                if user is None:
                    raise NotFound("There is no such account.")
                if change.kind == "workspace":
                    raise Conflict("Accounts have a role in a workspace by being members of it.")
            elif not await self._is_group(change, subject):
                raise NotFound("There is no such group.")
            await give(change, kind, subject, rights, role, body.expires)
        return await self._show(change.resource, await self._desk.access.rights(call.who, change.resource))

    async def remove(self, call: Call) -> None:
        """They have again what they inherit."""
        kind, subject = call.path["kind"], call.path["subject"]
        if kind not in ("user", "group"):
            raise NotFound
        async with self._desk.change(call.who, call.path["resource"], "share") as change:
            await _limit_to(change, kind, subject)
            before = await change.connection.fetchrow(
                "DELETE FROM workspaces.granted WHERE subject = $1 AND resource = $2 AND kind = $3"
                " RETURNING rights, role",
                subject, change.resource, kind,
            )  # fmt: skip
            if before is None:
                raise NotFound("There is no such grant.")
            change.limit(before["rights"])
            if before["rights"] == NONE and not holds(change.rights, "manage"):
                raise Forbidden("You need the permission to manage.")
            # Without it they may have more than with it: that is not for everybody to give.
            await _limit_to(change, kind, subject)
            await _tell(change, kind, subject, called(before["rights"], before["role"]), "")
            if kind == "user":
                await withdraw(change, subject)

    async def inherit(self, call: Call) -> ResourceAccess:
        """Without inheritance only what is granted on the resource itself, or below it, counts; owners of the workspace
        have access all the same."""
        inherits: bool = call.body.inherits
        async with self._desk.change(call.who, call.path["resource"], "manage") as change:
            if change.kind == "workspace":
                raise Conflict("A workspace has nothing to inherit from.")
            done = await change.connection.fetchval(
                "UPDATE workspaces.resource SET inherits = $2, node = true, version = version + 1"
                " WHERE id = $1 AND inherits <> $2 RETURNING id",
                change.resource, inherits,
            )  # fmt: skip
            if done is not None:
                await change.connection.execute("SELECT workspaces.rebuild($1)", change.resource)
                after = await change.rights_of(change.account)
                if not holds(after, "manage"):
                    raise LocksOut
                if exceeds(after, change.rights):
                    change.limit(after)
                await change.emit(
                    documents.InheritanceChanged(
                        resource_id=str(change.resource), resource_kind=KINDS[change.kind], inherits=inherits
                    ),
                    change.resource,
                )
        return await self._show(change.resource, await self._desk.access.rights(call.who, change.resource))

    async def _is_group(self, change: Change, group: UUID) -> bool:
        return bool(
            await change.connection.fetchval(
                "SELECT true FROM workspaces.team WHERE id = $1 AND workspace = $2", group, change.workspace
            )
        )

    async def _show(self, resource: UUID, rights: int) -> ResourceAccess:
        database = self._desk.database
        row = await database.fetchrow("SELECT * FROM workspaces.resource WHERE id = $1", resource)
        if row is None:
            raise NotFound
        grants = await database.fetch(
            "SELECT g.*, coalesce(t.name, l.label, '') AS name FROM workspaces.granted g"
            " LEFT JOIN workspaces.team t ON t.id = g.subject LEFT JOIN workspaces.link l ON l.id = g.subject"
            " WHERE g.resource = $1 AND (g.expires IS NULL OR g.expires > $2) ORDER BY g.made, g.subject LIMIT 1000",
            resource, self._desk.now,
        )  # fmt: skip
        accounts = [grant["subject"] for grant in grants if grant["kind"] == "user"]
        people = await self._users().find(accounts) if accounts else {}
        shown = [
            GrantMade(
                kind=grant["kind"], subject=grant["subject"],
                name=people[grant["subject"]].name if grant["subject"] in people else grant["name"],
                role=called(grant["rights"], grant["role"]), expires=grant["expires"],
            )
            for grant in grants
        ]  # fmt: skip
        return ResourceAccess(
            resource=resource, kind=row["kind"], workspace=row["workspace"],
            parent=None if row["kind"] == "workspace" else row["parent"], inherits=row["inherits"], owner=row["owner"],
            role=floor(rights), permissions=permissions(rights), grants=shown,
        )  # fmt: skip

    def routes(self) -> Sequence[Route]:
        """The operations on grants."""
        resource = "/v1/resources/{resource:uuid}"
        one = f"{resource}/grants/{{kind}}/{{subject:uuid}}"
        read, write = "workspaces:read", "workspaces:write"
        return (
            Route(method="GET", path=f"{resource}/access", handler=self.look, summary="See who was given what",
                  answer=ResourceAccess, scope=read, tag="access"),
            Route(method="PUT", path=one, handler=self.put, summary="Grant an account or a group a role on something",
                  body=NewGrant, answer=ResourceAccess, scope=write, problems=(Conflict,), tag="access"),
            Route(method="DELETE", path=one, handler=self.remove, summary="Take a grant back", scope=write,
                  tag="access"),
            Route(method="PUT", path=f"{resource}/inheritance", handler=self.inherit,
                  summary="Let a resource inherit access, or not", body=Inheritance, answer=ResourceAccess,
                  scope=write, problems=(Conflict, LocksOut), tag="access"),
        )  # fmt: skip
