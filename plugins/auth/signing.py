"""The keys that our tokens are signed with: `next` is published before it signs, `active` signs, `retiring` is
published for as long as something that it signed may be valid.

The keys are in the database, the private halves sealed; every process reads them every few seconds. One rotation at a
time, whoever starts it.
"""

import base64
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import asyncpg
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from plugins.auth.seal import Seal
from relay.errors import StartError, Unavailable

__all__ = ["PUBLISHED", "KeyRing", "SigningKey", "generate"]

log = logging.getLogger("plugins.auth.signing")
BITS = 2048
PUBLISHED = 300.0
"""Seconds that others keep our key set (`Cache-Control`); `next` is at least twice as old before it signs by itself."""
_LOCK = int.from_bytes(b"authkeys", "big") >> 1


State = Literal["next", "active", "retiring"]


class SigningKey(NamedTuple):
    """A row of `auth.signing_key`, opened."""

    kid: str
    state: State
    created: datetime
    activated: datetime | None
    private: RSAPrivateKey
    public: RSAPublicKey


def generate() -> bytes:
    """A private key, as PKCS#8 in DER."""
    return generate_private_key(65537, BITS).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


class KeyRing:
    """`make` generates a key; `age`: seconds that a key signs; `keep`: the longest that a token of ours lives."""

    def __init__(
        self,
        database: asyncpg.Pool,
        seal: Seal,
        make: Callable[[], Awaitable[bytes]],
        *,
        age: float,
        keep: float,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._seal = seal
        self._make = make
        self._age = timedelta(seconds=age)
        self._keep = timedelta(seconds=keep + PUBLISHED)
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._look_again = 0.0
        self.active: SigningKey
        self.published = b""

    async def start(self) -> None:
        """Have keys; made by the first process that starts. Raises StartError when they can't be opened."""
        await self.refresh()
        if {"next", "active"} - {key.state for key in self._keys.values()}:
            await self._fill()
            await self.refresh()

    async def find(self, kid: object) -> RSAPublicKey | None:
        """The key of that id that may check a signature. One that is not known may be another process's newest: it is
        looked for, once a second at most."""
        if not isinstance(kid, str):
            return None
        if kid not in self._keys and time.monotonic() >= self._look_again:
            self._look_again = time.monotonic() + 1.0
            try:
                await self.refresh()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise Unavailable("the signing keys can't be read at the moment") from error
        found = self._keys.get(kid)
        return found.public if found else None

    def all(self) -> list[SigningKey]:
        """Those published: retiring ones, the active one, the next."""
        return list(self._keys.values())

    async def refresh(self) -> None:
        """Read what there is. Raises StartError for keys sealed with another secret."""
        rows = await self._database.fetch(
            "SELECT * FROM auth.signing_key ORDER BY array_position('{retiring,active,next}', state), created"
        )
        keys = {row["kid"]: self._read(row) for row in rows}
        if keys == self._keys:
            return
        self._keys = keys
        for key in keys.values():
            if key.state == "active":
                self.active = key
        self.published = orjson.dumps({"keys": [_jwk(key) for key in keys.values()]})

    async def tend(self) -> None:
        """Rotate when it is time, forget what nothing valid was signed with, and read what others did."""
        now = self._now()
        await self._database.execute(
            "DELETE FROM auth.signing_key WHERE state = 'retiring' AND retired < $1", now - self._keep
        )
        await self.refresh()
        settled = [key for key in self._keys.values() if key.state == "next" and key.created < now - self._pause()]
        if settled and (self.active.activated or now) < now - self._age:
            await self.rotate(only=self.active.kid)

    async def rotate(self, only: str | None = None) -> None:
        """`next` signs from now on, and there is another `next`. `only`: if that key is still the active one."""
        fresh = await self._make()
        async with self._database.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            active = await connection.fetchval("SELECT kid FROM auth.signing_key WHERE state = 'active'")
            if only is None or active == only:
                now = self._now()
                await connection.execute(
                    "UPDATE auth.signing_key SET state = 'retiring', retired = $1 WHERE state = 'active'", now
                )
                await connection.execute(
                    "UPDATE auth.signing_key SET state = 'active', activated = $1 WHERE state = 'next'", now
                )
                await self._insert(connection, fresh, "next")
                log.info("signing keys rotated")
        await self.refresh()

    async def _fill(self) -> None:
        # Nobody is served yet: that it holds up this process costs less than starting another.
        made = [generate(), generate()]
        async with self._database.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            states = {row["state"] for row in await connection.fetch("SELECT state FROM auth.signing_key")}
            for state in {"active", "next"} - states:
                await self._insert(connection, made.pop(), state)

    async def _insert(self, connection: Any, private: bytes, state: str) -> None:
        public = load_der_private_key(private, None).public_key()
        raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kid = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()[:12]).decode()
        now = self._now()
        await connection.execute(
            "INSERT INTO auth.signing_key (kid, state, private, created, activated) VALUES ($1, $2, $3, $4, $5)",
            kid, state, self._seal.seal(private, f"signing_key {kid}"), now, now if state == "active" else None,
        )  # fmt: skip

    def _read(self, row: Any) -> SigningKey:
        known = self._keys.get(row["kid"])
        if known is not None:
            return known._replace(state=row["state"], activated=row["activated"])
        try:
            private = load_der_private_key(self._seal.open(row["private"], f"signing_key {row['kid']}"), None)
        except ValueError:
            raise StartError(
                "plugin 'auth': the signing keys are sealed with another key_secret; give that one, or delete the rows "
                "of auth.signing_key (everybody is logged out for a moment then)"
            ) from None
        assert isinstance(private, RSAPrivateKey)
        return SigningKey(row["kid"], row["state"], row["created"], row["activated"], private, private.public_key())

    def _pause(self) -> timedelta:
        return min(timedelta(seconds=2 * PUBLISHED), self._age / 2)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _jwk(key: SigningKey) -> dict[str, str]:
    numbers = key.public.public_numbers()
    n, e = _base64(numbers.n), _base64(numbers.e)
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.kid, "n": n, "e": e}


def _base64(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
