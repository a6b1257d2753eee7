"""What plugins do for each other: typed protocols. A plugin asks the context for one, never another plugin."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from relay.grants import Access as RoomAccess
from relay.grants import Kind, Principal
from relay.types import Actor

__all__ = [
    "PERMISSIONS", "ROLES", "Access", "Letter", "Mail", "Permission", "Place", "Resource", "Role", "Tokens", "User",
    "Users", "may",
]  # fmt: skip

Role = Literal["owner", "admin", "editor", "commenter", "viewer"]
Permission = Literal["read", "comment", "write", "share", "manage", "delete"]
Resource = Literal["workspace", "folder", "document"]

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    "viewer": frozenset({"read"}),
    "commenter": frozenset({"read", "comment"}),
    "editor": frozenset({"read", "comment", "write"}),
    "admin": frozenset({"read", "comment", "write", "share", "manage", "delete"}),
    "owner": frozenset({"read", "comment", "write", "share", "manage", "delete"}),
}
ROLES: tuple[Role, ...] = ("viewer", "commenter", "editor", "admin", "owner")
"""From least to most."""


def may(role: Role | None, permission: Permission) -> bool:
    """Whether a role holds a permission; no role holds none."""
    return role is not None and permission in PERMISSIONS[role]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account. `email` is empty for a service account; `verified`: it was shown to be theirs."""

    id: UUID
    email: str
    name: str
    kind: Kind
    disabled: bool
    verified: bool = False


class Users(Protocol):
    """Who there is."""

    async def find(self, ids: Collection[UUID]) -> Mapping[UUID, User]:
        """Those of `ids` that exist."""
        ...

    async def by_email(self, email: str) -> User | None:
        """The account with that address, compared without case."""
        ...


class Tokens(Protocol):
    """Signed tokens that relays check by the server's published keys."""

    async def mint(self, principal: Principal, rooms: Mapping[str, RoomAccess], lifetime: float) -> str:
        """A collab token: for `lifetime` seconds (an hour at most) it opens rooms of these patterns in the principal's
        name, and is good for nothing else. It ends with the session that the principal came by."""
        ...


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter whose point is a link. `kind`: "reset_password", "verify_email", "invitation", "address_taken"."""

    kind: str
    to: str
    name: str
    link: str


class Mail(Protocol):
    """Sends letters."""

    async def send(self, connection: PoolConnectionProxy, letter: Letter) -> None:
        """Send it once the caller's transaction has committed, and not otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a resource hangs: below a parent, which for a workspace is itself."""

    resource: UUID
    kind: Resource
    parent: UUID
    workspace: UUID


class Access(Protocol):
    """Who may do what, to workspaces, folders and documents; what hangs below inherits."""

    async def role(self, principal: Principal, resource: UUID) -> Role | None:
        """What the principal is to the resource; None when it may not even know of it."""
        ...

    async def require(self, principal: Principal, permission: Permission, resource: UUID) -> Role:
        """The role, which holds `permission`. Raises problems.NotFound when the resource may not even be seen,
        problems.Forbidden otherwise."""
        ...

    async def place(
        self, connection: PoolConnectionProxy, resource: UUID, kind: Resource, parent: UUID, owner: Actor
    ) -> Place:
        """Hang a resource below a parent, in the caller's transaction. Raises problems.NotFound without a parent."""
        ...

    async def move(self, connection: PoolConnectionProxy, resource: UUID, parent: UUID) -> Place:
        """Hang it elsewhere. Raises problems.Conflict for a parent below the resource itself."""
        ...

    async def remove(self, connection: PoolConnectionProxy, resource: UUID) -> None:
        """Forget it, with the grants on it. What hung below must have gone before."""
        ...

    def visible(
        self, principal: Principal, parameter: int, permission: Permission = "read", workspace: UUID | None = None
    ) -> tuple[str, list[object]]:
        """A condition on the column `id` for SQL, and its parameters, the first of which is `$parameter`. Faster with
        the workspace that all the rows are in, where there is one; rows of others are then left out."""
        ...
