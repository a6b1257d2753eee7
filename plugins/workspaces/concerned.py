"""Whose open sockets an event is about: exactly those are asked about again."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from relay.contracts.materi.v1 import documents_pb2 as documents
from relay.contracts.materi.v1 import users_pb2 as users
from relay.control import Recheck
from relay.types import RoomId

__all__ = ["concerned", "rooms_below"]

MANY = 500
"""Rooms; when there are more, it is tried to name people instead."""

_BELOW = """
WITH RECURSIVE below AS (
    SELECT r.id, r.kind FROM workspaces.resource r WHERE r.id = $1
    UNION ALL
    SELECT c.id, c.kind FROM below b JOIN workspaces.resource c ON c.parent = b.id AND c.id <> b.id
)
SELECT id FROM below WHERE kind = 'document'
"""


async def concerned(connection: Any, event: Message) -> set[Recheck]:
    """The answer as of the connection's transaction; empty for events that are not about rights."""
    match event:
        case users.MemberAdded() | users.MemberChanged() | users.MemberRemoved():
            return {Recheck(actor=event.user_id)}
        case users.GroupMemberAdded() | users.GroupMemberRemoved():
            return {Recheck(actor=event.user_id)}
        case users.GroupDeleted():
            return {Recheck(actor=account) for account in event.user_ids}
        case users.RoleUpdated():
            return await _role(connection, UUID(event.role_id))
        case users.WorkspaceTrashed() | users.WorkspaceRestored():
            return await _workspace(connection, UUID(event.workspace_id))
        case documents.GrantChanged():
            return await _grant(connection, event)
        case documents.ShareLinkRevoked():
            return {Recheck(session=event.link_id)}
        case documents.InheritanceChanged():
            return await _restricted(connection, UUID(event.resource_id))
        case documents.DocumentMoved():
            return {Recheck(room=RoomId(event.document_id))}
        case documents.FolderMoved():
            return await rooms_below(connection, UUID(event.folder_id))
        case _:
            return set()


async def rooms_below(connection: Any, resource: UUID) -> set[Recheck]:
    """The documents that are the resource or below it."""
    return {Recheck(room=RoomId(str(row["id"]))) for row in await connection.fetch(_BELOW, resource)}


async def _restricted(connection: Any, resource: UUID) -> set[Recheck]:
    rooms = await rooms_below(connection, resource)
    if len(rooms) <= MANY:
        return rooms
    workspace = await connection.fetchval("SELECT workspace FROM workspaces.resource WHERE id = $1", resource)
    people = await _workspace(connection, workspace)
    return people if len(people) < len(rooms) else rooms


async def _grant(connection: Any, event: documents.GrantChanged) -> set[Recheck]:
    if event.grantee_kind == "link":
        return {Recheck(session=event.grantee_id)}
    document = event.resource_kind == documents.RESOURCE_KIND_DOCUMENT
    if event.grantee_kind == "user":
        return {Recheck(RoomId(event.resource_id) if document else None, event.grantee_id)}
    if document:
        return {Recheck(room=RoomId(event.resource_id))}
    rows = await connection.fetch("SELECT account FROM workspaces.team_member WHERE team = $1", UUID(event.grantee_id))
    return {Recheck(actor=str(row["account"])) for row in rows}


async def _role(connection: Any, role: UUID) -> set[Recheck]:
    members = await connection.fetch("SELECT account FROM workspaces.member WHERE role = $1", role)
    granted = await connection.fetch(
        "SELECT coalesce(t.account, g.subject) AS account FROM workspaces.granted g"
        " LEFT JOIN workspaces.team_member t ON t.team = g.subject AND g.kind = 'group'"
        " WHERE g.role = $1",
        role,
    )
    return _actors(members) | _actors(granted)


async def _workspace(connection: Any, workspace: UUID) -> set[Recheck]:
    members = await connection.fetch("SELECT account FROM workspaces.member WHERE workspace = $1", workspace)
    granted = await connection.fetch(
        "SELECT g.subject, g.kind FROM workspaces.granted g JOIN workspaces.resource r ON r.id = g.resource"
        " WHERE r.workspace = $1 AND g.kind <> 'group'",
        workspace,
    )
    accounts = {Recheck(actor=str(row["subject"])) for row in granted if row["kind"] == "user"}
    links = {Recheck(session=str(row["subject"])) for row in granted if row["kind"] == "link"}
    return _actors(members) | accounts | links


def _actors(rows: Iterable[Any]) -> set[Recheck]:
    return {Recheck(actor=str(row["account"])) for row in rows}
