"""Who is here and where their cursors are: the latest awareness state of each client id, owned by who announced it."""

from __future__ import annotations

from relay.protocol.presence import State, encode, gone
from relay.room.member import Member
from relay.types import ClientId

__all__ = ["RoomPresence"]


class _Held:
    """One client id's state, whose it is, and when it was last renewed (loop seconds)."""

    __slots__ = ("owner", "renewed", "state")

    def __init__(self, state: State, owner: Member, renewed: float) -> None:
        self.state = state
        self.owner = owner
        self.renewed = renewed


class RoomPresence:
    """States by client id, and the entries that changed since the last flush."""

    __slots__ = ("changed", "held")

    def __init__(self) -> None:
        self.held: dict[ClientId, _Held] = {}
        self.changed: dict[ClientId, bytes] = {}

    def put(self, member: Member, states: list[State], now: float, max_bytes: int, max_clients: int) -> int:
        """Take what `member` announces; the number of states refused (another's id, too big, too many, too old)."""
        refused = 0
        held = self.held
        for state in states:
            client = state.client
            known = held.get(client)
            if known is None:
                if state.null:
                    continue
                if len(state.entry) > max_bytes or len(held) >= max_clients:
                    refused += 1
                    continue
                held[client] = _Held(state, member, now)
            elif known.owner is not member:
                # a client may repeat what it heard of others; only the owner's word counts
                refused += state.clock > known.state.clock
                continue
            elif state.clock < known.state.clock or len(state.entry) > max_bytes:
                refused += 1
                continue
            elif state.null:
                del held[client]
            else:
                known.state = state
                known.renewed = now
            self.changed[client] = state.entry
        return refused

    def drop(self, member: Member) -> bool:
        """Announce that `member`'s client ids have left; True if it had any."""
        return self._end([client for client, held in self.held.items() if held.owner is member])

    def expire(self, before: float) -> bool:
        """Announce the end of states not renewed since `before`; True if there were any."""
        return self._end([client for client, held in self.held.items() if held.renewed < before])

    def _end(self, clients: list[ClientId]) -> bool:
        for client in clients:
            state = self.held.pop(client).state
            self.changed[client] = gone(client, state.clock + 1).entry
        return bool(clients)

    def take_changes(self) -> bytes:
        """The awareness update for everybody, and forget that it was due."""
        entries = self.changed
        self.changed = {}
        return encode(entries.values())

    def everyone(self) -> bytes | None:
        """All states as one awareness update, for a joiner; None when nobody is there."""
        if not self.held:
            return None
        return encode([held.state.entry for held in self.held.values()])
