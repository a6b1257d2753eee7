"""One PostgreSQL server: a bounded pool of connections, every wait with an end, retries of what may be done twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import asyncpg

from relay.errors import Unavailable
from relay.keepalive import POSTGRES, keep_alive

__all__ = ["AWAY", "Database", "Limits", "connect", "unavailable"]

T = TypeVar("T")
TRIES = 3
BACKOFF = 0.05
"""Seconds before the second try, at most; four times as long before the third."""
CLOSE = 2.0
"""Seconds that running work may take when the pool is closed."""
GRACE = 5.0
"""Seconds that the server has, past its own limit for a statement, to say so."""

# The last is asyncpg finding the server's farewell where it wanted to send the next statement.
_CUT = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The connection broke: the outcome is unknown, and another connection may well work."""
_LEAVING = (asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError)
"""57P01 to 57P03, the server stops or starts: likewise."""
_UNDONE = (asyncpg.TransactionRollbackError, asyncpg.ReadOnlySQLTransactionError)
"""Class 40 (deadlock, serialization, a replica's conflict with what it replays) and 25006 (a primary that has become
a replica): nothing was written."""
AWAY = (
    *_CUT,
    *_LEAVING,
    *_UNDONE,
    TimeoutError,
    asyncpg.OperatorInterventionError,  # statement timeout
    asyncpg.LockNotAvailableError,  # lock timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full, out of memory
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""Every failure that says nothing against what was asked: it may be asked again later."""


class Limits(NamedTuple):
    """pool: connections at most, 2 or more. Times are seconds: acquire, to wait for a connection; statement, for one
    statement; lock, for one lock. pooler: a pooler that hands out server connections by the transaction (PgBouncer)
    stands before the server."""

    pool: int = 4
    acquire: float = 10.0
    statement: float = 30.0
    lock: float = 10.0
    pooler: bool = False


class Database:
    """Runs work on connections. What may come in storms (`bulk`) leaves a quarter of them to the rest."""

    def __init__(self, pool: "asyncpg.Pool[Any]", limits: Limits) -> None:
        self._pool = pool
        self._limits = limits
        self._bulk = asyncio.Semaphore(limits.pool - max(1, limits.pool // 4))
        self.waiting = 0
        """Calls that wait for a connection."""

    @classmethod
    async def open(cls, url: str, limits: Limits, name: str, *, eager: int = 1) -> "Database":
        """A pool with `eager` connections made at once. Raises Unavailable."""
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=min(eager, limits.pool),
                max_size=limits.pool,
                timeout=limits.acquire,
                command_timeout=limits.statement + GRACE,
                init=_keep_alive,
                reset=_keep,
                **_session(limits, name),
            )
        except AWAY as error:
            raise unavailable(error) from error
        return cls(pool, limits)

    async def run(
        self,
        work: Callable[[Any], Awaitable[T]],
        *,
        repeatable: bool = True,
        bulk: bool = False,
    ) -> T:
        """Do `work` on a connection. Raises Unavailable.

        It is tried again, after a moment, when it surely did nothing, and when its outcome is unknown but doing it
        twice does no harm (`repeatable`). Never after a timeout: those who wait have waited enough.
        """
        for tried in range(1, TRIES + 1):
            try:
                return await self._once(work, bulk)
            except AWAY as error:
                again = isinstance(error, _UNDONE) or (repeatable and isinstance(error, (*_CUT, *_LEAVING)))
                if tried == TRIES or not again or isinstance(error, TimeoutError):
                    raise unavailable(error) from error
                if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                    await self._pool.expire_connections()  # the others lead to the same server
            await asyncio.sleep(random.uniform(0.5, 1.0) * BACKOFF * 4 ** (tried - 1))  # noqa: S311
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Let running work finish if that takes a moment, then disconnect: what hangs must not hold up a stop."""
        try:
            async with asyncio.timeout(CLOSE):
                await self._pool.close()
        except (TimeoutError, *_CUT):  # the server is gone: what still hung on it has failed
            self._pool.terminate()

    async def _once(self, work: Callable[[Any], Awaitable[T]], bulk: bool) -> T:
        async with self._connection(bulk) as connection:
            try:
                if not self._limits.pooler:
                    return await work(connection)
                # Between transactions the server behind the connection changes: what it should know comes along.
                async with connection.transaction():
                    await connection.execute(_timeouts(self._limits))
                    return await work(connection)
            except (*_CUT, *_LEAVING, asyncpg.ReadOnlySQLTransactionError, asyncio.CancelledError):
                connection.terminate()  # it may not know yet that it is of no more use, or hang in giving up
                raise

    @asynccontextmanager
    async def _connection(self, bulk: bool) -> AsyncIterator[Any]:
        held = False
        self.waiting += 1
        try:
            try:
                async with asyncio.timeout(self._limits.acquire):
                    if bulk:
                        await self._bulk.acquire()
                        held = True
                    connection = await self._pool.acquire()
            except TimeoutError as error:
                raise TimeoutError(f"no connection within {self._limits.acquire:g} s") from error
            finally:
                self.waiting -= 1
            try:
                yield connection
            finally:
                await self._pool.release(connection, timeout=GRACE)
        finally:
            if held:
                self._bulk.release()


async def connect(url: str, limits: Limits, name: str) -> asyncpg.Connection:
    """A connection apart from any pool, and without limits for its statements."""
    cached = {"statement_cache_size": 0} if limits.pooler else {}
    settings = {"application_name": name}
    connection = await asyncpg.connect(url, timeout=limits.acquire, server_settings=settings, **cached)
    await _keep_alive(connection)
    return connection


def _session(limits: Limits, name: str) -> dict[str, Any]:
    """How asyncpg opens a connection. Of a pooler it asks nothing that has to outlast a transaction."""
    if limits.pooler:
        return {"statement_cache_size": 0, "server_settings": {"application_name": name}}
    timeouts = {setting: f"{round(seconds * 1000)}" for setting, seconds in _seconds(limits).items()}
    return {"server_settings": {**timeouts, **POSTGRES, "application_name": name}}


def unavailable(error: BaseException) -> Unavailable:
    """The error in our words."""
    return Unavailable(f"PostgreSQL: {str(error) or type(error).__name__}")


def _seconds(limits: Limits) -> dict[str, float]:
    return {
        "statement_timeout": limits.statement,
        "lock_timeout": limits.lock,
        "idle_in_transaction_session_timeout": limits.statement,
    }


def _timeouts(limits: Limits) -> str:
    return ";".join(f"SET LOCAL {name} = {round(seconds * 1000)}" for name, seconds in _seconds(limits).items())


async def _keep_alive(connection: Any) -> None:
    keep_alive(connection._transport)


async def _keep(_connection: Any) -> None:
    """Instead of asyncpg's reset, a round trip for each call: nothing here changes a session."""
