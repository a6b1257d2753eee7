# ruff: noqa: S608  (statements are put together from constants)
"""API keys: `mk_<prefix>_<secret>`. The prefix finds the row, the secret is kept as a hash (it is 256 random bits)."""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from api_shim.ids import uuid7
from plugins.auth.accounts import moment
from plugins.auth.live import KEY
from relay.bus import Outbox
from relay.contracts.materi.v1.users_pb2 import ApiKeyCreated, ApiKeyRevoked
from relay.errors import Deny, Unavailable
from relay.grants import Access, Principal
from relay.types import Actor

__all__ = ["PREFIX", "ApiKey", "ApiKeys", "MadeKey"]

log = logging.getLogger("plugins.auth.api_keys")
PREFIX = "mk_"
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_REMEMBER = 60.0
"""Seconds that a checked key is known by its hash; whether it has ended is asked much more often (`live`)."""
_MOST = 10_000


class ApiKey(NamedTuple):
    """A row, without the secret. `scopes` None: all that its account may do."""

    id: UUID
    account: UUID
    name: str
    prefix: str
    scopes: list[str] | None
    expires: datetime | None
    used: datetime | None
    created: datetime


class MadeKey(NamedTuple):
    """A new key, and the only time that it is seen."""

    key: ApiKey
    token: str


_COLUMNS = "id, account, name, prefix, scopes, expires, used, created"


class ApiKeys:
    """`rooms`: what a key opens where no plugin decides."""

    def __init__(
        self, database: asyncpg.Pool, outbox: Outbox, clock: Callable[[], float], rooms: dict[str, Access]
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._rooms = rooms
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._used: dict[UUID, float] = {}

    async def make(
        self,
        connection: Any,
        account: UUID,
        name: str,
        scopes: Collection[str] | None,
        expires: datetime | None,
        actor: str,
    ) -> MadeKey:
        """A new key, in the caller's transaction."""
        prefix = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        secret = secrets.token_urlsafe(32)
        row = await connection.fetchrow(
            "INSERT INTO auth.api_key (id, account, name, prefix, hash, scopes, expires, created)"
            f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_COLUMNS}",
            uuid7(), account, name, prefix, _hash(secret), None if scopes is None else sorted(scopes), expires,
            moment(self._clock),
        )  # fmt: skip
        event = ApiKeyCreated(user_id=str(account), key_id=str(row["id"]), name=name, scopes=sorted(scopes or ()))
        await self._outbox.add(connection, event, subject=str(account), actor=actor)
        return MadeKey(ApiKey(*row), f"{PREFIX}{prefix}_{secret}")

    async def end(self, connection: Any, account: UUID, id: UUID, actor: str) -> bool:
        """Withdraw a key; whether the account had it."""
        ended = await connection.fetchval(
            "UPDATE auth.api_key SET ended = $3 WHERE id = $1 AND account = $2 AND ended IS NULL RETURNING id",
            id, account, moment(self._clock),
        )  # fmt: skip
        if ended is None:
            return False
        event = ApiKeyRevoked(user_id=str(account), key_id=str(id))
        await self._outbox.add(connection, event, subject=str(account), actor=actor)
        return True

    async def of(self, connection: Any, account: UUID) -> list[UUID]:
        """The ids of an account's keys."""
        rows = await connection.fetch("SELECT id FROM auth.api_key WHERE account = $1 AND ended IS NULL", account)
        return [row["id"] for row in rows]

    async def read(self, token: str) -> Principal:
        """Whose key it is. Raises Deny (4401), Unavailable; whether it was withdrawn lately is not looked at."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is None or known[0] < time.monotonic():
            known = (time.monotonic() + _REMEMBER, await self._look_up(token))
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[digest] = known
        principal = known[1]
        if principal.expires is not None and self._clock() >= principal.expires:
            raise Deny("this API key has expired", 4401)
        self._used[UUID(principal.session.removeprefix(KEY))] = self._clock()
        return principal

    async def _look_up(self, token: str) -> Principal:
        prefix, _, secret = token.removeprefix(PREFIX).partition("_")
        try:
            row = await self._database.fetchrow(
                "SELECT k.id, k.account, k.hash, k.scopes, k.expires, a.name, a.kind FROM auth.api_key k"
                " JOIN auth.account a ON a.id = k.account WHERE k.prefix = $1 AND k.ended IS NULL",
                prefix[:20].replace("\0", ""),
            )  # fmt: skip
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable("API keys can't be looked up at the moment") from error
        if row is None or not hmac.compare_digest(row["hash"], _hash(secret)):
            raise Deny("there is no such API key", 4401)
        expires = None if row["expires"] is None else row["expires"].timestamp()
        scopes = None if row["scopes"] is None else frozenset(row["scopes"])
        actor, session = Actor(str(row["account"])), f"{KEY}{row['id']}"
        return Principal(actor, row["name"], self._rooms, expires, session, row["kind"], scopes)

    async def note_used(self) -> None:
        """Write down when keys were last used, all at once. Raises asyncpg's errors, and keeps them then."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._database.execute(
                "UPDATE auth.api_key k SET used = greatest(k.used, u.at)"
                " FROM unnest($1::uuid[], $2::timestamptz[]) u(id, at) WHERE k.id = u.id",
                list(used), [datetime.fromtimestamp(at, UTC) for at in used.values()],
            )  # fmt: skip
        except (Exception, asyncio.CancelledError):
            self._used = used | self._used
            raise


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
