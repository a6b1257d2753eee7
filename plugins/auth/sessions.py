# ruff: noqa: S608  (statements are put together from constants)
"""Logins, and the refresh tokens that keep them going.

A refresh token is good once: using it makes its successor and ends it. Its successor is computed from it, so whoever
repeats the call because the answer was lost, or in another tab, gets the same answer for a short while (`grace`). A
token that is used again later was copied: the login ends, for the thief and for its owner. Only tokens that we made
can do that: each carries a signature, and what has none is refused before anything is looked up.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from api_shim.ids import uuid7
from api_shim.problems import Unauthorized
from plugins.auth.accounts import COLUMNS, Account, account_of, moment
from plugins.auth.seal import derive
from relay.bus import Outbox
from relay.contracts.materi.v1.users_pb2 import SessionRevoked, UserLoggedIn

__all__ = ["BadRefreshToken", "Login", "Reused", "Sessions"]

_PREFIX = "mr_"
_SECRET, _CHECK = 32, 16


class BadRefreshToken(Unauthorized):
    """The refresh token is not one of ours, is too old, or was used before; in that last case the whole login has been
    ended, since two have it. Log in again."""

    code, title = "bad_refresh_token", "This refresh token does not work (any more)"


class Login(NamedTuple):
    """A session that is good, and the refresh token to go on with."""

    id: UUID
    account: Account
    refresh_token: str


class Reused(NamedTuple):
    """A login that was ended because a refresh token of it came twice."""

    account: UUID
    session: UUID


class Sessions:
    """`idle`, `lifetime`, `grace` in seconds."""

    def __init__(
        self, outbox: Outbox, secret: bytes, clock: Callable[[], float], *, idle: float, lifetime: float, grace: float
    ) -> None:
        self._outbox = outbox
        self._sign_key = derive(secret, "refresh signature")
        self._next_key = derive(secret, "refresh successor")
        self._clock = clock
        self._idle = timedelta(seconds=idle)
        self._lifetime = timedelta(seconds=lifetime)
        self._grace = timedelta(seconds=grace)

    async def begin(self, connection: Any, account: Account, method: str, address: str, agent: str) -> Login:
        """A new login, in the caller's transaction."""
        id, secret, now = uuid7(), secrets.token_bytes(_SECRET), moment(self._clock)
        await connection.execute(
            "INSERT INTO auth.session (id, account, method, address, agent, refresh, refreshed, created, expires)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)",
            id, account.id, method, address[:64], agent[:200], _hash(secret), now,
            now + min(self._idle, self._lifetime),
        )  # fmt: skip
        event = UserLoggedIn(user_id=str(account.id), session_id=str(id), method=method.split(":")[0], address=address)
        await self._outbox.add(connection, event, subject=str(account.id), actor=str(account.id))
        return Login(id, account, self._token(id, secret))

    async def refresh(self, connection: Any, token: str) -> Login | Reused:
        """Go on with the login, in the caller's transaction, which commits whatever this returns: `Reused` says that
        the login was ended just now. Raises BadRefreshToken."""
        id, secret = self._open(token)
        row = await connection.fetchrow(
            f"SELECT s.refresh, s.refresh_before, s.refreshed, s.created AS began, {COLUMNS} FROM auth.session s"
            " JOIN auth.account a ON a.id = s.account"
            " WHERE s.id = $1 AND s.ended IS NULL AND s.expires > $2 AND a.disabled IS NULL FOR UPDATE OF s",
            id, moment(self._clock),
        )  # fmt: skip
        if row is None:
            raise BadRefreshToken
        now, following = moment(self._clock), self._following(secret)
        account = account_of(row)
        if hmac.compare_digest(row["refresh"], _hash(secret)):
            await connection.execute(
                "UPDATE auth.session SET refresh = $2, refresh_before = $3, refreshed = $4, expires = $5 WHERE id = $1",
                id, _hash(following), _hash(secret), now, min(now + self._idle, row["began"] + self._lifetime),
            )  # fmt: skip
        elif row["refresh_before"] != _hash(secret) or now > row["refreshed"] + self._grace:
            await self.end(connection, account.id, "token_reused", only=id)
            return Reused(account.id, id)
        return Login(id, account, self._token(id, following))

    def session_of(self, token: str) -> UUID:
        """Whose refresh token it is, used or not. Raises BadRefreshToken."""
        return self._open(token)[0]

    async def end(
        self,
        connection: Any,
        account: UUID,
        reason: str,
        *,
        only: UUID | None = None,
        but: UUID | None = None,
        actor: str = "",
        event: bool = True,
    ) -> list[UUID]:
        """End logins of an account: all, `only` one, or all `but` one. Returns those that have ended now."""
        rows = await connection.fetch(
            "UPDATE auth.session SET ended = $2, reason = $3 WHERE account = $1 AND ended IS NULL"
            " AND ($4::uuid IS NULL OR id = $4) AND ($5::uuid IS NULL OR id <> $5) RETURNING id",
            account, moment(self._clock), reason, only, but,
        )  # fmt: skip
        ended = [row["id"] for row in rows]
        for id in ended if event else ():
            revoked = SessionRevoked(user_id=str(account), session_id=str(id), reason=reason)
            await self._outbox.add(connection, revoked, subject=str(account), actor=actor or str(account))
        return ended

    def _token(self, id: UUID, secret: bytes) -> str:
        raw = id.bytes + secret
        return _PREFIX + base64.urlsafe_b64encode(raw + self._sign(raw)).rstrip(b"=").decode()

    def _open(self, token: str) -> tuple[UUID, bytes]:
        body = token.removeprefix(_PREFIX)
        try:
            raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise BadRefreshToken from None
        signed, check = raw[: 16 + _SECRET], raw[16 + _SECRET :]
        if len(raw) != 16 + _SECRET + _CHECK or not hmac.compare_digest(check, self._sign(signed)):
            raise BadRefreshToken
        return UUID(bytes=signed[:16]), signed[16:]

    def _sign(self, raw: bytes) -> bytes:
        return hmac.digest(self._sign_key, raw, "sha256")[:_CHECK]

    def _following(self, secret: bytes) -> bytes:
        return hmac.digest(self._next_key, secret, "sha256")


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
