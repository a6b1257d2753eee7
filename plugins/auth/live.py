"""Whether a login or an API key that a token came by is still good, asked on every request and every join.

Each has an entry in Redis, written when somebody asks and overwritten when it ends; PostgreSQL decides where there is
none and while Redis is away; with both away nobody gets in. A process trusts what it has heard for `TRUST` seconds on
requests, and not at all on joins: a socket that is looked at again because something was revoked must see it.

An entry says `<epoch of the account>` while good, `-` when ended. It is only ever created by readers (NX) and
overwritten by whoever ends it, so a reader that is slow can't bring back what has ended; and it is short-lived, should
the overwriting fail.
"""

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

import asyncpg
from redis.exceptions import RedisError

from relay.errors import Deny, Unavailable
from relay.tasks import spawn

__all__ = ["ACCOUNT", "KEY", "LOGIN", "TRUST", "Live", "session_id"]

log = logging.getLogger("plugins.auth.live")
LOGIN, KEY, ACCOUNT = "login:", "key:", "account:"
"""What a `Principal.session` of ours begins with; the rest is the UUID of a login, an API key, or (tokens of another
issuer) an account."""
TRUST = 0.5
PREFIX = "materi:plugin:auth:live:"
KEPT = 10_000
"""Milliseconds that an entry for something good is kept."""
ENDED_KEPT = 60_000
"""And for something that has ended: until no reader can be left that looked it up before."""
TIMEOUT = 0.25
PAUSE = AGAIN = 1.0
_MOST = 50_000

_LOGINS = """
SELECT CASE WHEN s.ended IS NULL AND s.expires > now() AND a.disabled IS NULL THEN a.epoch END
FROM auth.session s JOIN auth.account a ON a.id = s.account WHERE s.id = $1
"""
_KEYS = """
SELECT CASE WHEN k.ended IS NULL AND a.disabled IS NULL THEN a.epoch END
FROM auth.api_key k JOIN auth.account a ON a.id = k.account WHERE k.id = $1
"""


_ACCOUNTS = "SELECT epoch FROM auth.account WHERE id = $1 AND disabled IS NULL"
_QUERIES = {LOGIN: _LOGINS, KEY: _KEYS, ACCOUNT: _ACCOUNTS}


class Live:
    """`rooms`: told to look again at the sockets of what has ended."""

    def __init__(self, database: asyncpg.Pool, redis: Any, rooms: Any) -> None:
        self._database = database
        self._redis = redis
        self._rooms = rooms
        self._heard: dict[str, tuple[float, int | None]] = {}
        self._away_until = 0.0

    async def require(self, session: str, epoch: int | None = None, *, fresh: bool = False) -> None:
        """Raises Deny (4401) unless the login or key is good, and its account of that epoch (None: any); Unavailable
        when nobody can say. Sessions that are not of this plugin pass. `fresh`: ask, whatever was heard before."""
        if not session.startswith((LOGIN, KEY, ACCOUNT)):
            return
        now = time.monotonic()
        heard = None if fresh else self._heard.get(session)
        if heard is None or heard[0] < now:
            heard = (now + TRUST, await self._ask(session))
            if len(self._heard) >= _MOST:
                self._heard.clear()
            self._heard[session] = heard
        if heard[1] is None or (epoch is not None and heard[1] != epoch):
            raise Deny("this login or key has ended", 4401)

    async def end(self, sessions: Collection[str]) -> None:
        """These have ended, which is committed already: from now on nobody gets in by them, and open sockets close.
        While Redis is away this is done as soon as it is back."""
        for session in sessions:
            self._heard.pop(session, None)
        if sessions and not await self._tell(list(sessions)):
            spawn("end sessions", self._tell_until_told(list(sessions)))

    async def revive(self, sessions: Collection[str]) -> None:
        """What had ended is good again, which is committed already. Raises Unavailable."""
        try:
            for session in sessions:
                self._heard.pop(session, None)
                await self._redis.delete(PREFIX + session)
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    async def _tell(self, sessions: list[str]) -> bool:
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for session in sessions:
                pipeline.set(PREFIX + session, b"-", px=ENDED_KEPT)
            await pipeline.execute()
            for session in sessions:
                await self._rooms.recheck(session=session)
        except (RedisError, OSError, Unavailable):
            return False
        return True

    async def _tell_until_told(self, sessions: list[str]) -> None:
        log.warning("Redis is away: what was revoked is told to the relays later", extra={"sessions": len(sessions)})
        told = False
        while not told:
            await asyncio.sleep(AGAIN)
            told = await self._tell(sessions)

    async def _ask(self, session: str) -> int | None:
        """The epoch of the account, None when it has ended."""
        redis = time.monotonic() >= self._away_until
        if redis:
            try:
                async with asyncio.timeout(TIMEOUT):
                    entry = await self._redis.get(PREFIX + session)
                if entry is not None:
                    return None if entry == b"-" else int(entry)
            except (RedisError, OSError, TimeoutError):
                self._away_until = time.monotonic() + PAUSE
                redis = False
        epoch = await self._look_up(session)
        if redis:
            await self._note(session, epoch)
        return epoch

    async def _look_up(self, session: str) -> int | None:
        id = session_id(session)
        if id is None:
            return None
        try:
            found: int | None = await self._database.fetchval(
                _QUERIES[session[: session.index(":") + 1]], id, timeout=2.0
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable("whether this login is still good can't be looked up") from error
        return found

    async def _note(self, session: str, epoch: int | None) -> None:
        entry = b"-" if epoch is None else b"%d" % epoch
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._redis.set(PREFIX + session, entry, px=KEPT, nx=True)
        except (RedisError, OSError, TimeoutError):
            self._away_until = time.monotonic() + PAUSE


def session_id(session: str) -> UUID | None:
    """The UUID of a session of ours."""
    try:
        return UUID(session.partition(":")[2])
    except ValueError:
        return None
