"""The plugin: answers who a token belongs to, closes sockets of what was revoked, serves the API of accounts.

Named before plugins that decide about rooms: the first answer to `ask_join` stands, and this one only ever denies.
Tokens that are none of its kinds it leaves to others; `relay.gate` says what becomes of those that nobody knows.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

import aiohttp
import asyncpg

from api_shim.context import Context
from api_shim.plugin import Plugin
from api_shim.route import Route
from api_shim.services import Tokens, Users
from plugins.auth import mail
from plugins.auth.accounts import Accounts
from plugins.auth.api_keys import PREFIX, ApiKeys
from plugins.auth.entrance import CHALLENGE_LIFETIME
from plugins.auth.identities import Identities
from plugins.auth.issuers import Issuers
from plugins.auth.links import Links
from plugins.auth.live import LOGIN, Live
from plugins.auth.metrics import AuthMetrics
from plugins.auth.oidc import ProviderClient
from plugins.auth.parts import Parts
from plugins.auth.passwords import Passwords
from plugins.auth.routes import routes_of
from plugins.auth.seal import Seal, derive
from plugins.auth.second_factor import SecondFactors
from plugins.auth.sessions import Sessions
from plugins.auth.settings import AuthSettings
from plugins.auth.signing import KeyRing, generate
from plugins.auth.throttle import Throttle
from plugins.auth.tokens import MAX_TOKEN, ROOMS_ONLY, TokenMint, claims_of
from relay.errors import Deny, RelayError
from relay.grants import Access, Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked
from relay.tasks import spawn

__all__ = ["LONGEST_COLLAB", "Auth"]

LONGEST_COLLAB = 3600.0
"""Seconds that a collab token lives at most."""
TEND_EVERY = 10.0
PURGE_EVERY = 3600.0
KEEP_ENDED = 30 * 86400.0


class Auth(Plugin):
    """Accounts, logins, tokens, API keys: who somebody is."""

    name = "auth"
    settings_type = AuthSettings
    provides: ClassVar[tuple[type, ...]] = (Users, Tokens)
    migrations = "plugins.auth.migrations"
    settings: AuthSettings

    async def start(self, context: Context) -> None:
        settings = self.settings = self.settings or AuthSettings()
        self._context = context
        self._running: list[asyncio.Task[None]] = []
        secret = await context.secret("links")
        seal = Seal(settings.key_secret.encode() or await context.secret("seal"))
        clock, database, outbox = context.clock, context.database, context.outbox
        accounts = Accounts(database, outbox, clock)
        identities = Identities(accounts)
        ring = KeyRing(
            database,
            seal,
            lambda: context.work(generate),
            age=settings.key_age,
            keep=max(settings.access_lifetime, LONGEST_COLLAB),
            clock=clock,
        )
        await ring.start()
        self._http = aiohttp.ClientSession()
        self._issuers = Issuers(settings.issuers, database, accounts, identities, settings.rooms, clock)
        await self._issuers.start()
        issuer = settings.issuer or context.public_url
        self._parts = Parts(
            context=context,
            settings=settings,
            metrics=AuthMetrics(context.registry),
            accounts=accounts,
            identities=identities,
            sessions=Sessions(
                outbox,
                derive(secret, "refresh"),
                clock,
                idle=settings.session_idle,
                lifetime=settings.session_lifetime,
                grace=settings.refresh_grace,
            ),
            live=Live(database, context.redis, context.rooms),
            links=Links(derive(secret, "links"), clock),
            mail=mail.KeptMail(clock),
            passwords=Passwords(
                time=settings.argon2_time,
                memory=settings.argon2_memory,
                lanes=settings.argon2_lanes,
                at_once=settings.hashes_at_once,
                shortest=settings.password_min,
            ),
            throttle=Throttle(context.redis),
            second_factors=SecondFactors(seal, derive(secret, "recovery codes"), "Materi", clock),
            api_keys=ApiKeys(database, outbox, clock, settings.rooms),
            ring=ring,
            tokens=TokenMint(ring, issuer=issuer, audience=settings.audience, rooms=settings.rooms, clock=clock),
            providers={
                one.name: ProviderClient(
                    one, f"{context.public_url}/v1/auth/oidc/{one.name}/callback", self._http, clock
                )
                for one in settings.providers
            },
        )
        context.provide(Users, accounts)  # type: ignore[type-abstract]
        context.provide(Tokens, self)  # type: ignore[type-abstract]
        await self._say_setup()
        self._running = [spawn("tend keys", self._tend()), spawn("purge accounts' leftovers", self._purge())]

    async def stop(self) -> None:
        for task in getattr(self, "_running", ()):
            task.cancel()
        if not hasattr(self, "_parts"):
            return
        await self._issuers.close()
        for client in self._parts.providers.values():
            await client.close()
        await self._http.close()
        self._parts.passwords.close()
        self._parts.metrics.close()
        await self._parts.api_keys.note_used()

    def routes(self) -> Sequence[Route]:
        return routes_of(self._parts)

    # -- asks --

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        token = ask.token
        if token.startswith(PREFIX):
            kind = "api_key"
        elif token.startswith("ey") and token.count(".") == 2:
            kind = "token"
        else:
            return None
        checks, started = self._parts.metrics.checks, time.perf_counter()
        try:
            if len(token) > MAX_TOKEN:
                raise Deny("token too long", 4401)
            principal = await (self._api_key(token) if kind == "api_key" else self._token(token))
        except Deny:
            checks.labels(kind, "denied").inc()
            raise
        except RelayError:
            checks.labels(kind, "unavailable").inc()
            raise
        finally:
            self._parts.metrics.check_seconds.observe(time.perf_counter() - started)
        checks.labels(kind, "good" if principal else "unknown").inc()
        return principal

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        principal = ask.principal
        await self._parts.live.require(principal.session, fresh=True)
        # Others decide what the actor may do; a token that is for some rooms opens no other.
        if principal.scopes == ROOMS_ONLY and principal.grant(ask.room) is None:
            raise Deny("the token does not open this document", 4403)
        return None

    async def _token(self, token: str) -> Principal | None:
        parts = self._parts
        issuer = claims_of(token).get("iss")
        if issuer == parts.tokens.issuer:
            claimed = await parts.tokens.read(token)
            await parts.live.require(claimed.principal.session, claimed.epoch)
            return claimed.principal
        if isinstance(issuer, str) and self._issuers.knows(issuer):
            principal = await self._issuers.read(token, issuer)
            await parts.live.require(principal.session)
            return principal
        return None

    async def _api_key(self, token: str) -> Principal:
        principal = await self._parts.api_keys.read(token)
        await self._parts.live.require(principal.session)
        return principal

    # -- Tokens --

    async def mint(self, principal: Principal, rooms: Mapping[str, Access], lifetime: float) -> str:
        """A collab token; see `api_shim.services.Tokens`."""
        left = lifetime if principal.expires is None else min(lifetime, principal.expires - self._context.clock())
        epoch = 0
        if principal.session.startswith(LOGIN):
            account = await self._parts.accounts.get(self._context.database, principal.actor)
            epoch = account.epoch
        return self._parts.tokens.mint(principal, epoch, max(0.0, min(left, LONGEST_COLLAB)), rooms)

    # -- in the background --

    async def _say_setup(self) -> None:
        parts, database = self._parts, self._context.database
        if await parts.accounts.owned(database):
            return
        token = await parts.links.standing(database, "setup")
        if token is None:
            try:
                token = await parts.links.make(database, "setup")
            except asyncpg.UniqueViolationError:  # another process was faster
                token = await parts.links.standing(database, "setup")
        link = f"{self._context.public_url}/setup?token={token}"
        self._context.log.warning("nobody owns this server yet: open %s to make the owner's account", link)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_EVERY)
            try:
                await self._parts.ring.tend()
                await self._parts.api_keys.note_used()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self._context.log.debug("keys are tended later", extra={"error": repr(error)})
            except RelayError as error:
                self._context.log.error("the signing keys can't be read", extra={"error": str(error)})

    async def _purge(self) -> None:
        while True:
            now = self._context.clock()
            ended, letters = datetime.fromtimestamp(now - KEEP_ENDED, UTC), datetime.fromtimestamp(now - mail.KEEP, UTC)
            links = datetime.fromtimestamp(now - CHALLENGE_LIFETIME, UTC)
            try:
                await self._context.database.execute("DELETE FROM auth.session WHERE expires < $1", ended)
                await self._context.database.execute("DELETE FROM auth.link WHERE expires < $1", links)
                await self._context.database.execute("DELETE FROM auth.letter WHERE created < $1", letters)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self._context.log.debug("leftovers are purged later", extra={"error": repr(error)})
            await asyncio.sleep(PURGE_EVERY)
