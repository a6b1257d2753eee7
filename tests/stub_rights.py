"""A plugin that stands in for accounts and workspaces: a token is the actor's name, rights are rows.

`ada` is Ada; `ada+documents:read,x` is Ada narrowed to scopes. Installed for a real relay by `install`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from api_shim.context import Context
from api_shim.ids import uuid7
from api_shim.plugin import Plugin
from api_shim.problems import Conflict, Forbidden, NotFound
from api_shim.services import ROLES, Access, Permission, Place, Resource, Role, User, Users, may
from relay.errors import Deny
from relay.grants import Principal
from relay.hooks import ConnectAsked
from relay.types import Actor

__all__ = ["TABLES", "Rights", "install"]

TABLES = """
CREATE SCHEMA IF NOT EXISTS rights;
CREATE TABLE IF NOT EXISTS rights.node (
    resource uuid PRIMARY KEY, kind text NOT NULL, parent uuid NOT NULL, workspace uuid NOT NULL);
CREATE INDEX IF NOT EXISTS node_parent ON rights.node (parent);
CREATE TABLE IF NOT EXISTS rights.given (
    resource uuid, actor text, role integer NOT NULL, PRIMARY KEY (actor, resource));
"""
_ABOVE = """
WITH RECURSIVE above AS (
    SELECT resource, parent FROM rights.node WHERE resource = $1
    UNION SELECT n.resource, n.parent FROM rights.node n JOIN above a ON n.resource = a.parent
)
"""
_ROLE = _ABOVE + "SELECT max(g.role) FROM rights.given g JOIN above a ON a.resource = g.resource WHERE g.actor = $2"


class Rights(Plugin):
    name = "rights"
    provides = (Access, Users)

    async def start(self, context: Context) -> None:
        self.database = context.database
        await self.database.execute(TABLES)
        context.provide(Access, self)  # type: ignore[type-abstract]
        context.provide(Users, self)  # type: ignore[type-abstract]

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        name, _, scopes = ask.token.partition("+")
        if not name:
            raise Deny("who are you?", 4401)
        return Principal(Actor(name), name, None, scopes=frozenset(scopes.split(",")) if scopes else None)

    async def workspace(self, owner: str) -> UUID:
        id = uuid7()
        await self.database.execute("INSERT INTO rights.node VALUES ($1, 'workspace', $1, $1)", id)
        await self.give(id, owner, "owner")
        return id

    async def give(self, resource: UUID | str, actor: str, role: Role | None) -> None:
        resource = UUID(str(resource))
        await self.database.execute("DELETE FROM rights.given WHERE resource = $1 AND actor = $2", resource, actor)
        if role is not None:
            await self.database.execute(
                "INSERT INTO rights.given VALUES ($1, $2, $3)", resource, actor, ROLES.index(role)
            )

    # -- Users --

    async def find(self, ids: Collection[UUID]) -> Mapping[UUID, User]:
        return {}

    async def by_email(self, email: str) -> User | None:
        return None

    # -- Access --

    async def role(self, principal: Principal, resource: UUID) -> Role | None:
        found = await self.database.fetchval(_ROLE, resource, principal.actor)
        return None if found is None else ROLES[found]

    async def require(self, principal: Principal, permission: Permission, resource: UUID) -> Role:
        role = await self.role(principal, resource)
        if role is None:
            raise NotFound("There is no such thing.")
        if not may(role, permission):
            raise Forbidden(f"This needs the permission {permission}.")
        return role

    async def place(
        self, connection: PoolConnectionProxy, resource: UUID, kind: Resource, parent: UUID, owner: Actor
    ) -> Place:
        workspace = await connection.fetchval(
            "SELECT workspace FROM rights.node WHERE resource = $1 AND kind <> 'document'", parent
        )
        if workspace is None:
            raise NotFound("There is no such place.")
        await connection.execute("INSERT INTO rights.node VALUES ($1, $2, $3, $4)", resource, kind, parent, workspace)
        await connection.execute("INSERT INTO rights.given VALUES ($1, $2, $3)", resource, owner, ROLES.index("owner"))
        return Place(resource, kind, parent, UUID(int=workspace.int))

    async def move(self, connection: PoolConnectionProxy, resource: UUID, parent: UUID) -> Place:
        above: list[Any] = await connection.fetch(_ABOVE + "SELECT resource FROM above", parent)
        if resource in [row["resource"] for row in above]:
            raise Conflict("It is above.")
        workspace = await connection.fetchval("SELECT workspace FROM rights.node WHERE resource = $1", parent)
        if workspace is None:
            raise NotFound("There is no such place.")
        await connection.execute(
            "UPDATE rights.node SET parent = $2, workspace = $3 WHERE resource = $1", resource, parent, workspace
        )
        return Place(resource, "document", parent, UUID(int=workspace.int))

    async def remove(self, connection: PoolConnectionProxy, resource: UUID) -> None:
        assert not await connection.fetchval("SELECT count(*) FROM rights.node WHERE parent = $1", resource)
        await connection.execute("DELETE FROM rights.given WHERE resource = $1", resource)
        await connection.execute("DELETE FROM rights.node WHERE resource = $1", resource)

    def visible(
        self, principal: Principal, parameter: int, permission: Permission = "read", workspace: UUID | None = None
    ) -> tuple[str, list[object]]:
        enough = [ROLES.index(role) for role in ROLES if may(role, permission)]
        return (
            f"""id IN (WITH RECURSIVE mine AS (
                  SELECT resource FROM rights.given WHERE actor = ${parameter} AND role = ANY(${parameter + 1}::int[])
                  UNION SELECT n.resource FROM rights.node n JOIN mine m ON n.parent = m.resource
                ) SELECT resource FROM mine)""",
            [principal.actor, enough],
        )


def install(site: Path) -> dict[str, str]:
    """Make a distribution of this file in `site`; the environment in which it is installed."""
    (site / "stub_rights.py").write_text(Path(__file__).read_text())
    info = site / "stub_rights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stub-rights\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[relay.plugins]\nrights = stub_rights:Rights\n")
    return {"PYTHONPATH": str(site)}
