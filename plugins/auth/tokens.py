"""Our access tokens and collab tokens: what they say, and how they are checked.

RS256 alone, by the key that `kid` names among ours: a token's header chooses nothing else. Claims: `iss`, `aud`, `sub`
(the actor), `name`, `kind`, `iat`, `exp`, `jti`, `sid` (the login, key or link it came by), `epoch` (of the account),
`scope` (absent: everything) and `rooms` (collab tokens: all that they are good for).
"""

import base64
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jwt
import orjson

from plugins.auth.signing import KeyRing
from relay.errors import Deny
from relay.grants import ACCESS, Access, Kind, Principal
from relay.types import Actor

__all__ = ["MAX_TOKEN", "ROOMS_ONLY", "Claimed", "TokenMint", "claims_of", "header_of"]

MAX_TOKEN = 8192
"""Characters; checked before anything is parsed."""
ROOMS_ONLY = frozenset({"rooms"})
"""The scopes of a collab token: no route asks for it, so the API is closed to it."""
_KINDS: tuple[Kind, ...] = ("human", "agent", "service", "guest")
_REMEMBERED = 20_000
_jws = jwt.PyJWS()


class Claimed(NamedTuple):
    """Whose token it is, if that account is still of this epoch."""

    principal: Principal
    epoch: int
    expires: float


class TokenMint:
    """Makes and checks tokens. `rooms`: what an access token opens where no plugin decides. `leeway`: of the clocks."""

    def __init__(
        self,
        ring: KeyRing,
        *,
        issuer: str,
        audience: str,
        rooms: Mapping[str, Access],
        clock: Callable[[], float],
        leeway: float = 5.0,
    ) -> None:
        self._ring = ring
        self.issuer = issuer
        self._audience = audience
        self._rooms = rooms
        self._clock = clock
        self._leeway = leeway
        self._known: OrderedDict[bytes, Claimed] = OrderedDict()

    def mint(self, principal: Principal, epoch: int, lifetime: float, rooms: Mapping[str, Access] | None = None) -> str:
        """A token for that long; with `rooms` it opens those and is good for nothing else."""
        now = self._clock()
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self._audience,
            "sub": principal.actor,
            "name": principal.name,
            "kind": principal.kind,
            "iat": int(now),
            "exp": int(now + lifetime),
            "jti": secrets.token_urlsafe(12),
            "sid": principal.session,
            "epoch": epoch,
        }
        if rooms is not None:
            claims |= {"rooms": dict(rooms), "scope": " ".join(ROOMS_ONLY)}
        elif principal.scopes is not None:
            claims["scope"] = " ".join(sorted(principal.scopes))
        active = self._ring.active
        return jwt.encode(claims, active.private, "RS256", {"kid": active.kid, "typ": "at+jwt"})

    async def read(self, token: str) -> Claimed:
        """What a token of ours says, remembered by its hash. Raises Deny (4401); whether it was revoked since is not
        looked at."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and self._clock() < known.expires:
            return known
        claimed = self._claimed(await self._payload(token))
        if len(self._known) >= _REMEMBERED:
            self._known.popitem(last=False)
        self._known[digest] = claimed
        return claimed

    async def _payload(self, token: str) -> bytes:
        header = header_of(token)
        if header.get("alg") != "RS256" or header.get("typ") != "at+jwt":
            raise Deny("the token is of another kind than ours", 4401)
        key = await self._ring.find(header.get("kid"))
        if key is None:
            raise Deny("the token is signed with an unknown key", 4401)
        try:
            payload: bytes = _jws.decode(token, key, algorithms=["RS256"])
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise Deny("the token's signature does not match", 4401) from None
        return payload

    def _claimed(self, payload: bytes) -> Claimed:
        claims = orjson.loads(payload)
        now = self._clock()
        if claims["iss"] != self.issuer or claims["aud"] != self._audience:
            raise Deny("the token is for somebody else", 4401)
        expires = float(claims["exp"])
        if now >= expires:
            raise Deny("the token has expired", 4401)
        if claims["iat"] > now + self._leeway:
            raise Deny("the token is not valid yet", 4401)
        scope = claims.get("scope")
        kind = claims["kind"] if claims["kind"] in _KINDS else "human"
        rooms = claims.get("rooms", self._rooms)
        assert all(access in ACCESS for access in rooms.values())
        scopes = None if scope is None else frozenset(scope.split())
        principal = Principal(
            Actor(claims["sub"]), claims["name"], rooms, expires, claims["sid"], cast(Kind, kind), scopes
        )
        return Claimed(principal, claims["epoch"], expires)


def header_of(token: str) -> dict[str, Any]:
    """The first part of a JWT, which proves nothing. Raises Deny."""
    return _object(token.partition(".")[0])


def claims_of(token: str) -> dict[str, Any]:
    """The second part, which proves nothing either: for choosing whom to ask. Raises Deny."""
    parts = token.split(".")
    if len(parts) != 3:
        raise Deny("malformed token", 4401)
    return _object(parts[1])


def _object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Deny("malformed token", 4401)
    return value
