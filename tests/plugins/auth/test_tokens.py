"""Our tokens, and those that only look like them."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from auth_people import People
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from oidc_provider import hs256

from plugins.auth.plugin import Auth
from relay.errors import Deny
from relay.grants import Principal
from relay.hooks import ConnectAsked, JoinAsked
from relay.tokens import Verifier
from relay.types import Actor, RoomId

pytestmark = pytest.mark.asyncio(loop_scope="session")
STRANGER = generate_private_key(65537, 2048)


def plugin(people: People) -> Auth:
    found = people.server.shim.plugins[0]
    assert isinstance(found, Auth)
    return found


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def forge(people: People, token: str, changes: dict[str, Any], **header: Any) -> str:
    """The same token with other claims, signed with our own key: only the claims are wrong."""
    active = plugin(people)._parts.ring.active
    content = {name: value for name, value in (claims(token) | changes).items() if value is not None}
    parts = [{"alg": "RS256", "kid": active.kid, "typ": "at+jwt"} | header, content]
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = active.private.sign(signed, PKCS1v15(), SHA256())
    return b".".join([signed, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def refused(auth: Auth, token: str) -> bool:
    """Whether a token opens nothing: denied as unauthorized, or left to others."""
    try:
        return await auth.ask_connect(ConnectAsked(token, "", "")) is None
    except Deny as denied:
        return denied.code == 4401


async def test_what_a_token_says(people: People) -> None:
    """Who it is, by which login, for whom, until when; the header names the key."""
    ada = await people.register()
    said, header = claims(ada["access_token"]), jwt.get_unverified_header(ada["access_token"])
    assert said["sub"] == ada["user"]["id"]
    assert (said["name"], said["kind"], said["aud"]) == ("Ada", "human", "materi")
    assert said["sid"] == f"login:{ada['session']}"
    assert 540 <= said["exp"] - time.time() <= 600
    assert (header["alg"], header["typ"]) == ("RS256", "at+jwt")
    keys = (await people.call("GET", "/.well-known/jwks.json"))[1]["keys"]
    assert header["kid"] in [key["kid"] for key in keys]
    principal = await plugin(people).ask_connect(ConnectAsked(ada["access_token"], "", ""))
    assert principal == Principal(
        Actor(said["sub"]), "Ada", {"*": "read-write"}, said["exp"], said["sid"], "human", None
    )


async def test_forgery_works(people: People) -> None:
    """What the hostile twins below change is all that is wrong with them."""
    ada = await people.register()
    token = forge(people, ada["access_token"], {"jti": "another"})
    assert (await people.call("GET", "/v1/me", token=token))[0] == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"}, {"aud": ["materi", "another"]}, {"exp": 1}, {"iat": time.time() + 3600},
        {"sid": "login:00000000-0000-7000-8000-000000000000"}, {"sid": "login:junk"}, {"epoch": 7},
    ],
    ids=str,
)  # fmt: skip
async def test_wrong_claims(people: People, changes: dict[str, Any]) -> None:
    """A token for others, of another time, of a login that is none or an epoch that is not now opens nothing."""
    ada = await people.register()
    status, answer, headers = await people.call("GET", "/v1/me", token=forge(people, ada["access_token"], changes))
    assert (status, answer["code"]) == (401, "unauthorized")
    assert headers["WWW-Authenticate"].startswith("Bearer")


async def test_another_issuer(people: People) -> None:
    """A token of an issuer that is not trusted is nobody's."""
    ada = await people.register()
    token = forge(people, ada["access_token"], {"iss": "https://evil.example"})
    assert await plugin(people).ask_connect(ConnectAsked(token, "", "")) is None
    assert (await people.call("GET", "/v1/me", token=token))[0] == 401


async def test_wrong_signature(people: People) -> None:
    """Another key, an unknown kid, no algorithm, HS256 with the public key, a cut or changed token, and huge ones."""
    ada = await people.register()
    token, ring = ada["access_token"], plugin(people)._parts.ring
    said, kid = claims(token), ring.active.kid
    head, body, signature = token.split(".")
    pem = ring.active.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": kid, "typ": "at+jwt"}).encode()).decode()
    admin = base64.urlsafe_b64encode(json.dumps(said | {"sub": people.owner["user"]["id"]}).encode()).decode()
    bad = [
        jwt.encode(said, STRANGER, "RS256", {"kid": kid, "typ": "at+jwt"}),
        forge(people, token, {}, kid="nobody's"),
        forge(people, token, {}, kid=None),
        forge(people, token, {}, kid=["x"]),
        forge(people, token, {}, typ="JWT"),
        f"{none.rstrip('=')}.{body}.",
        f"{none.rstrip('=')}.{body}.{signature}",
        hs256(said, pem, {"kid": kid}),
        f"{head}.{admin.rstrip('=')}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.e30.{signature}",
        f"eyJ\ud83d\ude00.{body}.x",
        f"eyJ.{'e' * 9000}.x",
        "ey..",
    ]
    for one in bad:
        assert await refused(plugin(people), one), one
    assert (await people.call("GET", "/v1/me", token=token))[0] == 200


@pytest.mark.parametrize("token", ["", "junk", "a.b.c", "mk", "x" * 100_000])
async def test_not_ours(people: People, token: str) -> None:
    """Other plugins may know other tokens: this one has no opinion."""
    assert await plugin(people).ask_connect(ConnectAsked(token, "", "")) is None


async def test_collab_token(people: People) -> None:
    """It opens the rooms that it names, no other ones and no API, ends with its login, and relays can check it."""
    ada = await people.register()
    auth = plugin(people)
    principal = await auth.ask_connect(ConnectAsked(ada["access_token"], "", ""))
    assert principal is not None
    token = await auth.mint(principal, {"doc/*": "readonly"}, 7200.0)
    known = await auth.ask_connect(ConnectAsked(token, "", ""))
    assert known is not None
    assert (known.actor, known.rooms, known.session) == (principal.actor, {"doc/*": "readonly"}, principal.session)
    assert known.expires == principal.expires
    assert await auth.ask_join(JoinAsked(known, RoomId("doc/1"), "")) is None
    with pytest.raises(Deny):
        await auth.ask_join(JoinAsked(known, RoomId("other"), ""))
    for method, path in (("GET", "/v1/me"), ("GET", "/v1/me/api-keys"), ("POST", "/v1/auth/logout")):
        status, answer, _ = await people.call(method, path, token=token)
        assert (status, answer["code"]) == (403, "scope_missing")
    verifier = Verifier(
        jwks_url=f"{people.server.base}/.well-known/jwks.json", issuer="http://127.0.0.1:8080", audience="materi"
    )
    await verifier.start()
    grant = (await verifier.verify(token)).grant(RoomId("doc/1"))
    assert grant is not None
    assert (grant.actor, grant.readonly) == (principal.actor, True)
    with pytest.raises(Deny, match="rooms"):
        await verifier.verify(ada["access_token"])
    await verifier.close()
    await people.call("POST", "/v1/auth/logout", token=ada["access_token"])
    with pytest.raises(Deny):
        await auth.ask_join(JoinAsked(known, RoomId("doc/1"), ""))
    with pytest.raises(Deny):
        await auth.ask_connect(ConnectAsked(token, "", ""))
