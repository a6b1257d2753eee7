"""`Idempotency-Key`: a POST that was answered is answered the same again, and not done again.

A key is claimed in PostgreSQL before the work and completed with the answer after it. A claim is a lease: a process
that dies in between delays a repetition by `lease` seconds, and then the work is done (perhaps again: whether it had
been committed can't be known). Answers are kept encrypted under the client's own key, which is not stored: they may
hold secrets that are shown once.
"""

import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api_shim.ids import uuid7
from api_shim.metrics import ApiMetrics
from api_shim.problems import BadRequest, FieldError, KeyInFlight, KeyReused
from api_shim.reply import Reply

__all__ = ["Idempotency"]

LONGEST = 255
_NONCE = 12
_NOT_KEPT = frozenset({401, 403, 408, 425, 428, 429})
"""Answers that another try may well change, with nothing done."""


@dataclass(frozen=True, slots=True)
class _Claim:
    key: bytes
    secret: bytes
    holder: UUID


class Idempotency:
    """The keys of every process, in `api_shim.idempotency`.

    secret: 32 bytes that all processes share.  keep: seconds that an answer is kept.  lease: seconds beyond the route's
    timeout after which unfinished work counts as dead.
    """

    def __init__(
        self, database: asyncpg.Pool, secret: bytes, metrics: ApiMetrics, *, keep: float = 86400.0, lease: float = 10.0
    ) -> None:
        self._database = database
        self._secret = secret
        self._metrics = metrics
        self._keep = keep
        self._lease = lease

    async def once(
        self,
        key: str,
        *,
        owner: str,
        operation: str,
        body: bytes,
        timeout: float,
        work: Callable[[], Awaitable[Reply]],
    ) -> Reply:
        """The answer of `work`, or the one that was given before.

        owner: whose key it is.  operation: method and path.  body: what must be the same again.
        Raises BadRequest (400), KeyReused (422), KeyInFlight (409), and what asyncpg raises when the database is away.
        """
        if not key or len(key) > LONGEST or not key.isascii() or not key.isprintable():
            error = FieldError(header="Idempotency-Key", code="key", detail=f"1 to {LONGEST} printable characters.")
            raise BadRequest("Idempotency-Key can't be used.", errors=[error])
        named = "\0".join((owner, operation, key)).encode()
        claim = _Claim(hashlib.sha256(named).digest(), hmac.digest(self._secret, named, "sha256"), uuid7())
        earlier = await self._claim(claim, hashlib.sha256(body).digest(), timeout)
        if earlier is not None:
            self._metrics.idempotency.add("replayed")
            return Reply(earlier.status, earlier.headers | {"Idempotent-Replayed": "true"}, earlier.body)
        self._metrics.idempotency.add("first")
        try:
            reply = await work()
        except BaseException:
            await self._release(claim)
            raise
        if reply.status >= 500 or reply.status in _NOT_KEPT:
            await self._release(claim)
        else:
            await self._complete(claim, reply)
        return reply

    async def purge(self) -> None:
        """Forget what has expired."""
        await self._database.execute("DELETE FROM api_shim.idempotency WHERE expires < now()")

    async def _claim(self, claim: _Claim, body: bytes, timeout: float) -> Reply | None:
        """None = ours to do."""
        lease = timeout + self._lease if timeout else 3600.0
        for _ in range(3):
            won = await self._database.fetchval(
                """INSERT INTO api_shim.idempotency AS i (key, body, holder, leased, expires)
                   VALUES ($1, $2, $3, now() + make_interval(secs => $4), now() + make_interval(secs => $5))
                   ON CONFLICT (key) DO UPDATE SET body = excluded.body, holder = excluded.holder,
                     leased = excluded.leased, expires = excluded.expires, status = NULL, response = NULL
                   WHERE i.expires < now() OR (i.status IS NULL AND i.leased < now() AND i.body = excluded.body)
                   RETURNING true""",
                claim.key, body, claim.holder, lease, self._keep,
            )  # fmt: skip
            if won:
                return None
            row = await self._database.fetchrow(
                "SELECT body, status, response FROM api_shim.idempotency WHERE key = $1", claim.key
            )
            if row is None:  # released in between
                continue
            if row["body"] != body:
                self._metrics.idempotency.add("reused")
                raise KeyReused
            if row["status"] is not None:
                sealed = row["response"]
                try:
                    packed = AESGCM(claim.secret).decrypt(sealed[:_NONCE], sealed[_NONCE:], claim.key)
                except InvalidTag:  # stored under another secret: this server's was replaced since
                    raise KeyReused from None
                return Reply.unpack(packed)
            break
        self._metrics.idempotency.add("in_flight")
        raise KeyInFlight(retry_after=1)

    async def _complete(self, claim: _Claim, reply: Reply) -> None:
        nonce = os.urandom(_NONCE)
        sealed = nonce + AESGCM(claim.secret).encrypt(nonce, reply.pack(), claim.key)
        await self._database.execute(
            "UPDATE api_shim.idempotency SET status = $3, response = $4 WHERE key = $1 AND holder = $2",
            claim.key, claim.holder, reply.status, sealed,
        )  # fmt: skip

    async def _release(self, claim: _Claim) -> None:
        try:
            await self._database.execute(
                "DELETE FROM api_shim.idempotency WHERE key = $1 AND holder = $2 AND status IS NULL",
                claim.key, claim.holder,
            )  # fmt: skip
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            pass  # the lease ends it
