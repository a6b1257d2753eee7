"""Word of changed rights, from every process to every process, by PostgreSQL's NOTIFY: sent if and when it commits."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg

from plugins.workspaces.decisions import LONGEST, Decisions
from relay.tasks import end, spawn

__all__ = ["Changes"]

log = logging.getLogger("plugins.workspaces")
CHANNEL = "workspaces_changed"
RETRY = 0.2
Then = Callable[[], Coroutine[Any, Any, None]]


class Changes:
    """Keeps `decisions` true. Holds one connection of the pool, and asks it three times a lease for a sign of life."""

    def __init__(self, database: asyncpg.Pool, decisions: Decisions, lease: float) -> None:
        self._database = database
        self._decisions = decisions
        self._lease = lease
        self._then: dict[str, Then] = {}
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen from now on."""
        self._listening = spawn("listen for changed rights", self._listen())

    async def close(self) -> None:
        """Stop listening."""
        await end(self._listening)

    async def tell(self, connection: Any, workspace: UUID, then: Then | None = None) -> None:
        """Say, in the caller's transaction, that rights in the workspace change. Until that is heard of as committed,
        nothing is remembered of the workspace here; `then` is done after that."""
        token = secrets.token_urlsafe(9)
        self._decisions.opened(token, workspace)
        if then is not None:
            self._then[token] = then
            asyncio.get_running_loop().call_later(LONGEST, self._then.pop, token, None)
        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{workspace} {token}")

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("changed rights are not heard of for now", extra={"error": str(error) or type(error)})
                await asyncio.sleep(RETRY)

    async def _hear(self) -> None:
        connection = await self._database.acquire()
        lost = True
        try:
            await connection.add_listener(CHANNEL, self._heard)
            self._decisions.clear()
            while True:
                asked = monotonic()
                await connection.execute("SELECT 1", timeout=self._lease)
                self._decisions.trust(asked + self._lease)
                await asyncio.sleep(self._lease / 3)
        except asyncio.CancelledError:
            lost = False
            raise
        finally:
            if lost:
                connection.terminate()
            else:
                await connection.remove_listener(CHANNEL, self._heard)
            await self._database.release(connection)

    def _heard(self, connection: Any, process: int, channel: str, payload: object) -> None:
        workspace, _, token = str(payload).partition(" ")
        self._decisions.heard(token, UUID(workspace))
        if (then := self._then.pop(token, None)) is not None:
            spawn("after changed rights", then())
