"""Who is here and where their cursors are: the latest awareness state of each client id, owned by who announced it."""

from __future__ import annotations

from relay.protocol.presence import State, encode, gone
from relay.room.member import Member
from relay.types import ClientId

__all__ = ["RoomPresence"]


class Elsewhere:
    """The owner of what the clients of another relay announce."""


class _Held:
    """One client id's state, whose it is, and when it was last renewed (loop seconds)."""

    __slots__ = ("owner", "renewed", "state")

    def __init__(self, state: State, owner: Member | Elsewhere, renewed: float) -> None:
        self.state = state
        self.owner = owner
        self.renewed = renewed


REMEMBERED = 1000
"""Client ids that left and are remembered, per room."""


class RoomPresence:
    """States by client id, and the entries that changed since the last flush.

    A client that comes back announces the clock it left with, which everybody who heard that it left ignores:
    y-protocols wants a greater one. Telling it that it left makes it announce itself again, past that clock
    (`awareness.js`, applyAwarenessUpdate: "never let a remote client remove this local state").
    """

    __slots__ = ("_here", "_left", "changed", "held")

    def __init__(self) -> None:
        self._left: dict[ClientId, int] = {}
        self.held: dict[ClientId, _Held] = {}
        self.changed: dict[ClientId, bytes] = {}
        self._here: dict[ClientId, bytes] = {}  # of those, what clients of this relay announced

    def put(
        self, member: Member | Elsewhere, states: list[State], now: float, max_bytes: int, max_clients: int
    ) -> tuple[int, list[State]]:
        """Take what `member` announces.

        Returns how many states were refused (another's id, too big, too many, too old), and what `member` must be told:
        of its ids that left, so that it announces them with a greater clock.
        """
        refused = 0
        told: list[State] = []
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
                if state.clock <= self._left.get(client, -1):
                    told.append(gone(client, self._left[client]))
                    continue
                held[client] = _Held(state, member, now)
            elif known.owner is not member and isinstance(known.owner, Elsewhere) and not state.null:
                if state.clock < known.state.clock or len(state.entry) > max_bytes:
                    refused += 1
                    continue
                held[client] = _Held(state, member, now)  # it came over from there
            elif known.owner is not member:
                # a client may repeat what it heard of others; only the owner's word counts
                refused += state.clock > known.state.clock
                continue
            elif state.clock < known.state.clock or len(state.entry) > max_bytes:
                refused += 1
                continue
            elif state.null:
                self._forget(client)
            else:
                known.state = state
                known.renewed = now
            self.changed[client] = state.entry
            if not isinstance(member, Elsewhere):
                self._here[client] = state.entry
        return refused, told

    def drop(self, member: Member | Elsewhere) -> bool:
        """Announce that `member`'s client ids have left; True if it had any."""
        return self._end([client for client, held in self.held.items() if held.owner is member])

    def expire(self, before: float) -> bool:
        """Announce the end of states not renewed since `before`; True if there were any."""
        return self._end([client for client, held in self.held.items() if held.renewed < before])

    def _end(self, clients: list[ClientId]) -> bool:
        for client in clients:
            # With the clock it had, as y-protocols does: the client's next state counts again.
            here = not isinstance(self.held[client].owner, Elsewhere)
            entry = self.changed[client] = gone(client, self._forget(client).clock).entry
            if here:
                self._here[client] = entry
        return bool(clients)

    def _forget(self, client: ClientId) -> State:
        state = self.held.pop(client).state
        self._left[client] = state.clock
        if len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]
        return state

    def take_changes(self) -> tuple[bytes, bytes | None]:
        """The awareness update for everybody here, that for the other relays (None: nothing for them), and forget that
        they were due."""
        changed, here = self.changed, self._here
        self.changed, self._here = {}, {}
        return encode(changed.values()), encode(here.values()) if here else None

    def everyone(self, *, here: bool = False) -> bytes | None:
        """All states as one awareness update, for a joiner; `here`: of this relay's clients alone. None: nobody."""
        entries = [held.state.entry for held in self.held.values() if not here or not isinstance(held.owner, Elsewhere)]
        return encode(entries) if entries else None
