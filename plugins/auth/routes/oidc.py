"""Logging in at OpenID Connect providers.

The browser goes to the provider and comes back to `callback`, which sends it on to our pages with a code in the
fragment; the page changes that for tokens. A cookie binds both to the browser that set out: nobody is sent into
another's login.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from api_shim.problems import Forbidden, NotFound, Problem, Upstream
from api_shim.route import Answer, Call, Route
from plugins.auth.accounts import Account
from plugins.auth.entrance import AccountDisabled, Entrance
from plugins.auth.links import BadLink, Link
from plugins.auth.models import CallbackQuery, Exchange, LoginTokens, StartQuery
from plugins.auth.oidc import Identity, ProviderClient, Refused, new_secrets
from plugins.auth.parts import Parts

__all__ = ["NotLinked", "OidcRoutes"]

WAY_LIFETIME = 600.0
EXCHANGE_LIFETIME = 60.0
_COOKIE = "materi_oidc_"
"""And the provider's name."""


class NotLinked(Forbidden):
    """There is an account with the address that the provider names, and logging in there does not open it. Log in with
    its password."""

    code, title = "not_linked", "This login is not connected to an account"


class OidcRoutes:
    def __init__(self, parts: Parts, entrance: Entrance) -> None:
        self._parts = parts
        self._entrance = entrance

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="GET", path="/v1/auth/oidc/{provider}/start", handler=self.start, public=True, query=StartQuery,
                status=303, summary="Log in at a provider", problems=(Upstream,), cost=3, tag="auth",
            ),
            Route(
                method="GET", path="/v1/auth/oidc/{provider}/callback", handler=self.callback, public=True,
                query=CallbackQuery, status=303, summary="Come back from a provider", cost=3, tag="auth",
                problems=(BadLink, Refused, NotLinked, Upstream),
            ),
            Route(
                method="POST", path="/v1/auth/oidc:exchange", handler=self.exchange, public=True, body=Exchange,
                answer=LoginTokens, summary="Change the code from a provider's login for tokens", tag="auth",
                problems=(BadLink, AccountDisabled),
            ),
        )  # fmt: skip

    async def start(self, call: Call) -> Answer:
        """Sends the browser to the provider. Afterwards it is at `return_to`, a path of ours, with `#login_code=…` or
        `#login_error=…` behind it."""
        client = self._client(call)
        browser, kept = secrets.token_urlsafe(24), new_secrets()
        data = {**kept, "browser": _digest(browser), "return_to": call.query.return_to}
        state = await self._parts.links.make(
            self._parts.context.database, f"oidc {client.provider.name}", data=data, lifetime=WAY_LIFETIME
        )
        url = await client.begin(state, kept["nonce"], kept["verifier"])
        return Answer(
            None, status=303, headers={"Location": url, "Set-Cookie": self._cookie(client.provider.name, browser)}
        )

    async def callback(self, call: Call) -> Answer:
        """Where providers send browsers back to. A failure that the person can do something about is said on our
        page."""
        parts, client, query = self._parts, self._client(call), call.query
        async with parts.context.database.acquire() as connection, connection.transaction():
            way = await parts.links.use(connection, query.state, f"oidc {client.provider.name}")
        _require_browser(call, client.provider.name, way)
        try:
            if query.error or not query.code:
                raise Refused("The provider says no.")
            identity = await client.finish(query.code, query.iss, way.data)
            account = await self._account(client, identity)
            code = await parts.links.make(
                parts.context.database,
                "oidc_login",
                account=account,
                data={"provider": client.provider.name, "browser": way.data["browser"]},
                lifetime=EXCHANGE_LIFETIME,
            )
            fragment = {"login_code": code}
        except Problem as problem:
            parts.metrics.logins.labels("oidc", problem.code).inc()
            parts.context.log.info("a login at a provider failed", extra={"reason": str(problem)})
            fragment = {"login_error": problem.code}
        location = f"{parts.context.public_url}{way.data['return_to']}#{urlencode(fragment)}"
        return Answer(None, status=303, headers={"Location": location})

    async def exchange(self, call: Call) -> LoginTokens:
        """The code from the fragment works once, for a minute, in the browser that set out (it sends the cookie that it
        was given by itself)."""
        parts = self._parts
        link = await parts.links.use(parts.context.database, call.body.code, "oidc_login")
        if link.account is None:
            raise BadLink
        _require_browser(call, link.data["provider"], link)
        agent = call.request.headers.get("User-Agent", "").encode("utf-8", "replace").decode().replace("\0", "")
        method = f"oidc:{link.data['provider']}"
        return await self._entrance.begin(link.account, method, call.address, agent)

    async def _account(self, client: ProviderClient, identity: Identity) -> UUID:
        parts, provider = self._parts, client.provider
        async with parts.context.database.acquire() as connection, connection.transaction():
            account = await parts.identities.hold(connection, provider.issuer, identity.subject)
            if account is not None:
                return account.id
            known = await parts.accounts.at(connection, identity.email) if identity.email else None
            if known is not None:
                if not _may_link(client, identity, known):
                    raise NotLinked
                await parts.identities.link(connection, provider.issuer, identity.subject, known.id)
                return known.id
            if not provider.register_accounts:
                raise NotLinked
            made = await parts.identities.register(
                connection,
                provider.issuer,
                identity.subject,
                identity.name,
                identity.email if identity.email_verified else "",
            )
            return made.id

    def _client(self, call: Call) -> ProviderClient:
        client = self._parts.providers.get(call.path["provider"])
        if client is None:
            raise NotFound("There is no such provider.")
        return client

    def _cookie(self, provider: str, value: str) -> str:
        public = urlsplit(self._parts.context.public_url)
        secure = "; Secure" if public.scheme == "https" else ""
        age = int(WAY_LIFETIME + EXCHANGE_LIFETIME)
        return f"{_COOKIE}{provider}={value}; Path={public.path}/v1/auth; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"


def _may_link(client: ProviderClient, identity: Identity, account: Account) -> bool:
    """Both sides must have verified the address: whoever registered with another's address would else wait in an
    account that its owner then uses."""
    return client.provider.link and identity.email_verified and account.email_verified is not None


def _require_browser(call: Call, provider: str, begun: Link) -> None:
    browser = call.request.cookies.get(f"{_COOKIE}{provider}", "")
    if not hmac.compare_digest(_digest(browser), begun.data["browser"]):
        raise BadLink("This login was begun in another browser.")


def _digest(browser: str) -> str:
    return hashlib.sha256(browser.encode("utf-8", "surrogatepass")).hexdigest()
