"""Tokens: signed claims (JWT) that say who connects and which rooms that opens.

Signatures are checked by PyJWT's algorithms; which key and algorithm may check one is ours (`relay.keys`). So is taking
a token apart, which costs PyJWT more than the signature, and so are the claims: `exp` (required), `nbf`, `iat`, `iss`
and `aud` when configured, and what `relay.grants` reads.
"""

import base64
import binascii
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import orjson
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.errors import Deny
from relay.grants import Principal
from relay.keys import Key, KeySet, algorithm_of, read_pem, read_secret

__all__ = ["MAX_TOKEN", "Verifier", "mint"]

MAX_TOKEN = 8192
"""Characters; checked before anything is parsed."""
_STANDARD = bytes.maketrans(b"-_", b"+/")

_ALGORITHMS = {name: jwt.get_algorithm_by_name(name) for name in ("RS256", "ES256", "EdDSA", "HS256")}


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
        self._known: OrderedDict[bytes, Principal] = OrderedDict()
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
            self._known.popitem(last=False)
        self._known[digest] = principal
        return principal

    async def _payload(self, token: str) -> bytes:
        signed = _read(token)
        tried = 0
        for source in (self._local, self._fetched):
            for key in await source(signed.header.kid):
                if key.algorithm == signed.header.algorithm:
                    tried += 1
                    if _ALGORITHMS[key.algorithm].verify(signed.text, key.material, signed.signature):
                        return signed.payload
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


class _Header(NamedTuple):
    """What a token says of its signature."""

    algorithm: object
    kid: str | None


class _Signed(NamedTuple):
    """A token taken apart (RFC 7515, 5.2); `text` is what `signature` signs."""

    header: _Header
    text: bytes
    payload: bytes
    signature: bytes


def _read(token: str) -> _Signed:
    try:
        text, _, signature = token.encode("ascii").rpartition(b".")
        header, dot, payload = text.partition(b".")
        if not dot:
            raise ValueError("not three parts")
        return _Signed(_header(header), text, _bytes(payload), _bytes(signature))
    except ValueError:
        raise Deny("malformed token", 4401) from None


@lru_cache(64)
def _header(encoded: bytes) -> _Header:
    """Remembered, since all tokens of one issuer have the same. Raises Deny and ValueError."""
    header = _object(_bytes(encoded))
    kid = header.get("kid")
    # RFC 7515, 4.1.11 and RFC 7797, 6: an extension that must be understood, and isn't.
    if "crit" in header or header.get("b64", True) is not True or ("kid" in header and not isinstance(kid, str)):
        raise ValueError("a header of no use")
    return _Header(header.get("alg"), kid)


def _bytes(encoded: bytes) -> bytes:
    """Of base64url, with or without padding, in the one way to write it (RFC 4648, 3.5). Raises ValueError."""
    decoded = binascii.a2b_base64(encoded.translate(_STANDARD) + b"==")
    written = base64.urlsafe_b64encode(decoded)
    if encoded not in (written, written.rstrip(b"=")):
        raise ValueError("not base64url")
    return decoded


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
