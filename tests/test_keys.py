"""Where keys come from, and which are refused."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fakes import turns, until

from relay.errors import StartError, Unavailable
from relay.keys import KeySet, read_jwks, read_pem, read_secret

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: Any, **extra: object) -> dict[str, Any]:
    kinds = {rsa.RSAPrivateKey: "RSAAlgorithm", ec.EllipticCurvePrivateKey: "ECAlgorithm"}
    kind = next((name for type_, name in kinds.items() if isinstance(key, type_)), "OKPAlgorithm")
    entry = json.loads(getattr(jwt.algorithms, kind).to_jwk(key.public_key()))
    entry.pop("key_ops", None)
    return {**entry, **extra}


def jwks(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_pem_pins_the_algorithm(tmp_path: Path, key: Any, algorithm: str) -> None:
    """The type of the key in the file decides the algorithm."""
    (tmp_path / "key.pem").write_bytes(public_pem(key))
    assert [k.algorithm for k in read_pem(tmp_path / "key.pem")] == [algorithm]


def test_pem_may_hold_several_keys(tmp_path: Path) -> None:
    """While a key is being replaced both stand in the file, with remarks between them."""
    (tmp_path / "key.pem").write_bytes(b"old:\n" + public_pem(RSA) + b"new:\n" + public_pem(ED))
    assert [k.algorithm for k in read_pem(tmp_path / "key.pem")] == ["RS256", "EdDSA"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private key; .* -pubout"),
        (EC.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()), "private key"),
        (b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "certificate; .* -pubkey"),
        (b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n", "usable public key"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (public_pem(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (b"", "does not hold a PEM public key"),
        (b"\xff\xfe", "not a PEM file"),
    ],
    ids=["private", "private ec", "certificate", "garbage", "short", "curve", "empty", "binary"],
)  # fmt: skip
def test_unusable_pem_says_what_to_do(tmp_path: Path, content: bytes, says: str) -> None:
    """A file of the wrong kind stops the start with its remedy."""
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(StartError, match=says):
        read_pem(tmp_path / "key.pem")


def test_missing_pem(tmp_path: Path) -> None:
    """A path that is not there is named."""
    with pytest.raises(StartError, match=r"gone\.pem: No such file"):
        read_pem(tmp_path / "gone.pem")


def test_short_secret_is_refused() -> None:
    """A shared secret that can be guessed is none."""
    with pytest.raises(StartError, match="32 bytes"):
        read_secret("x" * 31)
    assert read_secret("x" * 32).algorithm == "HS256"


def test_secret_that_is_public() -> None:
    """A public key as a secret would let anybody sign who knows it: a server does not start with one."""
    with pytest.raises(StartError, match="jwt_key"):
        read_secret(public_pem(RSA).decode())


def test_jwks_pins_algorithms_by_type() -> None:
    """Keys of a set are named by kid and pinned by type."""
    keys = read_jwks(jwks(jwk(RSA, kid="a"), jwk(EC, kid="b"), jwk(ED, kid="c")))
    assert [(k.kid, k.algorithm) for k in keys] == [("a", "RS256"), ("b", "ES256"), ("c", "EdDSA")]


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode(), "kid": "a"},
        {"kty": "oct", "k": "eHh4", "alg": "HS256"},
        jwk(RSA, use="enc"),
        jwk(RSA, alg="HS256"),
        jwk(RSA, alg="RS512"),
        jwk(RSA, alg="none"),
        jwk(RSA, kid=5),
        jwk(RSA, key_ops=["encrypt"]),
        jwk(RSA, key_ops="verify"),
        jwk(rsa.generate_private_key(65537, 1024)),
        jwk(EC, crv="P-384"),
        jwk(EC, x="AA"),
        jwk(ED, x=5),
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA)),
        "key",
        None,
    ],
)
def test_jwks_skips_what_it_must_not_trust(entry: object) -> None:
    """Symmetric, private, weak, foreign or broken entries are skipped; the good one beside them stays."""
    assert [k.kid for k in read_jwks(jwks(entry, jwk(EC, kid="good")))] == ["good"]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b"\xff", b"<html>"])
def test_jwks_of_another_shape(document: bytes) -> None:
    """A document that is no key set is an error, not an empty set."""
    with pytest.raises(ValueError):
        read_jwks(document)


class Issuer:
    """A JWKS endpoint on loopback whose answer a test can change."""

    def __init__(self) -> None:
        self.document = jwks(jwk(RSA, kid="a"))
        self.status, self.cache_control, self.asked, self.now = 200, "max-age=120", 0, 1000.0
        self.answering = asyncio.Event()
        self.answering.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await self.answering.wait()
        return web.Response(body=self.document, status=self.status, headers={"Cache-Control": self.cache_control})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    served = Issuer()
    app = web.Application()
    app.router.add_get("/keys", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"  # type: ignore[attr-defined]
    yield served
    served.answering.set()
    await runner.cleanup()


@pytest.fixture
def keys(issuer: Issuer) -> KeySet:
    return KeySet(issuer.url, retry=10, timeout=10, clock=lambda: issuer.now)  # type: ignore[attr-defined]


async def test_keyset_is_cached(issuer: Issuer, keys: KeySet) -> None:
    """Known ids cost no request."""
    await keys.start()
    for _ in range(5):
        assert [k.kid for k in await keys.find("a")] == ["a"]
    assert [k.kid for k in await keys.find(None)] == ["a"]
    assert issuer.asked == 1


async def test_unknown_kid_refetches_at_a_limited_rate(issuer: Issuer, keys: KeySet) -> None:
    """A rotated key is found at once; made-up ids can't make us hammer the issuer."""
    await keys.start()
    issuer.now += 11
    issuer.document = jwks(jwk(RSA, kid="a"), jwk(ED, kid="b"))
    before = keys.version
    assert [k.kid for k in await keys.find("b")] == ["b"]
    assert keys.version == before + 1
    for n in range(20):
        assert await keys.find(f"made up {n}") == []
    assert issuer.asked == 2


async def test_concurrent_finders_share_one_fetch(issuer: Issuer, keys: KeySet) -> None:
    """A storm before the first answer asks once, and one that gives up does not spoil it for others."""
    issuer.answering.clear()
    finders = [asyncio.ensure_future(keys.find("a")) for _ in range(50)]  # noqa: TID251
    await until(lambda: issuer.asked == 1)
    finders[0].cancel()
    await turns()
    issuer.answering.set()
    found = await asyncio.gather(*finders, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(not isinstance(f, BaseException) and f[0].kid == "a" for f in found[1:])
    assert issuer.asked == 1


async def test_stale_keys_serve_while_they_are_refreshed(issuer: Issuer, keys: KeySet) -> None:
    """After max-age the old keys answer at once, and a key that was withdrawn is gone soon after."""
    await keys.start()
    issuer.now += 119
    await keys.find("a")
    assert issuer.asked == 1
    issuer.now += 2
    issuer.document = jwks(jwk(EC, kid="b"))
    assert [k.kid for k in await keys.find("a")] == ["a"]
    await until(lambda: keys.version == 2)
    assert await keys.find("a") == []


@pytest.mark.parametrize("fault", ["status", "garbage", "empty", "huge", "slow"])
async def test_outage_keeps_the_last_good_keys(issuer: Issuer, keys: KeySet, fault: str) -> None:
    """Whatever the issuer answers, good keys stay; an unknown id is then "try again later", not a no."""
    await keys.start()
    if fault == "status":
        issuer.status = 500
    elif fault == "slow":
        issuer.answering.clear()
        keys._timeout = 0.2
    else:
        issuer.document = {"garbage": b"<html>", "empty": jwks(), "huge": b" " * (1 << 21)}[fault]
    issuer.now += 500
    with pytest.raises(Unavailable):
        await keys.find("b")
    assert issuer.asked == 2
    assert [k.kid for k in await keys.find("a")] == ["a"]


async def test_issuer_that_starts_later(issuer: Issuer, keys: KeySet) -> None:
    """Starting without the issuer works; its keys are found once it is there."""
    issuer.status = 503
    await keys.start()
    with pytest.raises(Unavailable):
        await keys.find("a")
    issuer.status, issuer.now = 200, issuer.now + 11
    assert [k.kid for k in await keys.find("a")] == ["a"]


@pytest.mark.parametrize(
    ("header", "seconds"), [("", 600), ("no-store", 600), ("max-age=1", 60), ("public, Max-Age=99999999", 86400)]
)
async def test_cache_lifetime_is_bounded(issuer: Issuer, keys: KeySet, header: str, seconds: float) -> None:
    """No issuer can make us ask all the time, or never again."""
    issuer.cache_control = header
    await keys.start()
    issuer.now += seconds - 1
    await keys.find("a")
    assert issuer.asked == 1
    issuer.now += 2
    await keys.find("a")
    await until(lambda: issuer.asked == 2)


async def test_close_stops_a_fetch(issuer: Issuer, keys: KeySet) -> None:
    """Closing does not wait for a slow issuer."""
    issuer.answering.clear()
    finder = asyncio.ensure_future(keys.find("a"))  # noqa: TID251
    await until(lambda: issuer.asked == 1)
    async with asyncio.timeout(5):
        await keys.close()
    with pytest.raises(asyncio.CancelledError):
        await finder
