"""Decisions that were made, remembered while nothing has changed that they rest on.

Valid are those of workspaces that no change was heard of since they were read, as long as PostgreSQL was heard of
within the lease (`changes.Changes`): nothing is remembered for longer than that by a node that hears nothing.
What does not exist is not remembered, so that what comes into being is seen at once.
"""

from time import monotonic
from typing import NamedTuple
from uuid import UUID

from plugins.workspaces.rule import Decision

__all__ = ["LONGEST", "Decisions"]

MOST = 200_000
"""Decisions remembered; all are forgotten when there are more (some 60 MB)."""
LONGEST = 90.0
"""Seconds that a transaction may take to end, whose workspace is not remembered until then; PostgreSQL ends those that
stand idle for 60 s."""


class _Kept(NamedTuple):
    rights: int
    workspace: UUID
    expires: float
    turn: int


class Decisions:
    """By who asks and the resource. `turn` counts the changes heard of."""

    def __init__(self) -> None:
        self._kept: dict[tuple[UUID, UUID], _Kept] = {}
        self._changed: dict[UUID, int] = {}
        self._open: dict[str, tuple[UUID, float]] = {}
        self._trusted = float("-inf")
        self._cleared = 0
        self.turn = 0

    def find(self, who: UUID, resource: UUID, now: float) -> int | None:
        """Rights as remembered; None when that has to be asked. `now` in Unix seconds, for grants that expire."""
        kept = self._kept.get((who, resource))
        if kept is None or monotonic() > self._trusted:
            return None
        if now >= kept.expires or self._changed.get(kept.workspace, 0) > kept.turn:
            return None
        return None if self._open and self._is_open(kept.workspace) else kept.rights

    def keep(self, who: UUID, resource: UUID, decision: Decision, turn: int) -> None:
        """Remember; `turn` is what it was before the decision was read, so that a change meanwhile is not missed."""
        if self._changed.get(decision.workspace, self._cleared) > turn:
            return
        if len(self._kept) >= MOST:
            self._kept.clear()
        expires = decision.expires.timestamp() if decision.expires is not None else float("inf")
        self._kept[who, resource] = _Kept(decision.rights, decision.workspace, expires, turn)

    def forget(self, workspace: UUID) -> None:
        """Something in this workspace has changed."""
        self.turn += 1
        if len(self._changed) >= MOST:
            self.clear()
        self._changed[workspace] = self.turn

    def clear(self) -> None:
        """Anything may have changed."""
        self.turn = self._cleared = self.turn + 1
        self._kept.clear()
        self._changed.clear()

    def trust(self, until: float) -> None:
        """Changes made until now were heard of; `until` by the monotonic clock."""
        self._trusted = until

    # A transaction of somebody else's, of which only PostgreSQL will say when it has committed.

    def opened(self, token: str, workspace: UUID) -> None:
        """A transaction changes the workspace; ask afresh until it has ended."""
        self._open[token] = workspace, monotonic() + LONGEST

    def heard(self, token: str, workspace: UUID) -> None:
        """The transaction has committed, here or elsewhere."""
        self._open.pop(token, None)
        self.forget(workspace)

    def _is_open(self, workspace: UUID) -> bool:
        now = monotonic()
        for token, (_, until) in list(self._open.items()):
            if now > until:  # it was rolled back: that is not announced
                del self._open[token]
        return any(open_ == workspace for open_, _ in self._open.values())
