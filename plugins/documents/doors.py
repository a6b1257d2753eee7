"""Who may open a document's room: the room's name is the document's id."""

from uuid import UUID

import asyncpg

from api_shim.ids import read_uuid
from api_shim.problems import Problem
from api_shim.services import Role, may
from plugins.documents.library import READ, WRITE, Library
from relay import closing
from relay.closing import Closing
from relay.errors import Deny, Unavailable
from relay.grants import Access, Grant, Principal
from relay.hooks import JoinAsked
from relay.types import RoomId

__all__ = ["Doors"]

ROOMS = "rooms"
"""The scope of tokens that are good for rooms, and not for the API."""


class Doors:
    """Answers relays."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        """No opinion of rooms that are named otherwise. A document that may not be seen is told like one that is not
        there. Raises Deny, and Unavailable while the database is away."""
        id = read_uuid(ask.room)  # in upper case too, which is then refused: no second room for one id
        if id is None:
            return None
        library, principal = self._library, ask.principal
        allowed = _allowed(principal, ask.room)
        try:
            row = await library.database.fetchrow(
                "SELECT trashed IS NOT NULL AS trashed, locked OR archived IS NOT NULL AS fixed"
                " FROM documents.document WHERE id = $1",
                id,
            )
            role = await library.access.role(principal, id)
            may_write = role is not None and await self._writes(principal, id, role)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise Unavailable(f"the database is away: {error}") from error
        if row is None or role is None or allowed == "none" or str(id) != ask.room:
            raise _deny(closing.NOT_FOUND)
        if row["trashed"]:
            raise _deny(closing.DELETED)
        writes = may_write and not row["fixed"] and allowed == "read-write"
        return Grant(principal.actor, principal.name, not writes, principal.expires)

    async def _writes(self, principal: Principal, id: UUID, role: Role) -> bool:
        if may(role, "write"):
            return True
        try:  # a role of a workspace's own may be more than the standard one that it comes to
            await self._library.access.require(principal, "write", id)
        except Problem:
            return False
        return True


def _allowed(principal: Principal, room: RoomId) -> Access:
    """What a token lets its holder do at most, whatever the holder's role.

    One that is for rooms opens those that it names. What a login, key or link names are rooms that nobody decides
    about, and this is none: its scopes count.
    """
    scopes = principal.scopes
    if (scopes is not None and ROOMS in scopes) or not principal.session:
        grant = principal.grant(room)
        if grant is None:
            return "none"
        if grant.readonly:
            return "readonly"
    if scopes is None or WRITE in scopes or ROOMS in scopes:
        return "read-write"
    return "readonly" if READ in scopes else "none"


def _deny(why: Closing) -> Deny:
    return Deny(why.reason, why.code)
