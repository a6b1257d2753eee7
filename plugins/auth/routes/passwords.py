"""Passwords that are forgotten or changed, and addresses that are verified."""

from collections.abc import Sequence
from uuid import UUID

from api_shim.problems import Conflict
from api_shim.route import Answer, Call, Route
from api_shim.services import Letter
from plugins.auth.entrance import Entrance
from plugins.auth.links import BadLink
from plugins.auth.live import KEY
from plugins.auth.mail import mail
from plugins.auth.models import ChangePassword, Email, ResetPassword, TokenBody
from plugins.auth.parts import Parts
from plugins.auth.routes.entry import VERIFY_LIFETIME
from plugins.auth.throttle import Rule
from relay.tasks import spawn

__all__ = ["RESET_LIFETIME", "PasswordRoutes"]

RESET_LIFETIME = 3600.0
_LETTERS = Rule("letters", 5, 900.0)


class PasswordRoutes:
    def __init__(self, parts: Parts, entrance: Entrance) -> None:
        self._parts = parts
        self._entrance = entrance

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="POST", path="/v1/auth/password:forgot", handler=self.forgot, public=True, body=Email,
                status=202, summary="Have a link sent to set another password", tag="auth", cost=5,
            ),
            Route(
                method="POST", path="/v1/auth/password:reset", handler=self.reset, public=True, body=ResetPassword,
                status=204, summary="Set another password by a link", tag="auth", cost=5, problems=(BadLink,),
            ),
            Route(
                method="POST", path="/v1/auth/password:change", handler=self.change, scope="account:write",
                body=ChangePassword, status=204, summary="Change the password", tag="auth", problems=(Conflict,),
            ),
            Route(
                method="POST", path="/v1/auth/email:send", handler=self.send, scope="account:write", status=202,
                summary="Have a link sent to verify the address", tag="auth", problems=(Conflict,),
            ),
            Route(
                method="POST", path="/v1/auth/email:verify", handler=self.verify, public=True, body=TokenBody,
                status=204, summary="Verify an address by a link", tag="auth", problems=(BadLink,),
            ),
        )  # fmt: skip

    async def forgot(self, call: Call) -> Answer:
        """Answers the same, and as fast, whether there is such an account or not."""
        await self._entrance.attempt(_LETTERS._replace(name="forgot", free=20), call.address)
        spawn("send a reset link", self._send_reset(call.body.email))
        return Answer(None, status=202)

    async def _send_reset(self, email: str) -> None:
        parts = self._parts
        account = await parts.accounts.at(parts.context.database, email)
        # Who is flooded is not told either: nothing more is sent for a while.
        if account is None or await parts.throttle.attempt(_LETTERS, str(account.id)) > 0:
            return
        async with parts.context.database.acquire() as connection, connection.transaction():
            token = await parts.links.make(connection, "reset_password", account=account.id, lifetime=RESET_LIFETIME)
            link = f"{parts.context.public_url}/reset?token={token}"
            # To the address that its owner gave, not to the one that was typed just now.
            letter = Letter("reset_password", account.email, account.name, link)
            await mail(parts.context, parts.mail).send(connection, letter)

    async def reset(self, call: Call) -> Answer:
        """The link works once, for an hour. Every login of the account ends. A second factor stays, unless nobody had
        verified the address before: then whoever made the account may have been somebody else, and keeps nothing of
        it."""
        parts, body = self._parts, call.body
        database = parts.context.database
        link = await parts.links.read(database, body.token, "reset_password")
        if link.account is None:
            raise BadLink
        account = await parts.accounts.get(database, link.account)
        parts.passwords.require_good(body.password, "/password", account.email, account.name)
        await parts.links.use(database, body.token, "reset_password")
        if account.email_verified is None:
            await self._evict(link.account)
        await self._entrance.set_password(account, body.password, keep=None, pointer="/password")
        return Answer(None, status=204)

    async def change(self, call: Call) -> Answer:
        """Every other login of the account ends. An account that came from a provider has no password: have a link
        sent to set the first one."""
        account = await self._parts.caller(call)
        if account.password is None:
            raise Conflict("This account has no password yet.")
        await self._entrance.prove(account, call.body.password)
        keep = self._parts.login_of(call)
        await self._entrance.set_password(account, call.body.new_password, keep=keep, pointer="/new_password")
        return Answer(None, status=204)

    async def send(self, call: Call) -> Answer:
        """The link is good for a day."""
        parts = self._parts
        account = await parts.caller(call)
        if account.email_verified is not None or not account.email:
            raise Conflict("There is nothing to verify.")
        await self._entrance.attempt(_LETTERS, str(account.id))
        async with parts.context.database.acquire() as connection, connection.transaction():
            token = await parts.links.make(connection, "verify_email", account=account.id, lifetime=VERIFY_LIFETIME)
            link = f"{parts.context.public_url}/verify?token={token}"
            letter = Letter("verify_email", account.email, account.name, link)
            await mail(parts.context, parts.mail).send(connection, letter)
        return Answer(None, status=202)

    async def verify(self, call: Call) -> Answer:
        """The link works once."""
        parts = self._parts
        async with parts.context.database.acquire() as connection, connection.transaction():
            link = await parts.links.use(connection, call.body.token, "verify_email")
            if link.account is None:
                raise BadLink
            await parts.accounts.verify(connection, link.account)
        return Answer(None, status=204)

    async def _evict(self, account: UUID) -> None:
        parts = self._parts
        async with parts.context.database.acquire() as connection, connection.transaction():
            await parts.accounts.verify(connection, account)
            await parts.identities.unlink(connection, account)
            await parts.second_factors.off(connection, account)
            keys = await parts.api_keys.of(connection, account)
            for key in keys:
                await parts.api_keys.end(connection, account, key, str(account))
        await parts.live.end([f"{KEY}{key}" for key in keys])
