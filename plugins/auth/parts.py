"""What the routes work with: every part of the plugin, put together once when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from api_shim.context import Context
from api_shim.problems import Forbidden, NotFound
from api_shim.route import Call
from plugins.auth.accounts import Account, Accounts
from plugins.auth.api_keys import ApiKeys
from plugins.auth.identities import Identities
from plugins.auth.links import Links
from plugins.auth.live import LOGIN, Live, session_id
from plugins.auth.mail import KeptMail
from plugins.auth.metrics import AuthMetrics
from plugins.auth.oidc import ProviderClient
from plugins.auth.passwords import Passwords
from plugins.auth.second_factor import SecondFactors
from plugins.auth.sessions import Sessions
from plugins.auth.settings import AuthSettings
from plugins.auth.signing import KeyRing
from plugins.auth.throttle import Throttle
from plugins.auth.tokens import TokenMint

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One process's."""

    context: Context
    settings: AuthSettings
    metrics: AuthMetrics
    accounts: Accounts
    identities: Identities
    sessions: Sessions
    live: Live
    links: Links
    mail: KeptMail
    passwords: Passwords
    throttle: Throttle
    second_factors: SecondFactors
    api_keys: ApiKeys
    ring: KeyRing
    tokens: TokenMint
    providers: Mapping[str, ProviderClient]

    async def caller(self, call: Call) -> Account:
        """The account that asks. Raises NotFound for somebody without one: a guest, another issuer's."""
        try:
            return await self.accounts.get(self.context.database, call.who.actor)
        except NotFound:
            raise NotFound("You have no account here.") from None

    async def admin(self, call: Call) -> Account:
        """The account that asks, which manages accounts. Raises Forbidden."""
        try:
            account = await self.caller(call)
        except NotFound:
            raise Forbidden("Only admins may do this.") from None
        if not account.admin or account.disabled:
            raise Forbidden("Only admins may do this.")
        return account

    def login_of(self, call: Call) -> UUID | None:
        """The login that a request came by, if it did not come by something else."""
        session = call.who.session
        return session_id(session) if session.startswith(LOGIN) else None
