"""The tree that rights are inherited along: workspace, folders, documents."""

from typing import Any
from uuid import UUID

from api_shim.ids import read_uuid
from api_shim.problems import Conflict, NotFound
from api_shim.services import Place, Resource
from relay.types import Actor

__all__ = ["DEEPEST", "hang", "lock", "make_node", "rehang", "share_lock", "unhang", "workspace_of"]

DEEPEST = 50
"""Folders in folders."""

_DEPTH = """
WITH RECURSIVE up AS (
    SELECT r.id, r.parent, r.kind, 1 AS depth FROM workspaces.resource r WHERE r.id = $1
    UNION ALL
    SELECT p.id, p.parent, p.kind, u.depth + 1 FROM up u JOIN workspaces.resource p ON p.id = u.parent
    WHERE u.kind <> 'workspace' AND u.depth <= $3
)
SELECT max(depth) AS depth, bool_or(id = $2) AS below FROM up
"""
_HEIGHT = """
WITH RECURSIVE below AS (
    SELECT r.id, 1 AS depth FROM workspaces.resource r WHERE r.id = $1
    UNION ALL
    SELECT c.id, b.depth + 1 FROM below b JOIN workspaces.resource c ON c.parent = b.id
)
SELECT id, depth FROM below
"""


async def workspace_of(connection: Any, resource: UUID) -> UUID:
    """The workspace it is in. Raises NotFound."""
    found: UUID | None = await connection.fetchval("SELECT workspace FROM workspaces.resource WHERE id = $1", resource)
    if found is None:
        raise NotFound
    return found


async def lock(connection: Any, resource: UUID) -> UUID:
    """Wait for, and keep out until this transaction ends, whoever changes the workspace of `resource`, and return that
    workspace. Raises NotFound."""
    return await _lock(connection, resource, "pg_advisory_xact_lock")


async def share_lock(connection: Any, resource: UUID) -> UUID:
    """As `lock`, but side by side with others that hang something into the tree."""
    return await _lock(connection, resource, "pg_advisory_xact_lock_shared")


async def _lock(connection: Any, resource: UUID, function: str) -> UUID:
    while True:
        workspace = await workspace_of(connection, resource)
        await connection.execute(f"SELECT {function}(hashtextextended($1, 20))", str(workspace))
        if await workspace_of(connection, resource) == workspace:  # it may have been moved while we waited
            return workspace


async def hang(connection: Any, resource: UUID, kind: Resource, parent: UUID, owner: Actor) -> Place:
    """Put a resource into the tree. Raises NotFound without a parent, Conflict for a parent that can't hold anything,
    for a tree too deep, and when it is in the tree already."""
    workspace = await share_lock(connection, parent)
    above = await connection.fetchrow("SELECT kind, policy FROM workspaces.resource WHERE id = $1", parent)
    if above["kind"] == "document" or kind == "workspace":
        raise Conflict("Documents and folders are in folders and workspaces.")
    if (await connection.fetchrow(_DEPTH, parent, resource, DEEPEST))["depth"] >= DEEPEST:
        raise Conflict(f"Folders can be {DEEPEST} deep.")
    account = read_uuid(owner)
    node = kind == "folder" and account is not None
    made = await connection.fetchval(
        "INSERT INTO workspaces.resource (id, kind, parent, workspace, owner, node, policy)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING id",
        resource, kind, parent, workspace, account, node, resource if node else above["policy"],
    )  # fmt: skip
    if made is None:
        raise Conflict("It has a place already.")
    if node:
        await connection.execute("SELECT workspaces.rebuild($1)", resource)
    return Place(resource, kind, parent, workspace)


async def rehang(connection: Any, resource: UUID, parent: UUID) -> tuple[Place, UUID, list[UUID]]:
    """Move a resource with all below it; returns its place, the workspace it was in, and what was moved.

    Into another workspace no grant and no link goes along. Raises NotFound; Conflict for a workspace, for a parent
    below the resource itself, that can't hold anything, or that is too deep.
    """
    # In one order, so that two moves in opposite directions don't wait for each other for ever.
    both = sorted([(await workspace_of(connection, one), one) for one in (resource, parent)])
    for _, one in both:
        await lock(connection, one)
    row = await connection.fetchrow("SELECT kind, workspace FROM workspaces.resource WHERE id = $1", resource)
    above = await connection.fetchrow("SELECT kind, workspace FROM workspaces.resource WHERE id = $1", parent)
    if row is None or above is None:
        raise NotFound
    if row["kind"] == "workspace" or above["kind"] == "document":
        raise Conflict("Documents and folders are in folders and workspaces.")
    up = await connection.fetchrow(_DEPTH, parent, resource, DEEPEST)
    if up["below"]:
        raise Conflict("A folder can't be moved into itself.")
    below = await connection.fetch(_HEIGHT, resource)
    if up["depth"] + max(one["depth"] for one in below) > DEEPEST + 1:
        raise Conflict(f"Folders can be {DEEPEST} deep.")
    ids = [one["id"] for one in below]
    before, workspace = row["workspace"], above["workspace"]
    await connection.execute(
        "UPDATE workspaces.resource SET parent = $2, version = version + 1 WHERE id = $1", resource, parent
    )
    if before != workspace:
        await connection.execute("DELETE FROM workspaces.granted WHERE resource = ANY ($1)", ids)
        await connection.execute("DELETE FROM workspaces.link WHERE resource = ANY ($1)", ids)
        await connection.execute("DELETE FROM workspaces.request WHERE resource = ANY ($1)", ids)
        await connection.execute("UPDATE workspaces.resource SET workspace = $2 WHERE id = ANY ($1)", ids, workspace)
    await connection.execute("SELECT workspaces.rebuild($1)", resource)
    return Place(resource, row["kind"], parent, workspace), before, ids


async def unhang(connection: Any, resource: UUID) -> UUID | None:
    """Take a resource out of the tree; returns the workspace it was in, None when it was in none. Raises Conflict for a
    workspace, and while something hangs below."""
    try:
        workspace = await lock(connection, resource)
    except NotFound:
        return None
    gone = await connection.fetchval(
        "DELETE FROM workspaces.resource r WHERE r.id = $1 AND r.kind <> 'workspace'"
        " AND NOT EXISTS (SELECT FROM workspaces.resource c WHERE c.parent = $1) RETURNING r.id",
        resource,
    )
    if gone is None:
        raise Conflict("There is something in it.")
    return workspace


async def make_node(connection: Any, resource: UUID) -> None:
    """Let grants on this resource be found by lists; the caller holds the workspace's lock."""
    made = await connection.fetchval(
        "UPDATE workspaces.resource SET node = true WHERE id = $1 AND NOT node RETURNING id", resource
    )
    if made is not None:
        await connection.execute("SELECT workspaces.rebuild($1)", resource)
