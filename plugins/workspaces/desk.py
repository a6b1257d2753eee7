"""Where rights are changed: one transaction that holds the workspace and checks who asks; then everybody is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from google.protobuf.message import Message

from api_shim.ids import read_uuid
from api_shim.problems import Forbidden, NotFound
from api_shim.services import Permission, Resource
from plugins.workspaces import tree
from plugins.workspaces.access import Rights
from plugins.workspaces.chain import asker, moment, read
from plugins.workspaces.changes import Changes
from plugins.workspaces.concerned import concerned
from plugins.workspaces.decisions import Decisions
from plugins.workspaces.rechecks import Rechecks
from plugins.workspaces.rights import OWN, exceeds, floor, holds
from relay.contracts.materi.v1 import documents_pb2 as documents
from relay.control import Recheck
from relay.grants import Principal

__all__ = ["KINDS", "Change", "Desk", "person"]

KINDS = {
    "document": documents.RESOURCE_KIND_DOCUMENT,
    "folder": documents.RESOURCE_KIND_FOLDER,
    "workspace": documents.RESOURCE_KIND_WORKSPACE,
}
"""What events call them."""


def person(principal: Principal) -> UUID:
    """The account of whoever has one. Raises Forbidden for guests, and for actors that are no accounts."""
    account = None if principal.kind == "guest" else read_uuid(principal.actor)
    if account is None:
        raise Forbidden("This takes an account.")
    return account


class Change:
    """A change in the making.

    connection: in a transaction that holds the lock of `workspace`.
    account: who changes.  rights: what they may do with `resource`.  now: when it is.
    """

    def __init__(
        self, connection: Any, outbox: Any, workspace: UUID, resource: UUID, kind: Resource, account: UUID, rights: int,
        now: datetime,
    ) -> None:  # fmt: skip
        self.connection, self.workspace, self.resource, self.kind = connection, workspace, resource, kind
        self.account, self.rights, self.now = account, rights, now
        self.whom: set[Recheck] = set()
        self._outbox = outbox

    async def emit(self, event: Message, subject: UUID) -> None:
        """Tell of it when it has committed; whoever has something open that it is about is asked about again."""
        await self._outbox.add(self.connection, event, subject=str(subject), actor=str(self.account))
        self.whom |= await concerned(self.connection, event)

    def limit(self, rights: int, mine: int | None = None) -> None:
        """Raises Forbidden for rights that the one who changes does not have: nobody gives or takes those."""
        if exceeds(rights, self.rights if mine is None else mine):
            raise Forbidden("That is more than you may do yourself.")

    async def rights_of(self, who: UUID, resource: UUID | None = None) -> int:
        """What somebody else may do with the resource, as of now in this transaction."""
        decision = await read(self.connection, resource or self.resource, who, self.now)
        return decision.rights if decision is not None else 0


class Desk:
    """What all handlers share."""

    def __init__(
        self,
        database: asyncpg.Pool,
        outbox: Any,
        access: Rights,
        decisions: Decisions,
        changes: Changes,
        rechecks: Rechecks,
        clock: Callable[[], float],
    ) -> None:
        self.database, self.access, self.outbox = database, access, outbox
        self._decisions, self._changes, self._rechecks, self._clock = decisions, changes, rechecks, clock

    @property
    def now(self) -> datetime:
        """What time it is."""
        return moment(self._clock())

    async def require(self, principal: Principal, permission: Permission, resource: UUID, kind: str = "") -> int:
        """The rights, which hold `permission`. Raises NotFound also where the resource is not of that kind."""
        rights = await self.access.rights(principal, resource)
        if floor(rights) is None or (kind and await self._kind(resource) != kind):
            raise NotFound
        if not holds(rights, permission):
            raise Forbidden(f"You need the permission to {permission}.")
        return rights

    @asynccontextmanager
    async def change(
        self, principal: Principal, resource: UUID, permission: Permission | None, *, own: bool = False, kind: str = ""
    ) -> AsyncIterator[Change]:
        """Change rights on a resource. What was checked holds until it has committed: one at a time changes a
        workspace. Then nothing old is remembered here, and open sockets are looked at.

        own: only owners.  kind: what the resource has to be.  permission None: whoever may see it.
        """
        who = asker(principal)
        if who is None:
            raise NotFound
        async with self.database.acquire() as connection:
            async with connection.transaction():
                workspace = await tree.lock(connection, resource)
                now = self.now
                decision = await read(connection, resource, who, now)
                found = await self._kind(resource, connection)
                if decision is None or not decision.rights or (kind and found != kind):
                    raise NotFound
                account = person(principal)
                if own and not decision.rights & OWN:
                    raise Forbidden("Only an owner may do this.")
                if permission is not None and not holds(decision.rights, permission):
                    raise Forbidden(f"You need the permission to {permission}.")
                change = Change(connection, self.outbox, workspace, resource, found, account, decision.rights, now)
                yield change
                await self._changes.tell(connection, workspace)
            self._decisions.forget(workspace)
        await self._rechecks.send_now(change.whom)

    @asynccontextmanager
    async def change_without_rights(self, account: UUID, workspace: UUID) -> AsyncIterator[Change]:
        """Change something that whoever asks has another proof for, such as an invitation. Raises NotFound for a
        workspace that is not there."""
        async with self.database.acquire() as connection:
            async with connection.transaction():
                await tree.lock(connection, workspace)
                change = Change(connection, self.outbox, workspace, workspace, "workspace", account, 0, self.now)
                yield change
                await self._changes.tell(connection, workspace)
            self._decisions.forget(workspace)
        await self._rechecks.send_now(change.whom)

    async def _kind(self, resource: UUID, connection: Any = None) -> Resource:
        kind: Resource = await (connection or self.database).fetchval(
            "SELECT kind FROM workspaces.resource WHERE id = $1", resource
        )
        return kind
