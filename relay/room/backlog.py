"""Edits that the journal could not take yet, of all rooms of a process together: bounded, since memory is."""

from relay import closing
from relay.errors import Deny

__all__ = ["Backlog"]


class Backlog:
    """`size`: bytes of updates held; `limit`: from which on edits are refused until the journal is back."""

    __slots__ = ("limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0

    def check(self) -> None:
        """Raises Deny (1013) when no more may be held: the client keeps its edit, and brings it when it reconnects."""
        if self.size >= self.limit:
            raise Deny("edits can't be saved now, try again later", closing.OVERLOADED.code)
