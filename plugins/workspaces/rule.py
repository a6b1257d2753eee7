"""The rule that decides who may do what, and why; `decided` in migrations/0001_access.sql is the same rule for lists.

Somebody is an account, with the groups of the workspace that it is in, or a guest with a share link.

1. What is in a workspace that is in the trash is closed to everybody.
2. The owners of a workspace own all that is in it; nothing shuts them out.
3. Else look at the resource, then at what it is in, and so on up to the workspace; at each look, in this order, for
   a. a grant to the account, or to the link, itself;
   b. the resource's owner being the account, while it is a member whose role may write: then it is `owner`;
   c. grants to its groups, and at the workspace its role as a member: any `none` among them is none, else all that
      they give together.
   Grants that have expired count as not there. The first that is found decides, whether it gives more or less than
   what would have come after it.
4. A resource that does not inherit is the last that is looked at.
5. Where nothing is found there is no access. Neither is with a grant of `none`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from api_shim.services import Resource
from plugins.workspaces.rights import NONE, OWN, RIGHTS

__all__ = ["Considered", "Decision", "Given", "Level", "Outcome", "Via", "decide"]

Via = Literal["user", "link", "resource_owner", "group", "member", "workspace_owner"]
Outcome = Literal["decides", "overruled", "out_of_reach"]
_RANK: dict[Via, int] = {"user": 0, "link": 0, "resource_owner": 1, "group": 2, "member": 2}


class Given(NamedTuple):
    """Something said of the one who asks. `subject`: the account, group or link it was said to."""

    via: Via
    subject: UUID
    rights: int
    expires: datetime | None = None


class Level(NamedTuple):
    """One resource on the way up, with all that is said there of the one who asks and has not expired."""

    resource: UUID
    kind: Resource
    inherits: bool
    given: tuple[Given, ...]


class Considered(NamedTuple):
    """One step of an explanation."""

    resource: UUID
    kind: Resource
    given: Given
    outcome: Outcome


class Decision(NamedTuple):
    """rights: bits of `rights`; 0 = no access.

    expires: when it may be otherwise without anybody changing anything.
    """

    rights: int
    workspace: UUID
    expires: datetime | None
    considered: tuple[Considered, ...]


def decide(levels: Sequence[Level], *, trashed: bool) -> Decision:
    """Apply the rule. `levels`: from the resource up to its workspace, which is always the last."""
    workspace = levels[-1]
    winner: tuple[int, int] | None = None
    rights = NONE
    if not trashed:
        if any(given.rights & OWN for given in workspace.given if given.via == "member"):
            winner, rights = (len(levels) - 1, -1), RIGHTS["owner"]
        else:
            winner, rights = _nearest(levels)
    cut = next((n for n, level in enumerate(levels) if not level.inherits), len(levels))
    considered, expires = [], None
    for n, level in enumerate(levels):
        for given in sorted(level.given, key=lambda given: (_RANK[given.via], given.subject)):
            wins = winner == (n, _RANK[given.via]) or (winner == (n, -1) and given.via == "member")
            outcome: Outcome = "decides" if wins else "out_of_reach" if n > cut or trashed else "overruled"
            shown = given._replace(via="workspace_owner") if wins and winner and winner[1] == -1 else given
            considered.append(Considered(level.resource, level.kind, shown, outcome))
            if given.expires is not None and (expires is None or given.expires < expires):
                expires = given.expires
    return Decision(rights, workspace.resource, expires, tuple(considered))


def _nearest(levels: Sequence[Level]) -> tuple[tuple[int, int] | None, int]:
    for n, level in enumerate(levels):
        if level.given:
            rank = min(_RANK[given.via] for given in level.given)
            said = [given.rights for given in level.given if _RANK[given.via] == rank]
            rights = NONE
            if all(said):
                for one in said:
                    rights |= one
            return (n, rank), rights
        if not level.inherits:
            break
    return None, NONE
