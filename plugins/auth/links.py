"""Signed links that work once: setup, invitations, passwords, addresses, second factors, logins at a provider.

A link's token is the id of a row and a signature over it and its purpose: what nobody signed is refused without a
look at the database, and who reads the database has no link.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from api_shim.ids import uuid7
from api_shim.problems import BadRequest

__all__ = ["BadLink", "Link", "Links"]

_CHECK = 24


class BadLink(BadRequest):
    """The link is not one of ours, has been used, or is too old. Ask for another."""

    code, title = "bad_link", "This link does not work (any more)"


class Link(NamedTuple):
    """What a link was made for."""

    id: UUID
    account: UUID | None
    data: Mapping[str, Any]


class Links:
    """`secret`: 32 bytes that all processes share."""

    def __init__(self, secret: bytes, clock: Callable[[], float]) -> None:
        self._secret = secret
        self._clock = clock

    async def make(
        self,
        connection: Any,
        purpose: str,
        *,
        account: UUID | None = None,
        data: Mapping[str, Any] | None = None,
        lifetime: float | None = None,
    ) -> str:
        """A link's token; `lifetime` in seconds, None = until used."""
        id, now = uuid7(), self._clock()
        await connection.execute(
            "INSERT INTO auth.link (id, purpose, account, data, created, expires) VALUES ($1, $2, $3, $4, $5, $6)",
            id, purpose, account, orjson.dumps(dict(data or {})).decode(), _time(now),
            None if lifetime is None else _time(now + lifetime),
        )  # fmt: skip
        return self.token(id, purpose)

    def token(self, id: UUID, purpose: str) -> str:
        """The token of a link that there is."""
        raw = id.bytes + self._sign(id, purpose)
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    async def read(self, connection: Any, token: str, purpose: str) -> Link:
        """What the link is for; it can still be used. Raises BadLink."""
        row = await connection.fetchrow(
            "SELECT id, account, data FROM auth.link"
            " WHERE id = $1 AND purpose = $2 AND used IS NULL AND coalesce(expires > $3, true)",
            self._open(token, purpose), purpose, _time(self._clock()),
        )  # fmt: skip
        return _link(row)

    async def use(self, connection: Any, token: str, purpose: str) -> Link:
        """Use it up, in the caller's transaction. Raises BadLink."""
        row = await connection.fetchrow(
            "UPDATE auth.link SET used = $3 WHERE id = $1 AND purpose = $2 AND used IS NULL"
            " AND coalesce(expires > $3, true) RETURNING id, account, data",
            self._open(token, purpose), purpose, _time(self._clock()),
        )  # fmt: skip
        return _link(row)

    async def void(self, connection: Any, account: UUID, *purposes: str) -> None:
        """The account's other links for these purposes are good for nothing any more."""
        await connection.execute(
            "UPDATE auth.link SET used = $3 WHERE account = $1 AND purpose = ANY($2) AND used IS NULL",
            account, list(purposes), _time(self._clock()),
        )  # fmt: skip

    async def standing(self, connection: Any, purpose: str) -> str | None:
        """The token of the unused link for something that there is one of."""
        id = await connection.fetchval("SELECT id FROM auth.link WHERE purpose = $1 AND used IS NULL", purpose)
        return None if id is None else self.token(id, purpose)

    def _sign(self, id: UUID, purpose: str) -> bytes:
        return hmac.digest(self._secret, purpose.encode() + b"\0" + id.bytes, "sha256")[:_CHECK]

    def _open(self, token: str, purpose: str) -> UUID:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise BadLink from None
        if len(raw) != 16 + _CHECK or not hmac.compare_digest(raw[16:], self._sign(UUID(bytes=raw[:16]), purpose)):
            raise BadLink
        return UUID(bytes=raw[:16])


def _link(row: Any) -> Link:
    if row is None:
        raise BadLink
    return Link(row["id"], row["account"], orjson.loads(row["data"]))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
