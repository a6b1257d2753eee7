"""Guests: who comes by a share link. A guest's token is signed; whether its link still stands is asked each time."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from api_shim.ids import uuid7
from plugins.workspaces.access import Rights
from relay.errors import Deny
from relay.grants import Principal
from relay.hooks import ConnectAsked
from relay.types import Actor

__all__ = ["PREFIX", "Guests", "digest"]

PREFIX = "ml_"
_SIGNED = "ml_g."
_UNAUTHORIZED = 4401
LONGEST = 2000


class Guest(NamedTuple):
    """Who a token is for. `link`: what they came by.  resource: what it opens.  expires: Unix seconds."""

    id: str
    link: str
    resource: str
    name: str
    expires: float


def digest(token: str) -> bytes:
    """What is kept of a secret that we made ourselves: it has 192 bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


class Guests:
    """`secret`: signs their tokens."""

    def __init__(self, database: asyncpg.Pool, access: Rights, secret: bytes, clock: Callable[[], float]) -> None:
        self._database, self._access, self._secret, self._clock = database, access, secret, clock

    def issue(self, link: UUID, resource: UUID, name: str, expires: float) -> str:
        """A token for one more guest of a link."""
        guest = Guest(f"guest:{uuid7()}", str(link), str(resource), name, expires)
        body = orjson.dumps(list(guest))
        return _SIGNED + base64.urlsafe_b64encode(self._sign(body) + body).rstrip(b"=").decode()

    async def connect(self, ask: ConnectAsked) -> Principal | None:
        """The guest that a token is for; None for tokens of another kind. Raises Deny."""
        token = ask.token
        if not token.startswith(PREFIX):
            return None
        guest = self._read(token) if token.startswith(_SIGNED) else await self._open(token)
        if self._clock() >= guest.expires:
            raise Deny("the token has expired; open the link again", _UNAUTHORIZED)
        expires = None if guest.expires == float("inf") else guest.expires
        principal = Principal(Actor(guest.id), guest.name, {}, expires, guest.link, "guest")
        if not await self._access.rights(principal, UUID(guest.resource)):
            raise Deny("the link was withdrawn", _UNAUTHORIZED)
        return principal

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, b"guest\0" + body, "sha256")

    def _read(self, token: str) -> Guest:
        try:
            if len(token) > LONGEST:
                raise ValueError
            text = token.removeprefix(_SIGNED)
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Deny("this is no token of a guest", _UNAUTHORIZED) from None
        if not hmac.compare_digest(raw[:32], self._sign(raw[32:])):
            raise Deny("this is no token of a guest", _UNAUTHORIZED)
        return Guest(*orjson.loads(raw[32:]))

    async def _open(self, token: str) -> Guest:
        row: Any = await self._database.fetchrow(
            "SELECT id, resource, password, max_uses, domain FROM workspaces.link WHERE hash = $1", digest(token)
        )
        if row is None:
            raise Deny("there is no such link", _UNAUTHORIZED)
        if row["password"] is not None or row["max_uses"] is not None or row["domain"] is not None:
            raise Deny("this link has to be opened first: POST /v1/links:open", _UNAUTHORIZED)
        return Guest(f"guest:{row['id']}", str(row["id"]), str(row["resource"]), "Guest", float("inf"))
