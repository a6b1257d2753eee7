"""The published keys, their rotation, and what a token says for those who can't check it themselves."""

from collections.abc import Sequence

from api_shim.problems import FieldError, Invalid
from api_shim.route import Answer, Call, Route
from plugins.auth.models import Introspection, SigningKeyModel
from plugins.auth.parts import Parts
from plugins.auth.signing import PUBLISHED
from relay.errors import Deny

__all__ = ["SigningRoutes"]

_FORM = "application/x-www-form-urlencoded"


class SigningRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="GET", path="/.well-known/jwks.json", handler=self.published, public=True, answer=dict,
                summary="The keys that our tokens are checked with (RFC 7517)", tag="auth",
            ),
            Route(
                method="GET", path="/v1/auth/keys", handler=self.keys, scope="keys:manage", tag="auth",
                answer=list[SigningKeyModel], summary="The signing keys and their states",
            ),
            Route(
                method="POST", path="/v1/auth/keys:rotate", handler=self.rotate, scope="keys:manage",
                answer=list[SigningKeyModel], summary="Sign with the next key from now on", tag="auth",
            ),
            Route(
                method="POST", path="/v1/auth/introspect", handler=self.introspect, scope="tokens:introspect", raw=True,
                consumes=(_FORM,), answer=Introspection, summary="What a token says (RFC 7662)", tag="auth",
                max_body=1 << 16,
            ),
        )  # fmt: skip

    async def published(self, call: Call) -> Answer:
        """`next` is among them before anything is signed with it, and a key stays for as long as something that it
        signed is valid."""
        headers = {"Cache-Control": f"public, max-age={int(PUBLISHED)}"}
        return Answer(self._parts.ring.published, headers=headers, media_type="application/json")

    async def keys(self, call: Call) -> list[SigningKeyModel]:
        """Public halves are at /.well-known/jwks.json; private ones nowhere."""
        await self._parts.admin(call)
        return self._listed()

    async def rotate(self, call: Call) -> list[SigningKeyModel]:
        """Happens by itself when a key has its age. Tokens signed with the present key stay valid."""
        await self._parts.admin(call)
        await self._parts.ring.rotate()
        return self._listed()

    async def introspect(self, call: Call) -> Introspection:
        """For other services: send `token=…` with the API key of a service account. Whatever is wrong with the token,
        the answer is `active: false`."""
        parts = self._parts
        if call.who.kind != "service":
            await parts.admin(call)
        token = (await call.request.post()).get("token")
        if not isinstance(token, str) or not token:
            raise Invalid(errors=[FieldError(pointer="/token", code="missing", detail="This field is needed.")])
        try:
            claimed = await parts.tokens.read(token)
            await parts.live.require(claimed.principal.session, claimed.epoch)
        except Deny:
            return Introspection(active=False)
        principal = claimed.principal
        return Introspection(
            active=True,
            sub=principal.actor,
            username=principal.name,
            kind=principal.kind,
            scope=None if principal.scopes is None else " ".join(sorted(principal.scopes)),
            sid=principal.session,
            exp=int(claimed.expires),
        )

    def _listed(self) -> list[SigningKeyModel]:
        return [
            SigningKeyModel(kid=key.kid, state=key.state, created=key.created, activated=key.activated)
            for key in self._parts.ring.all()
        ]
