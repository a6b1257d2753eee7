"""What authors have typed, and what of it the server said is saved."""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loadtests.wire import spelled

__all__ = ["Author", "Ledger", "Loss", "compare"]


class Author:
    """One who types into one room, over any number of connections, each character once."""

    __slots__ = ("client", "room", "saved", "sent_at")

    def __init__(self, client: int, room: str) -> None:
        self.client = client
        self.room = room
        self.saved = 0
        """Characters that were acknowledged."""
        self.sent_at = array("d")
        """When each was sent first (`perf_counter`)."""

    @property
    def typed(self) -> int:
        return len(self.sent_at)

    def forgive(self, now: float) -> None:
        """The author went away by its own choice: what is unsaved counts from now."""
        for at in range(self.saved, len(self.sent_at)):
            self.sent_at[at] = now


class Ledger:
    """Authors of this process; on a master also what other processes report."""

    def __init__(self) -> None:
        self.authors: dict[int, Author] = {}
        self._reported: dict[str, dict[int, int]] = {}

    def author(self, client: int, room: str) -> Author:
        """A new one."""
        self.authors[client] = author = Author(client, room)
        return author

    def report(self) -> dict[str, list[tuple[int, int]]]:
        """By room: clients and how many of their characters were acknowledged."""
        rooms: dict[str, list[tuple[int, int]]] = {}
        for author in self.authors.values():
            if author.saved:
                rooms.setdefault(author.room, []).append((author.client, author.saved))
        return rooms

    def add(self, report: Mapping[str, Iterable[tuple[int, int]]]) -> None:
        """Another process's report."""
        for room, saved in report.items():
            self._reported.setdefault(room, {}).update(saved)

    def acknowledged(self) -> dict[str, dict[int, int]]:
        """Of all processes, by room and client."""
        rooms = {room: dict(saved) for room, saved in self._reported.items()}
        for room, saved in self.report().items():
            rooms.setdefault(room, {}).update(saved)
        return rooms

    def clear(self) -> None:
        self.authors.clear()
        self._reported.clear()


@dataclass(frozen=True, slots=True)
class Loss:
    """An author's acknowledged characters that a fresh reader did not find."""

    room: str
    client: int
    acknowledged: int
    found: int


def compare(room: str, acknowledged: Mapping[int, int], texts: Mapping[int, str]) -> list[Loss]:
    """Losses of a room. `texts`: what a reader sees of each client's typing; a character in the wrong place counts as
    not found, and so does everything behind it."""
    losses = []
    for client, count in acknowledged.items():
        found = texts.get(client, "")
        wanted = spelled(count)
        if not found.startswith(wanted):
            same = next((at for at, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), count))
            losses.append(Loss(room, client, count, same))
    return losses
