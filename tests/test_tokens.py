"""Tokens: what passes, and why what doesn't is refused."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Deny, Unavailable
from relay.keys import Key, KeySet
from relay.tokens import MAX_TOKEN, Verifier, _read, mint
from relay.types import RoomId

KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PRIVATE = {name: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for name, key in KEYS.items()}
PUBLIC = {
    name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for name, key in KEYS.items()
}
SECRET = "a secret of thirty-two bytes and more"
NOW = 1_700_000_000.0
CLAIMS = {"sub": "ada", "name": "Ada", "exp": NOW + 60, "rooms": {"docs/*": "read-write", "*": "readonly"}}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changed: object) -> dict[str, object]:
    return {key: value for key, value in {**CLAIMS, **changed}.items() if value is not ...}


def sign(algorithm: str = "RS256", kid: str | None = None, **changed: object) -> str:
    return mint(PRIVATE[algorithm], claims(**changed), kid)


@pytest.fixture
def verifier(tmp_path: Path) -> Callable[..., Verifier]:
    def build(algorithm: str = "RS256", **options: Any) -> Verifier:
        (tmp_path / "key.pem").write_bytes(PUBLIC[algorithm])
        return Verifier(**{"key": tmp_path / "key.pem", "clock": lambda: NOW, **options})

    return build


async def reason(verifier: Verifier, token: str) -> str:
    with pytest.raises(Deny) as caught:
        await verifier.verify(token)
    assert caught.value.code == 4401
    assert not any(part in caught.value.reason for part in token.split(".") if len(part) > 3)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", KEYS)
async def test_good_token(verifier: Callable[..., Verifier], algorithm: str) -> None:
    """A token of each key type opens its rooms until exp and the leeway have passed."""
    principal = await verifier(algorithm).verify(sign(algorithm, kid="any"))
    assert (principal.actor, principal.name, principal.expires) == ("ada", "Ada", NOW + 70)
    grant = principal.grant(RoomId("docs/a"))
    assert grant is not None
    assert not grant.readonly


async def test_secret_checks_hs256() -> None:
    """A shared secret works when it is configured."""
    token = jwt.encode(claims(), SECRET, "HS256")
    assert (await Verifier(secret=SECRET, clock=lambda: NOW).verify(token)).actor == "ada"


@pytest.mark.parametrize("signed", KEYS)
@pytest.mark.parametrize("configured", KEYS)
async def test_algorithm_is_pinned_to_the_key(verifier: Callable[..., Verifier], signed: str, configured: str) -> None:
    """A key checks tokens of its own algorithm only."""
    if signed != configured:
        assert await reason(verifier(configured), sign(signed)) == "token signed with an unknown key"


async def test_public_key_is_no_secret(verifier: Callable[..., Verifier]) -> None:
    """The classic forgery, an HS256 token signed with the public key's text, is refused."""
    head, body = b64(json.dumps({"alg": "HS256"}).encode()), b64(json.dumps(claims()).encode())
    signing = f"{head}.{body}"
    forged = f"{signing}.{b64(hmac.digest(PUBLIC['RS256'], signing.encode(), 'sha256'))}"
    assert await reason(verifier(), forged) == "token signed with an unknown key"
    assert await reason(verifier(secret=SECRET), forged) == "token signature does not match"


@pytest.mark.parametrize("alg", ["none", "None", "", None, 5, ["RS256"], "RS512", "PS256"])
async def test_unsigned_and_foreign_algorithms(verifier: Callable[..., Verifier], alg: object) -> None:
    """`alg` none, or any other than the key's, is refused whatever the signature."""
    token = f"{b64(json.dumps({'alg': alg}).encode())}.{b64(json.dumps(claims()).encode())}."
    assert await reason(verifier(), token) == "token signed with an unknown key"


async def test_tampered_claims(verifier: Callable[..., Verifier]) -> None:
    """Claims changed after signing are refused."""
    head, _, signature = sign().split(".")
    forged = f"{head}.{b64(json.dumps(claims(sub='eve')).encode())}.{signature}"
    assert await reason(verifier(), forged) == "token signature does not match"


async def test_key_of_the_same_type(verifier: Callable[..., Verifier]) -> None:
    """Another issuer's key of the same type does not pass."""
    other = rsa.generate_private_key(65537, 2048)
    token = jwt.encode(claims(), other, "RS256")
    assert await reason(verifier(), token) == "token signature does not match"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"exp": NOW - 11}, "token expired"),
        ({"exp": NOW - 10}, "token expired"),
        ({"exp": ...}, "token has no expiry (exp)"),
        ({"exp": "soon"}, "the token's exp claim must be a number"),
        ({"exp": True}, "the token's exp claim must be a number"),
        ({"nbf": NOW + 11}, "token not valid yet"),
        ({"nbf": []}, "the token's nbf claim must be a number"),
        ({"iat": NOW + 11}, "token not valid yet"),
        ({"rooms": ...}, "the token carries no rooms claim"),
        ({"sub": 5}, "the token's sub claim must be text of at most 256 characters"),
    ],
)
async def test_claims_are_checked(verifier: Callable[..., Verifier], changed: dict[str, object], expected: str) -> None:
    """Each claim that is wrong is named."""
    # PyJWT's encode refuses some of these; sign the bytes.
    token = jwt.PyJWS().encode(json.dumps(claims(**changed)).encode(), KEYS["RS256"], "RS256")
    assert await reason(verifier(), token) == expected


@pytest.mark.parametrize("changed", [{"exp": NOW - 9}, {"nbf": NOW + 9}, {"iat": NOW + 9}, {"nbf": NOW - 5, "iat": 0}])
async def test_leeway(verifier: Callable[..., Verifier], changed: dict[str, object]) -> None:
    """Clocks may differ by the leeway; a token accepted thanks to it is not expired at once."""
    principal = await verifier().verify(sign(**changed))
    assert principal.expires is not None
    assert principal.expires > NOW


async def test_issuer_and_audience(verifier: Callable[..., Verifier]) -> None:
    """Issuer and audience must be the configured ones; an audience may be a list."""
    strict = verifier(issuer="https://id", audience="relay")
    assert await strict.verify(sign(iss="https://id", aud="relay"))
    assert await strict.verify(sign(iss="https://id", aud=["shop", "relay"]))
    assert await reason(strict, sign(aud="relay")) == "token is from another issuer"
    assert await reason(strict, sign(iss="https://evil", aud="relay")) == "token is from another issuer"
    assert await reason(strict, sign(iss="https://id")) == "token is for another audience"
    assert await reason(strict, sign(iss="https://id", aud=["relay-x"])) == "token is for another audience"
    assert await verifier().verify(sign(iss="https://any", aud="any"))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a",
        "a.b",
        "a.b.c",
        "é.b.c",
        "\ud800",
        "\0" * 9,
        f"{b64(b'[]')}.e30.AA",
        f"{b64(b'[' * 4000)}.e30.",
    ],
)
async def test_malformed(verifier: Callable[..., Verifier], token: str) -> None:
    """What is no token at all says so."""
    assert await reason(verifier(), token) == "malformed token"


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"{", b"\xff", b"[" * 4000, b'{"exp":NaN}', b'{"exp":1e999}'])
async def test_malformed_claims(verifier: Callable[..., Verifier], body: bytes) -> None:
    """Even well signed, claims that are no JSON object are refused."""
    assert await reason(verifier(), jwt.PyJWS().encode(body, KEYS["RS256"], "RS256")) == "malformed token"


async def test_huge_expiry(verifier: Callable[..., Verifier]) -> None:
    """Numbers past what a float holds do not get through."""
    token = jwt.PyJWS().encode(b'{"rooms":{},"exp":1' + b"0" * 400 + b"}", KEYS["RS256"], "RS256")
    assert await reason(verifier(), token) == "malformed token"


@pytest.mark.parametrize(
    "header",
    [{"crit": ["x"], "x": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"kid": 5}, {"kid": None}],
)
async def test_header_that_cannot_be_heeded(verifier: Callable[..., Verifier], header: dict[str, object]) -> None:
    """An extension that must be understood, and isn't, refuses the token; so does an id that is no text."""
    signing = f"{b64(json.dumps({'alg': 'HS256'} | header).encode())}.{b64(json.dumps(claims()).encode())}"
    token = f"{signing}.{b64(hmac.digest(SECRET.encode(), signing.encode(), 'sha256'))}"
    assert await reason(verifier(secret=SECRET), token) == "malformed token"


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("how", ["padded", "bits", "space", "break", "junk", "short", "more"])
async def test_base64url_is_strict(part: int, how: str) -> None:
    """Each part is read in one way alone, whoever signed it: with its padding or without any."""
    body = {**claims(), "pad": ""}
    while len(json.dumps(body)) % 3 != 1:
        body["pad"] = str(body["pad"]) + "x"
    parts = [b64(b'{"alg":"HS256" }'), b64(json.dumps(body).encode()), ""]
    for number in (*(n for n in (part,) if n < 2), 2):
        if number == 2:
            parts[2] = b64(hmac.digest(SECRET.encode(), ".".join(parts[:2]).encode(), "sha256"))
        if number == part:
            said = parts[part]
            parts[part] = {
                "padded": said + "=" * (-len(said) % 4),
                "bits": said[:-1] + chr(ord(said[-1]) + 1),
                "space": said + " ",
                "break": said[:4] + "\n" + said[4:],
                "junk": said[:4] + "!" + said[4:],
                "short": said + "A" * ((1 - len(said)) % 4),
                "more": said + "=" * (-len(said) % 4 + 1),
            }[how]
    verifier = Verifier(secret=SECRET, clock=lambda: NOW)
    if how == "padded":
        assert (await verifier.verify(".".join(parts))).actor == "ada"
    else:
        assert await reason(verifier, ".".join(parts)) == "malformed token"


@given(st.data())
async def test_reads_as_pyjwt_does(data: st.DataObject) -> None:
    """What PyJWT takes apart, and how, is what we do."""
    piece = st.binary(max_size=6).map(b64)
    foreign = st.text("AQg-_+/=. é", max_size=6)
    header = st.sampled_from([b64(b'{"alg":"HS256"}'), b64(b'{"alg": "HS256"}')])
    parts = data.draw(st.lists(st.one_of(piece, foreign), min_size=1, max_size=3))
    token = ".".join([data.draw(st.one_of(header, piece)), *parts])
    try:
        payload, text, _, signature = jwt.PyJWS()._load(token)
    except (jwt.DecodeError, UnicodeError):
        with pytest.raises(Deny):
            _read(token)
    else:
        assert _read(token)[1:] == (text, payload, signature)


async def test_size_is_checked_first(verifier: Callable[..., Verifier], monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless token costs no parsing."""
    monkeypatch.setattr("relay.tokens._read", lambda token: pytest.fail("parsed"))
    assert await reason(verifier(), "x" * (MAX_TOKEN + 1)) == "token too long"


@given(st.data())
async def test_mutated_tokens_only_deny(data: st.DataObject) -> None:
    """However a token is mangled, the answer is Deny or the unchanged principal, never another error."""
    verifier = Verifier(secret=SECRET, clock=lambda: NOW)
    token = list(jwt.encode(claims(), SECRET, "HS256"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(token) - 1))
        token[at : at + data.draw(st.integers(0, 3))] = data.draw(st.text(max_size=3))
    try:
        assert (await verifier.verify("".join(token))).actor == "ada"
    except Deny:
        pass


async def test_verified_tokens_are_remembered(
    verifier: Callable[..., Verifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same token again is a lookup, until it expires."""
    now = [NOW]
    checks = verifier(clock=lambda: now[0])
    token = sign()
    first = await checks.verify(token)
    with monkeypatch.context() as patch:
        patch.setattr("relay.tokens._read", lambda *_: pytest.fail("verified again"))
        assert await checks.verify(token) is first
    now[0] = NOW + 70
    assert await reason(checks, token) == "token expired"


async def test_memory_is_bounded(verifier: Callable[..., Verifier]) -> None:
    """The oldest remembered token makes room; refused ones take none."""
    checks = verifier("EdDSA", remember=3)
    for n in range(10):
        await checks.verify(sign("EdDSA", sub=str(n)))
        await reason(checks, f"bad{n}.x.y")
    assert [principal.actor for principal in checks._known.values()] == ["7", "8", "9"]


class Published(KeySet):
    """A key set without a network."""

    def __init__(self, *keys: Key) -> None:
        self.keys, self.version, self.away = list(keys), 1, False

    async def find(self, kid: str | None) -> list[Key]:
        if self.away:
            raise Unavailable("away")
        return [key for key in self.keys if kid is None or key.kid == kid]


def published(*kids: str) -> tuple[Verifier, Published]:
    verifier = Verifier(jwks_url="http://127.0.0.1:9/", clock=lambda: NOW)
    source = Published(*(Key("EdDSA", kid, KEYS["EdDSA"].public_key()) for kid in kids))
    verifier._published = source
    return verifier, source


async def test_published_key_by_kid() -> None:
    """A token is checked with the published key it names; one without a kid with any."""
    verifier, source = published("a", "b")
    assert await verifier.verify(sign("EdDSA", kid="a"))
    assert await verifier.verify(sign("EdDSA"))
    assert await reason(verifier, sign("EdDSA", kid="c")) == "token signed with an unknown key"
    assert await reason(verifier, sign("RS256", kid="a")) == "token signed with an unknown key"
    source.away = True
    with pytest.raises(Unavailable):
        await verifier.verify(sign("EdDSA", kid="c"))


async def test_withdrawn_key_forgets_its_tokens() -> None:
    """When the published keys change, remembered tokens are checked again."""
    verifier, source = published("a")
    token = sign("EdDSA", kid="a")
    assert await verifier.verify(token)
    source.keys, source.version = [], 2
    assert await reason(verifier, token) == "token signed with an unknown key"


async def test_own_and_published_keys_together(verifier: Callable[..., Verifier]) -> None:
    """With a file and a URL configured either's tokens pass."""
    both = verifier("ES256", jwks_url="http://127.0.0.1:9/")
    both._published = published("a")[1]
    assert await both.verify(sign("ES256"))
    assert await both.verify(sign("EdDSA", kid="a"))
    assert await reason(both, sign("RS256")) == "token signed with an unknown key"


async def test_reconnect_storm_is_cheap(verifier: Callable[..., Verifier]) -> None:
    """A remembered token costs a small part of its verification."""
    checks, token = verifier(), sign()
    cold, warm = [], []
    for _ in range(200):
        checks._known.clear()
        for laps in (cold, warm):
            started = time.perf_counter()
            await checks.verify(token)
            laps.append(time.perf_counter() - started)
    assert min(warm) < min(cold) / 4
