"""The keys that tokens are checked with: from a PEM file, a shared secret, or a JWKS URL.

A key's type decides its algorithm, never a token's header: an RSA key only checks RS256, so its public half can't be
passed off as an HS256 secret.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp
import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from relay import tasks
from relay.errors import StartError, Unavailable

__all__ = ["Key", "KeySet", "algorithm_of", "read_jwks", "read_pem", "read_secret"]

log = logging.getLogger("relay.keys")

MIN_RSA_BITS = 2048
MIN_SECRET = 32
"""Bytes; RFC 7518, 3.2: no shorter than the hash."""
MAX_JWKS = 1 << 20


class Key(NamedTuple):
    """One key, the one algorithm it is good for, and the id tokens call it by (None: tried for any)."""

    algorithm: str
    kid: str | None
    material: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | bytes


def algorithm_of(key: object) -> str:
    """The JWS algorithm for a public or private key; raises ValueError saying what is wrong with it."""
    match key:
        case RSAPublicKey() | RSAPrivateKey():
            if key.key_size < MIN_RSA_BITS:
                raise ValueError(f"an RSA key of {key.key_size} bits; {MIN_RSA_BITS} are the least")
            return "RS256"
        case EllipticCurvePublicKey() | EllipticCurvePrivateKey():
            if not isinstance(key.curve, SECP256R1):
                raise ValueError(f"an EC key on {key.curve.name}; only P-256 is supported")
            return "ES256"
        case Ed25519PublicKey() | Ed25519PrivateKey():
            return "EdDSA"
        case _:
            raise ValueError("neither an RSA, an EC P-256 nor an Ed25519 key")


def read_pem(path: Path) -> list[Key]:
    """The public keys in a PEM file: several while one is being replaced. Raises StartError.

    A private key is refused: a relay that holds one could sign what it is meant to check.
    """
    try:
        text = path.read_text("ascii")
    except (OSError, ValueError) as error:
        raise StartError(f"can't read the token key {path}: {getattr(error, 'strerror', 'not a PEM file')}") from None
    if "PRIVATE KEY-----" in text:
        raise StartError(f"{path} holds a private key; give its public half: openssl pkey -in {path} -pubout")
    if "BEGIN CERTIFICATE-----" in text:
        raise StartError(f"{path} holds a certificate; give its key: openssl x509 -in {path} -pubkey -noout")
    keys = []
    for block in re.findall(r"-----BEGIN ([A-Z ]+)-----(.*?)-----END \1-----", text, re.DOTALL):
        try:
            material = load_pem_public_key(f"-----BEGIN {block[0]}-----{block[1]}-----END {block[0]}-----\n".encode())
            keys.append(Key(algorithm_of(material), None, material))  # type: ignore[arg-type]
        except (ValueError, UnsupportedAlgorithm) as error:
            raise StartError(f"{path} does not hold a usable public key: {error}") from None
    if not keys:
        raise StartError(f"{path} does not hold a PEM public key")
    return keys


def read_secret(secret: str) -> Key:
    """The HS256 key of a shared secret; raises StartError when it is short enough to guess, or a key of others."""
    if len(secret.encode()) < MIN_SECRET:
        raise StartError(
            f"jwt_secret is too short: {MIN_SECRET} bytes are the least, e.g. from: openssl rand -base64 32"
        )
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError:
        raise StartError("jwt_secret is a key or a certificate: name its public half as jwt_key") from None
    return Key("HS256", None, secret.encode())


def read_jwks(document: bytes) -> list[Key]:
    """The usable keys of a JSON Web Key Set; raises ValueError when it is not one.

    Skipped: symmetric keys (whoever fetches them could sign), private ones, keys for encryption, other types.
    """
    jwks = orjson.loads(document)
    entries = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no JSON Web Key Set")
    return [key for entry in entries if isinstance(entry, dict) and (key := _jwk(entry)) is not None]


def _jwk(entry: dict[str, object]) -> Key | None:
    kid, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    if (
        entry.get("use", "sig") != "sig"
        or "d" in entry
        or not isinstance(operations, list)
        or "verify" not in operations
        or not isinstance(kid, str | None)
    ):
        return None
    default = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}.get(str(entry.get("kty")))
    if default is None or entry.get("alg", default) != default:
        return None
    try:
        material = jwt.PyJWK(entry, algorithm=default).key
        return Key(algorithm, kid, material) if (algorithm := algorithm_of(material)) == default else None
    except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        log.warning("a published key is of no use", extra={"kid": kid, "reason": str(error)})
        return None


class KeySet:
    """The keys an issuer publishes at a URL, fetched in the background.

    Refreshed when `max-age` has passed (1 minute to 1 day; 10 minutes when the issuer names none) and when a token
    names an unknown key, at most every `retry` seconds. While the issuer is away the last good keys serve on.
    `version` changes whenever the keys do.
    """

    def __init__(
        self, url: str, *, timeout: float = 5.0, retry: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._timeout, self._retry, self._clock = url, timeout, retry, clock
        self._keys: list[Key] = []
        self._stale = self._next = clock()
        self._failed = True
        self._refreshing: asyncio.Task[None] | None = None
        self.version = 0

    async def start(self) -> None:
        """Fetch once. An issuer that is away is logged, not fatal: it may start after us."""
        await self._refresh()

    async def close(self) -> None:
        """Stop a fetch under way."""
        await tasks.end(self._refreshing)

    async def find(self, kid: str | None) -> list[Key]:
        """The keys of that id, or all for a token without one; raises Unavailable when the issuer can't be asked."""
        if self._clock() >= self._stale:
            self._refresh()
        found = self._named(kid)
        if not found:
            await self._refresh()
            found = self._named(kid)
        if not found and self._failed:
            raise Unavailable("the token issuer's keys can't be fetched")
        return found

    def _named(self, kid: str | None) -> list[Key]:
        return [key for key in self._keys if kid is None or key.kid == kid]

    def _refresh(self) -> "asyncio.Future[None]":
        if self._refreshing is None or (self._refreshing.done() and self._clock() >= self._next):
            self._next = self._clock() + self._retry
            self._refreshing = tasks.spawn("fetch token keys", self._fetch())
        return asyncio.shield(self._refreshing)

    async def _fetch(self) -> None:
        self._failed = True
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout)) as session,
                session.get(self._url, headers={"Accept": "application/json"}, max_redirects=3) as response,
            ):
                response.raise_for_status()
                document = bytearray()
                async for chunk in response.content.iter_chunked(1 << 16):
                    document += chunk
                    if len(document) > MAX_JWKS:
                        raise ValueError(f"over {MAX_JWKS} bytes")
                keys = read_jwks(bytes(document))
                if not keys:
                    raise ValueError("no usable key in it")
                lifetime = _max_age(response.headers.get("Cache-Control", ""))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.warning(
                "token keys not fetched", extra={"url": self._url, "reason": str(error) or type(error).__name__}
            )
            return
        self._failed = False
        self._stale = self._clock() + lifetime
        if keys != self._keys:
            self._keys = keys
            self.version += 1
            log.info("token keys fetched", extra={"url": self._url, "kids": [key.kid for key in keys]})


def _max_age(cache_control: str) -> float:
    found = re.search(r"max-age=\"?(\d{1,9})", cache_control, re.IGNORECASE)
    return min(max(int(found[1]), 60), 86400) if found else 600.0
