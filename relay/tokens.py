"""Tokens: signed claims (JWT) that say who connects and which rooms that opens.

Signatures are PyJWT's; which key and algorithm may check one is ours (`relay.keys`), and so are the claims: `exp`
(required), `nbf`, `iat`, `iss` and `aud` when configured, and what `relay.grants` reads.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.errors import Deny
from relay.grants import Principal
from relay.keys import Key, KeySet, algorithm_of, read_pem, read_secret

__all__ = ["MAX_TOKEN", "Verifier", "mint"]

MAX_TOKEN = 8192
"""Characters; checked before anything is parsed."""

_jws = jwt.PyJWS()


class Verifier:
    """Checks tokens against a PEM file's keys, a shared secret's, or those published at a JWKS URL.

    Verified tokens are remembered (by hash, at most `remember`) until they expire or the published keys change, so
    that a thousand clients coming back at once cost a lookup each. `leeway`: seconds that clocks may differ by.
    """

    def __init__(
        self,
        *,
        key: Path | None = None,
        jwks_url: str | None = None,
        secret: str | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 10.0,
        remember: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises StartError for a key that can't be read or used."""
        self._keys = (read_pem(key) if key else []) + ([read_secret(secret)] if secret else [])
        self._published = KeySet(jwks_url) if jwks_url else None
        self._issuer, self._audience, self._leeway = issuer, audience, leeway
        self._known: dict[bytes, Principal] = {}
        self._version = 0
        self._remember, self._clock = remember, clock

    async def start(self) -> None:
        """Fetch the published keys, if any; an issuer that is away is not fatal."""
        if self._published:
            await self._published.start()

    async def close(self) -> None:
        """Stop what runs in the background."""
        if self._published:
            await self._published.close()

    async def verify(self, token: str) -> Principal:
        """Whose token this is; `expires` is the moment it is no longer honoured.

        Raises Deny (4401) with a reason that repeats nothing of the token, Unavailable when the keys to decide by
        can't be had.
        """
        if len(token) > MAX_TOKEN:
            raise Deny("token too long", 4401)
        if self._published and self._version != self._published.version:
            self._version = self._published.version
            self._known.clear()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and known.expires is not None and self._clock() < known.expires:
            return known
        principal = self._principal(await self._payload(token))
        if len(self._known) >= self._remember:
            del self._known[next(iter(self._known))]
        self._known[digest] = principal
        return principal

    async def _payload(self, token: str) -> bytes:
        header = _header(token)
        kid = header.get("kid")
        tried = 0
        for source in (self._local, self._fetched):
            for key in await source(kid if isinstance(kid, str) else None):
                if key.algorithm == header.get("alg"):
                    tried += 1
                    if (payload := _signed(token, key)) is not None:
                        return payload
        raise Deny("token signature does not match" if tried else "token signed with an unknown key", 4401)

    async def _local(self, kid: str | None) -> Iterable[Key]:
        return self._keys

    async def _fetched(self, kid: str | None) -> Iterable[Key]:
        return await self._published.find(kid) if self._published else ()

    def _principal(self, payload: bytes) -> Principal:
        claims = _object(payload)
        now, leeway = self._clock(), self._leeway
        expires = _time(claims, "exp")
        if expires is None:
            raise Deny("token has no expiry (exp)", 4401)
        if now >= expires + leeway:
            raise Deny("token expired", 4401)
        for claim in ("nbf", "iat"):
            if (_time(claims, claim) or 0) > now + leeway:
                raise Deny("token not valid yet", 4401)
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise Deny("token is from another issuer", 4401)
        if self._audience is not None:
            audience = claims.get("aud")
            if self._audience not in (audience if isinstance(audience, list) else [audience]):
                raise Deny("token is for another audience", 4401)
        return Principal.from_claims(claims, expires + leeway)


def _header(token: str) -> dict[str, Any]:
    head = token.partition(".")[0]
    try:
        return _object(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except ValueError:
        raise Deny("malformed token", 4401) from None


def _signed(token: str, key: Key) -> bytes | None:
    try:
        payload: bytes = _jws.decode(token, key.material, algorithms=[key.algorithm])
    except jwt.InvalidSignatureError:
        return None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Deny("malformed token", 4401) from None
    return payload


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Deny("malformed token", 4401)
    return value


def _time(claims: Mapping[str, object], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Deny(f"the token's {claim} claim must be a number", 4401)
    return float(value)


def mint(private_pem: bytes, claims: Mapping[str, object], kid: str | None = None) -> str:
    """Sign claims as an issuer would: for development and tests. Raises ValueError for a key of no use."""
    key = load_pem_private_key(private_pem, None)
    return jwt.encode(dict(claims), key, algorithm_of(key), {"kid": kid} if kid else None)  # type: ignore[arg-type]
