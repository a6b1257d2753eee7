"""Other issuers whose access tokens are taken here: each with its keys, its audience, and which claims say what."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import asyncpg

from plugins.auth.accounts import Accounts
from plugins.auth.identities import Identities
from plugins.auth.live import ACCOUNT
from plugins.auth.settings import Issuer
from plugins.auth.signed import check_claims, verified
from plugins.auth.tokens import ROOMS_ONLY
from relay.errors import Deny, Unavailable
from relay.grants import ACCESS, MAX_NAME, Access, Principal
from relay.keys import KeySet
from relay.types import Actor

__all__ = ["Issuers"]

_REMEMBERED = 20_000


class Issuers:
    """`rooms`: what a token without a `rooms` claim opens where no plugin decides."""

    def __init__(
        self,
        trusted: Sequence[Issuer],
        database: asyncpg.Pool,
        accounts: Accounts,
        identities: Identities,
        rooms: Mapping[str, Access],
        clock: Callable[[], float],
    ) -> None:
        self._trusted = {one.issuer: (one, KeySet(one.jwks_url)) for one in trusted}
        self._database = database
        self._accounts = accounts
        self._identities = identities
        self._rooms = rooms
        self._clock = clock
        self._known: dict[bytes, tuple[int, Principal]] = {}

    async def start(self) -> None:
        """Fetch the keys; an issuer that is away may come later."""
        for _, keys in self._trusted.values():
            await keys.start()

    async def close(self) -> None:
        """Stop fetching."""
        for _, keys in self._trusted.values():
            await keys.close()

    def knows(self, issuer: object) -> bool:
        """Whether tokens of that `iss` are taken."""
        return isinstance(issuer, str) and issuer in self._trusted

    async def read(self, token: str, issuer: str) -> Principal:
        """Whose token it is. Raises Deny (4401), Unavailable."""
        trusted, keys = self._trusted[issuer]
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and known[0] == keys.version and self._clock() < (known[1].expires or 0):
            return known[1]
        claims = await verified(token, keys)
        expires = check_claims(claims, issuer=issuer, audience=trusted.audience, now=self._clock())
        principal = await self._principal(trusted, claims, expires)
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = (keys.version, principal)
        return principal

    async def _principal(self, trusted: Issuer, claims: Mapping[str, Any], expires: float) -> Principal:
        subject = _text(claims, trusted.subject)
        if not subject:
            raise Deny(f"the token does not say who it is ({trusted.subject})", 4401)
        name = _text(claims, trusted.name) or subject
        scopes = ROOMS_ONLY if "rooms" in claims else None
        if trusted.scope:
            scope = claims.get(trusted.scope, "")
            scopes = frozenset(scope.split() if isinstance(scope, str) else map(str, scope))
        rooms = claims.get("rooms", self._rooms)
        if not isinstance(rooms, dict) or not all(access in ACCESS for access in rooms.values()):
            raise Deny("the token's rooms claim is none", 4401)
        actor, session = f"{trusted.prefix}{subject}", ""
        if trusted.accounts:
            email = _text(claims, trusted.email) if claims.get("email_verified") is True else ""
            actor, name = await self._account(trusted.issuer, subject, name, email)
            session = ACCOUNT + actor
        return Principal(Actor(actor), name, cast(dict[str, Access], rooms), expires, session, "human", scopes)

    async def _account(self, issuer: str, subject: str, name: str, email: str) -> tuple[str, str]:
        try:
            async with self._database.acquire() as connection, connection.transaction():
                account = await self._identities.hold(connection, issuer, subject)
                if account is None:
                    account = await self._identities.register(connection, issuer, subject, name, email)
        except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            raise Unavailable("accounts can't be looked up at the moment") from error
        return str(account.id), account.name


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_NAME - 1 or not value.isprintable():
        raise Deny(f"the token's {name} claim must be text of less than {MAX_NAME} characters", 4401)
    return value
