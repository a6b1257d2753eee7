"""What the rule needs to know of a resource and of the one who asks, in one query."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api_shim.ids import read_uuid
from plugins.workspaces.rights import BITS, RIGHTS
from plugins.workspaces.rule import Decision, Given, Level, decide
from relay.grants import Principal

__all__ = ["asker", "moment", "read"]

_READ = """
WITH RECURSIVE chain AS (
    SELECT r.id, r.kind, r.parent, r.inherits, r.owner, r.workspace, 0 AS depth
    FROM workspaces.resource r WHERE r.id = $1
    UNION ALL
    SELECT p.id, p.kind, p.parent, p.inherits, p.owner, p.workspace, c.depth + 1
    FROM chain c JOIN workspaces.resource p ON p.id = c.parent WHERE c.kind <> 'workspace'
)
SELECT c.id, c.kind, c.inherits, c.owner = $2 AS owns, g.kind AS via, g.subject, g.rights, g.expires,
    m.rights AS member, w.trashed IS NOT NULL AS trashed
FROM chain c
JOIN workspaces.workspace w ON w.id = c.workspace
LEFT JOIN workspaces.member m ON m.workspace = c.workspace AND m.account = $2
LEFT JOIN workspaces.granted g ON g.resource = c.id AND (g.expires IS NULL OR g.expires > $3)
    AND (g.subject = $2 OR g.subject = ANY (ARRAY(SELECT t.team FROM workspaces.team_member t WHERE t.account = $2)))
ORDER BY c.depth
"""


def asker(principal: Principal) -> UUID | None:
    """Who asks, as grants name them: an account, or the share link that a guest came by; None for nobody known."""
    return read_uuid(principal.session if principal.kind == "guest" else principal.actor)


def moment(clock: float) -> datetime:
    """Unix seconds as PostgreSQL takes them."""
    return datetime.fromtimestamp(clock, UTC)


async def read(connection: Any, resource: UUID, who: UUID, now: datetime) -> Decision | None:
    """What `who` may do with `resource`, by the rule; None when there is no such resource."""
    rows = await connection.fetch(_READ, resource, who, now)
    if not rows:
        return None
    levels: list[Level] = []
    given: list[Given] = []
    for n, row in enumerate(rows):
        if row["subject"] is not None:
            given.append(Given(row["via"], row["subject"], row["rights"], row["expires"]))
        if n + 1 < len(rows) and rows[n + 1]["id"] == row["id"]:
            continue
        member = row["member"]
        if row["kind"] == "workspace":
            if member is not None:
                given.append(Given("member", who, member))
        elif row["owns"] and member is not None and member & BITS["write"]:
            given.append(Given("resource_owner", who, RIGHTS["owner"]))
        levels.append(Level(row["id"], row["kind"], row["inherits"], tuple(given)))
        given = []
    return decide(levels, trashed=rows[0]["trashed"])
