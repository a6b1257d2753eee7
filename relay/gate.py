"""Who may come in when no plugin says otherwise: whoever holds a valid token, or anybody where none are required."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from relay import closing
from relay.errors import Deny
from relay.grants import ANYONE, Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked, Plugin
from relay.tokens import Verifier

if TYPE_CHECKING:
    from relay.settings import Settings

__all__ = ["Gate", "Strangers", "gate_of"]


class Gate(Plugin):
    """Asked last. `verifier` is None on a server without authentication."""

    name = "gate"

    def __init__(self, verifier: Verifier | None) -> None:
        self.verifier = verifier

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        if self.verifier is None:
            return ANYONE
        if not ask.token:
            raise Deny("a token is required", closing.UNAUTHORIZED.code)
        return await self.verifier.verify(ask.token)

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        grant = ask.principal.grant(ask.room)
        if grant is None:
            raise Deny("the token does not open this document", closing.FORBIDDEN.code)
        return grant


class Strangers(Plugin):
    """Asked after plugins that know people by their tokens, where tokens are known in no other way: who is left has no
    token, or one that nobody made."""

    name = "strangers"

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        reason = "nobody here knows this token" if ask.token else "a token is required"
        raise Deny(reason, closing.UNAUTHORIZED.code)


async def gate_of(settings: "Settings", stack: AsyncExitStack) -> Gate:
    """The gate that the settings describe, for composition roots; closed with `stack`. Raises StartError."""
    if not settings.authenticated:
        return Gate(None)
    verifier = Verifier(
        key=settings.jwt_key,
        jwks_url=settings.jwks_url,
        secret=settings.jwt_secret,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway=settings.jwt_leeway,
    )
    await verifier.start()
    stack.push_async_callback(verifier.close)
    return Gate(verifier)
