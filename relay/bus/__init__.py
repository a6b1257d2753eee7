"""The event bus: facts that a transaction decided reach every group of consumers, at least once.

Port `Bus`; adapters `memory` (tests) and `streams` (PostgreSQL for what must not be lost, Redis Streams to deliver it).
`tests/contracts/test_bus.py` holds both to what is written here.

    transaction ── outbox ──▶ publisher ──┬─▶ Redis Stream of the topic ──▶ groups ──▶ handlers, dead letters
                                          └─▶ event store, by month
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

from google.protobuf.message import Message

from relay.contracts import Event

__all__ = ["Bus", "Event", "Handler", "Outbox"]

Handler = Callable[[Any, Event], Awaitable[None]]
"""Called with the connection of the transaction that also notes the event as handled, and the event. What it writes on
that connection happens once for each event, whatever crashes; what it does elsewhere happens at least once. It should
take milliseconds: slow work belongs in a table and a worker of its own."""


class Outbox(Protocol):
    """Where events are put."""

    async def add(self, connection: Any, event: Message, *, subject: str, actor: str = "", trace: str = "") -> UUID:
        """Add one of the contracts' messages in the caller's transaction: it is published if that commits, and never
        if it does not. Returns its id. Raises ValueError for a message that is no event."""
        ...


class Bus(Protocol):
    """Order: the events of one subject are published in the order in which they were added, when transactions that
    add them exclude each other, as those that write the same row do. A group of one consumer handles them in that
    order, except that others go on while one waits to be tried again; in a group of several they may overtake.

    A crash of any process, of Redis or PostgreSQL loses no event whose transaction has committed; Redis may even come
    back empty. While Redis is away events wait in the outbox; while PostgreSQL is away consumers wait.
    """

    @property
    def outbox(self) -> Outbox: ...

    async def consume(self, name: str, topics: Sequence[str], handler: Handler) -> None:
        """Handle the topics' events as one of the group `name` from now on. A group that is new begins with the
        events published after this; one that is known goes on where it was. An event whose handler raises is tried
        again after a random time that grows, and after the last attempt is a dead letter of the group."""
        ...

    async def close(self) -> None:
        """Finish what is being handled and stop."""
        ...
