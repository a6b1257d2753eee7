"""The service `Access`: what other plugins ask of rights."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from api_shim.problems import Forbidden, NotFound
from api_shim.services import Permission, Place, Resource, Role
from plugins.workspaces import tree
from plugins.workspaces.chain import asker, moment, read
from plugins.workspaces.changes import Changes
from plugins.workspaces.decisions import Decisions
from plugins.workspaces.rechecks import Rechecks
from plugins.workspaces.rights import NONE, floor, holds
from plugins.workspaces.rule import Decision
from plugins.workspaces.visible import condition
from relay.contracts.materi.v1 import documents_pb2 as documents
from relay.control import Recheck
from relay.grants import Principal
from relay.types import Actor, RoomId

__all__ = ["Rights"]


class Rights:
    """`api_shim.services.Access`. Decisions are remembered (see `decisions`); lists are filtered in SQL."""

    def __init__(
        self,
        database: asyncpg.Pool,
        decisions: Decisions,
        changes: Changes,
        rechecks: Rechecks,
        outbox: Any,
        clock: Callable[[], float],
    ) -> None:
        self._database, self._decisions, self._changes = database, decisions, changes
        self._rechecks, self._outbox, self._clock = rechecks, outbox, clock

    async def rights(self, principal: Principal, resource: UUID) -> int:
        """What the principal may do with the resource, as bits (see `rights`)."""
        who = asker(principal)
        if who is None:
            return NONE
        now = self._clock()
        known = self._decisions.find(who, resource, now)
        if known is not None:
            return known
        turn = self._decisions.turn
        decision = await read(self._database, resource, who, moment(now))
        if decision is None:
            return NONE
        self._decisions.keep(who, resource, decision, turn)
        return decision.rights

    async def decide(self, who: UUID, resource: UUID) -> Decision | None:
        """The decision with all that was considered, read afresh; None when there is no such resource."""
        return await read(self._database, resource, who, moment(self._clock()))

    async def role(self, principal: Principal, resource: UUID) -> Role | None:
        """The highest standard role that what the principal may do comes to; None = no access. Whoever holds a role of
        a workspace's own may have permissions beyond it, which `require` knows."""
        return floor(await self.rights(principal, resource))

    async def require(self, principal: Principal, permission: Permission, resource: UUID) -> Role:
        """The role. Raises NotFound where the resource may not even be seen, Forbidden without `permission`."""
        rights = await self.rights(principal, resource)
        role = floor(rights)
        if role is None:
            raise NotFound
        if not holds(rights, permission):
            raise Forbidden(f"You need the permission to {permission}; you are {role}.")
        return role

    async def place(
        self, connection: PoolConnectionProxy, resource: UUID, kind: Resource, parent: UUID, owner: Actor
    ) -> Place:
        """See `tree.hang`. Nothing that is remembered changes by it."""
        return await tree.hang(connection, resource, kind, parent, owner)

    async def move(self, connection: PoolConnectionProxy, resource: UUID, parent: UUID) -> Place:
        """See `tree.rehang`. When it has committed, whoever has the documents open is asked about again."""
        links = await connection.fetch(
            "WITH RECURSIVE below AS (SELECT $1::uuid AS id UNION ALL SELECT c.id FROM below b"
            " JOIN workspaces.resource c ON c.parent = b.id AND c.id <> b.id)"
            " SELECT l.id, l.resource FROM below b JOIN workspaces.link l ON l.resource = b.id",
            resource,
        )
        place, before, moved = await tree.rehang(connection, resource, parent)
        whom = {Recheck(room=RoomId(str(id))) for id in moved}
        if before != place.workspace:
            for link in links:
                event = documents.ShareLinkRevoked(link_id=str(link["id"]), resource_id=str(link["resource"]))
                await self._outbox.add(connection, event, subject=str(link["resource"]))
            whom |= {Recheck(session=str(link["id"])) for link in links}
        for workspace in {before, place.workspace}:
            await self._changes.tell(connection, workspace, lambda: self._rechecks.send_now(whom))
        return place

    async def remove(self, connection: PoolConnectionProxy, resource: UUID) -> None:
        """See `tree.unhang`; what has no place is left alone."""
        workspace = await tree.unhang(connection, resource)
        if workspace is not None:
            await self._changes.tell(connection, workspace)

    def visible(
        self, principal: Principal, parameter: int, permission: Permission = "read", workspace: UUID | None = None
    ) -> tuple[str, list[object]]:
        """See `visible.condition`."""
        return condition(asker(principal), permission, moment(self._clock()), parameter, workspace)
