"""The rule as a condition in SQL: lists are filtered where they are read."""

from datetime import datetime
from uuid import UUID

from api_shim.services import Permission
from plugins.workspaces.rights import BITS

__all__ = ["condition"]

_CONDITION = """id IN (
    SELECT r.id FROM workspaces.resource r
    WHERE r.workspace = ANY ({workspaces}) AND (
        r.policy IN (SELECT d.node FROM workspaces.decided({who}, {now}) d WHERE d.rights & {needed} = {needed})
        OR r.open AND r.workspace IN (
                SELECT m.workspace FROM workspaces.member m WHERE m.account = {who} AND m.rights & {needed} = {needed})
            AND r.policy NOT IN (SELECT d.node FROM workspaces.decided({who}, {now}) d)
        OR r.workspace IN (SELECT m.workspace FROM workspaces.member m WHERE m.account = {who} AND m.rights & 64 = 64)
        OR r.owner = {who} AND r.kind = 'document'
            AND r.workspace IN (
                SELECT m.workspace FROM workspaces.member m WHERE m.account = {who} AND m.rights & 4 = 4)
            AND r.id NOT IN (
                SELECT g.resource FROM workspaces.granted g
                WHERE g.subject = {who} AND (g.expires IS NULL OR g.expires > {now})))
)"""
_ALL = "(SELECT workspaces.concerning({who}))::uuid[]"
_ONE = "ARRAY(SELECT w.id FROM workspaces.workspace w WHERE w.id = {within} AND w.trashed IS NULL)"


def condition(
    who: UUID | None, permission: Permission, now: datetime, parameter: int, within: UUID | None = None
) -> tuple[str, list[object]]:
    """True of a row whose column `id` is a resource that `who` holds `permission` on. Parameters begin at `parameter`.

    Each inner SELECT is read once for a query and probed for each resource of the workspaces concerned: all that are
    open to `who`, or the one that all rows are `within`.
    """
    if who is None:
        return "false", []
    names = {"who": f"${parameter}::uuid", "needed": f"${parameter + 1}::int", "now": f"${parameter + 2}::timestamptz"}
    arguments: list[object] = [who, BITS[permission], now]
    workspaces = _ALL
    if within is not None:
        names["within"] = f"${parameter + 3}::uuid"
        arguments.append(within)
        workspaces = _ONE
    return _CONDITION.format(workspaces=workspaces.format(**names), **names), arguments
