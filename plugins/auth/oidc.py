"""Logging in at an OpenID Connect provider: code flow with PKCE, state and nonce (OpenID Connect Core, RFC 7636,
RFC 9207, RFC 9700).

Whose answer it is: the address that the provider sends people back to names it, the state belongs to it, an `iss` that
comes along must be its own, and so must the id_token's.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
import orjson

from api_shim.problems import Unauthorized, Upstream
from plugins.auth.settings import Provider, private
from plugins.auth.signed import check_claims, verified
from relay.errors import Deny, Unavailable
from relay.keys import KeySet

__all__ = ["Identity", "ProviderClient", "Refused", "new_secrets"]

METADATA_KEPT = 3600.0
_LARGEST = 1 << 20
TIMEOUT = aiohttp.ClientTimeout(total=10.0)


class Refused(Unauthorized):
    """The provider did not let you in, or its answer can't be trusted. Begin again at the login page."""

    code, title = "provider_refused", "Logging in there did not work"


class Identity(NamedTuple):
    """Who somebody is, by the provider's word."""

    subject: str
    name: str
    email: str
    email_verified: bool


class _Metadata(NamedTuple):
    authorize: str
    token: str
    keys: KeySet
    posts_secret: bool
    names_itself: bool


class ProviderClient:
    """One provider. `redirect`: our address that it sends people back to."""

    def __init__(
        self, provider: Provider, redirect: str, http: aiohttp.ClientSession, clock: Callable[[], float]
    ) -> None:
        self.provider = provider
        self._redirect = redirect
        self._http = http
        self._clock = clock
        self._known: tuple[float, _Metadata] | None = None

    async def close(self) -> None:
        """Stop fetching its keys."""
        if self._known is not None:
            await self._known[1].keys.close()

    async def begin(self, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser. Raises Upstream."""
        metadata = await self._metadata()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        parameters = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self._redirect,
            "scope": self.provider.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{metadata.authorize}{'&' if '?' in metadata.authorize else '?'}{urlencode(parameters)}"

    async def finish(self, code: str, issuer: str | None, kept: Mapping[str, str]) -> Identity:
        """Who has come back. `issuer`: the answer's `iss`. Raises Refused, Upstream."""
        metadata = await self._metadata()
        if issuer is None:
            if metadata.names_itself:
                raise Refused("The answer does not say which provider it is from.")
        elif issuer != self.provider.issuer:
            raise Refused("The answer is from another provider.")
        token = await self._exchange(metadata, code, kept["verifier"])
        try:
            claims = await verified(token, metadata.keys, ("RS256", "ES256"))
            check_claims(claims, issuer=self.provider.issuer, audience=self.provider.client_id, now=self._clock())
        except Deny as deny:
            raise Refused(f"The provider's id_token is not accepted: {deny.reason}.") from None
        except Unavailable:
            raise Upstream("The provider's keys can't be fetched.") from None
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), kept["nonce"].encode()):
            raise Refused("The provider's id_token was made for another login.")
        audience = claims.get("aud")
        if claims.get("azp", self.provider.client_id) != self.provider.client_id or (
            isinstance(audience, list) and len(audience) > 1 and "azp" not in claims
        ):
            raise Refused("The provider's id_token was made for another client.")
        return _identity(claims)

    async def _exchange(self, metadata: _Metadata, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json"}
        id, secret = self.provider.client_id, self.provider.client_secret
        if secret and not metadata.posts_secret:
            basic = base64.b64encode(f"{quote(id, safe='')}:{quote(secret, safe='')}".encode()).decode()
            headers["Authorization"] = f"Basic {basic}"
        else:
            form["client_id"] = id
            if secret:
                form["client_secret"] = secret
        status, answer = await self._fetch("POST", metadata.token, data=form, headers=headers)
        if status != 200:
            raise Refused("The provider does not take its own code (any more).")
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Upstream("The provider's answer holds no id_token.")
        return token

    async def _metadata(self) -> _Metadata:
        if self._known is not None and time.monotonic() < self._known[0]:
            return self._known[1]
        issuer = self.provider.issuer
        status, found = await self._fetch("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if status != 200 or found.get("issuer") != issuer:
            raise Upstream("The provider's metadata is not that of its issuer.")
        addresses = [found.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        if not all(isinstance(one, str) and private(one) for one in addresses):
            raise Upstream("The provider's metadata names no addresses that can be used.")
        authorize, token, jwks = map(str, addresses)
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        keys = self._known[1].keys if self._known is not None else KeySet(jwks)
        metadata = _Metadata(
            authorize, token, keys, "client_secret_basic" not in methods,
            found.get("authorization_response_iss_parameter_supported") is True,
        )  # fmt: skip
        self._known = (time.monotonic() + METADATA_KEPT, metadata)
        return metadata

    async def _fetch(self, method: str, url: str, **options: Any) -> tuple[int, dict[str, Any]]:
        try:
            async with self._http.request(method, url, allow_redirects=False, timeout=TIMEOUT, **options) as response:
                raw = await response.content.read(_LARGEST)
                answer = orjson.loads(raw)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            raise Upstream("The provider does not answer as it should.") from None
        if not isinstance(answer, dict):
            raise Upstream("The provider does not answer as it should.")
        return response.status, answer


def new_secrets() -> dict[str, str]:
    """A nonce and a PKCE verifier."""
    return {"nonce": secrets.token_urlsafe(24), "verifier": secrets.token_urlsafe(48)}


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or "\0" in subject:
        raise Refused("The provider's id_token does not say who you are.")
    name, email = (claims.get(key) for key in ("name", "email"))
    readable = isinstance(name, str) and name.isprintable()
    return Identity(
        subject,
        str(name).strip()[:200] if readable else "",
        email if isinstance(email, str) else "",
        claims.get("email_verified") is True,
    )
