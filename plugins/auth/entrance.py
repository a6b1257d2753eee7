"""Getting in: what a password, a code or a provider's word leads to, how often one may try, what is told of it."""

import time
from uuid import UUID

from api_shim.problems import BadRequest, FieldError, Forbidden, Invalid, TooMany, Unauthorized
from plugins.auth.accounts import Account
from plugins.auth.addresses import read_address
from plugins.auth.links import BadLink
from plugins.auth.live import LOGIN
from plugins.auth.models import LoginTokens, me_of
from plugins.auth.parts import Parts
from plugins.auth.second_factor import WrongCode
from plugins.auth.sessions import BadRefreshToken, Login, Reused
from plugins.auth.throttle import Rule
from relay.contracts.materi.v1.users_pb2 import PasswordChanged, UserLoginFailed
from relay.grants import Principal
from relay.types import Actor

__all__ = ["AccountDisabled", "Entrance", "NotVerified", "SecondFactorNeeded", "WrongPassword"]

CHALLENGE_LIFETIME = 300.0
_CODES = Rule("code", 5, 300.0)


class WrongPassword(Unauthorized):
    """There is no account with this e-mail address and password. Which of the two is wrong nobody is told."""

    code, title = "wrong_password", "The e-mail address or the password is wrong"


class AccountDisabled(Forbidden):
    """The account was disabled by an admin, who can enable it again."""

    code, title = "account_disabled", "This account is disabled"


class NotVerified(Forbidden):
    """The account's e-mail address was not verified yet: follow the link in the letter."""

    code, title = "email_not_verified", "The e-mail address has to be verified first"


class SecondFactorNeeded(Unauthorized):
    """The password is right, and this account takes a code too: send it with `challenge`, within five minutes."""

    code, title = "second_factor_needed", "A second factor is needed"


class Entrance:
    """Every way in ends in `begin`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        settings = parts.settings
        self._by_account = Rule("account", settings.attempts_account, settings.wait_account)
        self._by_address = Rule("address", settings.attempts_address, settings.wait_address)

    # -- passwords --

    async def login(self, email: str, password: str, address: str, agent: str) -> LoginTokens:
        """By password. Raises WrongPassword, SecondFactorNeeded, AccountDisabled, NotVerified, TooMany."""
        parts = self._parts
        whose = _key(email)
        await self.attempt(self._by_address, address)
        await self.attempt(self._by_account, whose)
        database = parts.context.database
        account = await parts.accounts.at(database, email)
        right = await self.check_password(account, password)
        if account is None or not right:
            await self._failed(account, address, "password" if account else "unknown")
            raise WrongPassword
        await parts.throttle.forget(self._by_account, whose)
        await parts.throttle.undo(self._by_address, address)
        if await parts.second_factors.on(database, account.id):
            self._refuse_closed(account)
            challenge = await parts.links.make(
                database, "second_factor", account=account.id, lifetime=CHALLENGE_LIFETIME
            )
            parts.metrics.logins.labels("password", "second_factor").inc()
            raise SecondFactorNeeded(challenge=challenge, methods=["totp", "recovery_code"])
        return await self.begin(account.id, "password", address, agent)

    async def second_factor(self, challenge: str, code: str, address: str, agent: str) -> LoginTokens:
        """The code that goes with a password. Raises BadLink, WrongCode, TooMany."""
        parts = self._parts
        link = await parts.links.read(parts.context.database, challenge, "second_factor")
        if link.account is None:
            raise BadLink
        await self.attempt(_CODES, str(link.account))
        try:
            async with parts.context.database.acquire() as connection, connection.transaction():
                await parts.links.use(connection, challenge, "second_factor")
                method = await parts.second_factors.check(connection, link.account, code)
                login = await self._begin(connection, link.account, method, address, agent)
        except WrongCode:
            await self._failed(await parts.accounts.get(parts.context.database, link.account), address, "second_factor")
            raise
        await parts.throttle.forget(_CODES, str(link.account))
        return await self._answer(login, method)

    async def check_password(self, account: Account | None, password: str) -> bool:
        """Whether it is the account's; takes as long for no account. Hashes anew what was hashed more weakly."""
        parts = self._parts
        started = time.perf_counter()
        checked = await parts.passwords.check(account.password if account else None, password)
        parts.metrics.hashing.observe(time.perf_counter() - started)
        if account is not None and checked.stale:
            better = await parts.passwords.hash(password)
            await parts.context.database.execute(
                "UPDATE auth.account SET password = $3 WHERE id = $1 AND password = $2",
                account.id, account.password, better,
            )  # fmt: skip
        return checked.right

    async def prove(self, account: Account, password: str, pointer: str = "/password") -> None:
        """Have somebody who is in say the password again. Raises Invalid, TooMany."""
        rule = Rule("proof", self._by_account.free, self._by_account.longest)
        await self.attempt(rule, str(account.id))
        if not await self.check_password(account, password):
            raise Invalid(errors=[FieldError(pointer=pointer, code="wrong", detail="Is not your password.")])
        await self._parts.throttle.forget(rule, str(account.id))

    async def set_password(self, account: Account, password: str, *, keep: UUID | None, pointer: str) -> None:
        """Another password; every login ends but `keep`, and so does every link to set another. Raises Invalid."""
        parts = self._parts
        parts.passwords.require_good(password, pointer, account.email, account.name)
        hashed = await parts.passwords.hash(password)
        async with parts.context.database.acquire() as connection, connection.transaction():
            await parts.accounts.hold(connection, account.id)
            await parts.accounts.set_password(connection, account.id, hashed)
            await parts.links.void(connection, account.id, "reset_password", "second_factor")
            ended = await parts.sessions.end(connection, account.id, "password_changed", but=keep)
            event = PasswordChanged(user_id=str(account.id))
            await parts.context.outbox.add(connection, event, subject=str(account.id), actor=str(account.id))
        await parts.live.end([f"{LOGIN}{id}" for id in ended])

    async def attempt(self, rule: Rule, whose: str) -> None:
        """Count a try. Raises TooMany."""
        wait = await self._parts.throttle.attempt(rule, whose)
        if wait > 0:
            self._parts.metrics.throttled.labels(rule.name).inc()
            raise TooMany("Too many attempts.", retry_after=wait)

    # -- logins --

    async def begin(self, account: UUID, method: str, address: str, agent: str) -> LoginTokens:
        """A login of somebody who has proved who they are. Raises AccountDisabled, NotVerified."""
        async with self._parts.context.database.acquire() as connection, connection.transaction():
            login = await self._begin(connection, account, method, address, agent)
        return await self._answer(login, method)

    async def _begin(self, connection, account: UUID, method: str, address: str, agent: str) -> Login:  # type: ignore[no-untyped-def]
        # Held, so that it can't be disabled in between and keep this login.
        held = await self._parts.accounts.hold(connection, account)
        self._refuse_closed(held)
        return await self._parts.sessions.begin(connection, held, method, address, agent)

    async def refresh(self, token: str) -> LoginTokens:
        """Go on with a login. Raises BadRefreshToken, which may have ended it."""
        parts = self._parts
        async with parts.context.database.acquire() as connection, connection.transaction():
            login = await parts.sessions.refresh(connection, token)
        if isinstance(login, Reused):
            parts.metrics.reused.inc()
            parts.context.log.warning("a refresh token came twice: its login was ended", extra=login._asdict())
            await parts.live.end([f"{LOGIN}{login.session}"])
            raise BadRefreshToken
        return await self._answer(login, "")

    async def _answer(self, login: Login, method: str) -> LoginTokens:
        parts, account = self._parts, login.account
        if method:
            parts.metrics.logins.labels(method.partition(":")[0], "success").inc()
        principal = Principal(Actor(str(account.id)), account.name, None, None, f"{LOGIN}{login.id}", account.kind)
        lifetime = parts.settings.access_lifetime
        second_factor = await parts.second_factors.on(parts.context.database, account.id)
        return LoginTokens(
            access_token=parts.tokens.mint(principal, account.epoch, lifetime),
            expires_in=int(lifetime),
            refresh_token=login.refresh_token,
            session=login.id,
            user=me_of(account, second_factor),
        )

    async def _failed(self, account: Account | None, address: str, reason: str) -> None:
        parts = self._parts
        parts.metrics.logins.labels("password", reason).inc()
        event = UserLoginFailed(user_id=str(account.id) if account else "", address=address, reason=reason)
        async with parts.context.database.acquire() as connection, connection.transaction():
            await parts.context.outbox.add(connection, event, subject=event.user_id or "unknown")

    def _refuse_closed(self, account: Account) -> None:
        if account.disabled is not None:
            self._parts.metrics.logins.labels("any", "disabled").inc()
            raise AccountDisabled
        if self._parts.settings.verify_email and account.email and account.email_verified is None:
            raise NotVerified
        if account.kind != "human":
            raise BadRequest("A service account has API keys, and does not log in.")


def _key(email: str) -> str:
    """Whose attempts these are: however the address is written, and whether anybody has it."""
    try:
        return read_address(email).key
    except ValueError:
        return email
