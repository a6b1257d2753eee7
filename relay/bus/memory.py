"""`Bus` in memory, for tests of what uses one: same promises, as long as the process lives."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from relay.bus import Handler
from relay.bus.outbox import made
from relay.contracts import TOPICS, Event
from relay.tasks import spawn

__all__ = ["MemoryBus", "Transaction"]


class Transaction:
    """What `MemoryBus.transaction` gives: stands for a connection inside a transaction."""

    def __init__(self) -> None:
        self.events: list[Event] = []


class MemoryBus:
    """Events added in a `transaction()` are published when it ends well; with another connection, at once, since
    nothing says when that commits.

    published: every event so far. dead: group, event and error of those given up after `attempts`.
    """

    def __init__(self, *, attempts: int = 3) -> None:
        self.published: list[Event] = []
        self.dead: list[tuple[str, Event, Exception]] = []
        self._attempts = attempts
        self._groups: dict[str, tuple[frozenset[str], list[Handler], asyncio.Queue[Event]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def outbox(self) -> "MemoryBus":
        """The bus itself."""
        return self

    async def add(self, connection: Any, event: Message, *, subject: str, actor: str = "", trace: str = "") -> UUID:
        """See `relay.bus.Outbox`."""
        one = made(event, subject=subject, actor=actor, trace=trace)
        if isinstance(connection, Transaction):
            connection.events.append(one)
        else:
            self._publish([one])
        return one.id

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """What is added in it is published at its end, or never when it raises."""
        one = Transaction()
        yield one
        self._publish(one.events)

    async def consume(self, name: str, topics: Sequence[str], handler: Handler) -> None:
        """See `relay.bus.Bus`. A second handler of the same group takes turns with the first."""
        if unknown := set(topics) - set(TOPICS):
            raise ValueError(f"no topic is called {', '.join(sorted(unknown))}")
        if name in self._groups:
            self._groups[name][1].append(handler)
            return
        self._groups[name] = (frozenset(topics), [handler], asyncio.Queue())
        self._tasks.append(spawn(f"consume as {name}", self._run(name)))

    async def drain(self) -> None:
        """Wait until every group has handled, or given up, what was published."""
        await asyncio.gather(*(queue.join() for _, _, queue in self._groups.values()))

    async def close(self) -> None:
        """Stop; what is being handled is cut off."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _publish(self, events: Sequence[Event]) -> None:
        self.published += events
        for event in events:
            for topics, _, queue in self._groups.values():
                if event.topic in topics:
                    queue.put_nowait(event)

    async def _run(self, name: str) -> None:
        _, handlers, queue = self._groups[name]
        turn = 0
        while True:
            event = await queue.get()
            for attempt in range(1, self._attempts + 1):
                turn += 1
                try:
                    # What a handler adds is published only if it succeeds, as it would be from its transaction.
                    async with self.transaction() as connection:
                        await handlers[turn % len(handlers)](connection, event)
                    break
                except Exception as error:
                    if attempt == self._attempts:
                        self.dead.append((name, event, error))
            queue.task_done()
