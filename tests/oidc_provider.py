"""A small OpenID Connect provider that really signs, checks PKCE and takes each code once; and ways for it to lie."""

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import jwt
from aiohttp import BasicAuth, web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

__all__ = ["CLIENT", "SECRET", "OidcProvider", "hs256", "oidc_provider"]

CLIENT, SECRET = "materi", "client secret & more"


def hs256(claims: dict[str, Any], secret: bytes, header: dict[str, Any]) -> str:
    """A token signed with any bytes; libraries refuse those that look like public keys."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "at+jwt"} | header, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return (signed + b"." + signature).decode()


class OidcProvider:
    """Logs in `person` without asking. `lie` changes what an id_token says; `algorithm` "none" leaves it unsigned."""

    def __init__(self) -> None:
        self.issuer = ""
        self.person: dict[str, Any] = {}
        self.lie: dict[str, Any] = {}
        self.answer: dict[str, str] = {}
        self.algorithm = "ES256"
        self.names_itself = True
        self.token_requests = 0
        self._codes: dict[str, dict[str, str]] = {}
        self._key = generate_private_key(SECP256R1())

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self.metadata)
        app.router.add_get("/authorize", self.authorize)
        app.router.add_post("/token", self.token)
        app.router.add_get("/keys", self.keys)
        return app

    async def metadata(self, request: web.Request) -> web.Response:
        return web.json_response({
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "authorization_response_iss_parameter_supported": self.names_itself,
        })  # fmt: skip

    async def authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert query["client_id"] == CLIENT
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(12)
        self._codes[code] = query
        back = {"code": code, "state": query["state"]} | ({"iss": self.issuer} if self.names_itself else {})
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode(back | self.answer)}")

    async def token(self, request: web.Request) -> web.Response:
        self.token_requests += 1
        form = await request.post()
        asked = self._codes.pop(str(form["code"]), None)
        given = BasicAuth.decode(request.headers["Authorization"])
        challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        if (
            asked is None
            or asked["redirect_uri"] != form["redirect_uri"]
            or asked["code_challenge"] != challenge.rstrip(b"=").decode()
            or given.login != CLIENT
            or given.password != SECRET.replace(" ", "%20").replace("&", "%26")
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims |= self.person | self.lie
        return web.json_response({"access_token": "x", "token_type": "Bearer", "id_token": self.sign(claims)})

    def sign(self, claims: dict[str, Any]) -> str:
        if self.algorithm == "none":
            return jwt.encode(claims, None, "none")  # type: ignore[arg-type]
        if self.algorithm == "HS256":  # with what everybody can fetch
            return hs256(claims, json.dumps(self.jwk()).encode(), {"kid": "k1"})
        return jwt.encode(claims, self._key, "ES256", {"kid": "k1"})

    def jwk(self) -> dict[str, Any]:
        numbers = self._key.public_key().public_numbers()
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig", "x": x, "y": y}

    async def keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.jwk()]})


@contextlib.asynccontextmanager
async def oidc_provider() -> AsyncIterator[OidcProvider]:
    """One on a loopback port."""
    provider = OidcProvider()
    runner = web.AppRunner(provider.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield provider
    finally:
        await runner.cleanup()
