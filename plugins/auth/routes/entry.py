"""Setting up, registering, logging in and out."""

from collections.abc import Sequence

from api_shim.problems import Conflict, FieldError, Forbidden, Invalid
from api_shim.route import Answer, Call, Route
from api_shim.services import Letter
from plugins.auth.accounts import Account, AddressTaken
from plugins.auth.addresses import Address, read_address
from plugins.auth.entrance import AccountDisabled, Entrance, NotVerified, SecondFactorNeeded, WrongPassword
from plugins.auth.links import BadLink
from plugins.auth.live import LOGIN
from plugins.auth.mail import mail
from plugins.auth.models import (
    LoginBody,
    LoginTokens,
    Methods,
    ProviderModel,
    RefreshBody,
    Register,
    Registered,
    SecondFactor,
    SetUp,
    TokenBody,
)
from plugins.auth.parts import Parts
from plugins.auth.second_factor import WrongCode
from plugins.auth.sessions import BadRefreshToken
from plugins.auth.throttle import Rule
from relay.contracts.materi.v1.users_pb2 import UserLoggedOut

__all__ = ["VERIFY_LIFETIME", "EntryRoutes", "RegistrationClosed"]

VERIFY_LIFETIME = 86400.0
_REGISTRATIONS = Rule("register", 20, 900.0)


class RegistrationClosed(Forbidden):
    """Accounts are made by invitation, or not at all: ask an admin of this server."""

    code, title = "registration_closed", "Nobody can register here just so"


class EntryRoutes:
    def __init__(self, parts: Parts, entrance: Entrance) -> None:
        self._parts = parts
        self._entrance = entrance

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="GET", path="/v1/auth/methods", handler=self.methods, public=True, answer=Methods,
                summary="How to get in", tag="auth",
            ),
            Route(
                method="POST", path="/v1/auth/setup", handler=self.set_up, public=True, body=SetUp, status=201,
                answer=LoginTokens, summary="Make the owner's account", problems=(BadLink, Conflict), tag="auth",
            ),
            Route(
                method="POST", path="/v1/auth/register", handler=self.register, public=True, body=Register, status=201,
                answer=Registered, summary="Make an account", tag="auth", cost=5,
                problems=(RegistrationClosed, AddressTaken, BadLink),
            ),
            Route(
                method="POST", path="/v1/auth/login", handler=self.login, public=True, body=LoginBody,
                answer=LoginTokens, summary="Log in", tag="auth", max_body=1 << 14,
                problems=(WrongPassword, SecondFactorNeeded, AccountDisabled, NotVerified),
            ),
            Route(
                method="POST", path="/v1/auth/login:verify", handler=self.second_factor, public=True, body=SecondFactor,
                answer=LoginTokens, summary="Send the second factor", tag="auth", problems=(BadLink, WrongCode),
            ),
            Route(
                method="POST", path="/v1/auth/refresh", handler=self.refresh, public=True, body=RefreshBody,
                answer=LoginTokens, summary="Get the next access token", tag="auth", problems=(BadRefreshToken,),
            ),
            Route(
                method="POST", path="/v1/auth/logout", handler=self.logout, scope="account:write", status=204,
                summary="End this login", tag="auth",
            ),
            Route(
                method="POST", path="/v1/auth/revoke", handler=self.revoke, public=True, body=TokenBody, status=204,
                summary="End the login of a refresh token", tag="auth",
            ),
        )  # fmt: skip

    async def methods(self, call: Call) -> Methods:
        """What a login page shows. The owner is made by the link that the server prints while it has none."""
        parts = self._parts
        return Methods(
            registration=parts.settings.registration,
            set_up=await parts.accounts.owned(parts.context.database),
            password_min=parts.settings.password_min,
            providers=[
                ProviderModel(
                    name=one.provider.name,
                    title=one.provider.title or one.provider.name,
                    start=f"{parts.context.public_url}/v1/auth/oidc/{one.provider.name}/start",
                )
                for one in parts.providers.values()
            ],
        )

    async def set_up(self, call: Call) -> LoginTokens:
        """The link is in the server's log until there is an owner; it works once."""
        parts, body = self._parts, call.body
        address = read_address(body.email)
        await parts.links.read(parts.context.database, body.token, "setup")
        parts.passwords.require_good(body.password, "/password", body.email, body.name)
        password = await parts.passwords.hash(body.password)
        async with parts.context.database.acquire() as connection, connection.transaction():
            await parts.links.use(connection, body.token, "setup")
            if await parts.accounts.owned(connection):
                raise Conflict("There is an owner already.")
            owner = await parts.accounts.add(
                connection, name=body.name, address=address, password=password, role="owner", verified=True
            )
        return await self._entrance.begin(owner.id, "setup", call.address, _agent(call))

    async def register(self, call: Call) -> Registered:
        """Answers with a login, or, where addresses have to be verified, with a letter: then the answer is the same
        for an address that has an account."""
        parts, body = self._parts, call.body
        invited = await self._invitation(body)
        address = read_address(body.email)
        await self._entrance.attempt(_REGISTRATIONS, call.address)
        parts.passwords.require_good(body.password, "/password", body.email, body.name)
        password = await parts.passwords.hash(body.password)
        verify = parts.settings.verify_email and not invited
        try:
            account = await self._add(body, address, password, invited)
        except AddressTaken:
            if not verify:
                raise
            await self._tell_owner(body.email)
            return Registered(verify_email=True)
        if verify:
            return Registered(verify_email=True)
        login = await self._entrance.begin(account.id, "register", call.address, _agent(call))
        return Registered(verify_email=False, login=login)

    async def _invitation(self, body: Register) -> bool:
        parts = self._parts
        if body.invitation is not None and parts.settings.registration != "closed":
            link = await parts.links.read(parts.context.database, body.invitation, "invitation")
            if read_address(link.data["email"]).key != read_address(body.email).key:
                detail = "The invitation is for another address."
                raise Invalid(errors=[FieldError(pointer="/email", code="not_invited", detail=detail)])
            return True
        if parts.settings.registration != "open":
            raise RegistrationClosed
        return False

    async def _add(self, body: Register, address: Address, password: str, invited: bool) -> Account:
        parts = self._parts
        async with parts.context.database.acquire() as connection, connection.transaction():
            if invited and body.invitation is not None:
                await parts.links.use(connection, body.invitation, "invitation")
            account = await parts.accounts.add(
                connection, name=body.name, address=address, password=password, verified=invited
            )
            if parts.settings.verify_email and not invited:
                token = await parts.links.make(connection, "verify_email", account=account.id, lifetime=VERIFY_LIFETIME)
                link = f"{parts.context.public_url}/verify?token={token}"
                letter = Letter("verify_email", account.email, account.name, link)
                await mail(parts.context, parts.mail).send(connection, letter)
        return account

    async def _tell_owner(self, email: str) -> None:
        parts = self._parts
        async with parts.context.database.acquire() as connection, connection.transaction():
            account = await parts.accounts.at(connection, email)
            if account is not None:
                letter = Letter("address_taken", account.email, account.name, f"{parts.context.public_url}/login")
                await mail(parts.context, parts.mail).send(connection, letter)

    async def login(self, call: Call) -> LoginTokens:
        """With e-mail address and password. After a few wrong attempts each further one has to wait longer."""
        body = call.body
        return await self._entrance.login(body.email, body.password, call.address, _agent(call))

    async def second_factor(self, call: Call) -> LoginTokens:
        """`challenge` is what the login was answered with."""
        body = call.body
        return await self._entrance.second_factor(body.challenge, body.code, call.address, _agent(call))

    async def refresh(self, call: Call) -> LoginTokens:
        """Each refresh token works once. One that comes again within a few seconds is answered the same again, for an
        answer may be lost; one that comes later ends the login: somebody else has it."""
        return await self._entrance.refresh(call.body.refresh_token)

    async def logout(self, call: Call) -> Answer:
        """Its tokens are void at once, and sockets that were opened with them are closed."""
        parts = self._parts
        account, login = await parts.caller(call), parts.login_of(call)
        if login is None:
            raise Conflict("This request came by no login.")
        async with parts.context.database.acquire() as connection, connection.transaction():
            ended = await parts.sessions.end(connection, account.id, "logout", only=login, event=False)
            if ended:
                event = UserLoggedOut(user_id=str(account.id), session_id=str(login))
                await parts.context.outbox.add(connection, event, subject=str(account.id), actor=str(account.id))
        await parts.live.end([f"{LOGIN}{login}"])
        return Answer(None, status=204)

    async def revoke(self, call: Call) -> Answer:
        """For who has no access token any more. A token that is none is answered the same (RFC 7009)."""
        parts = self._parts
        try:
            login = parts.sessions.session_of(call.body.token)
        except BadRefreshToken:
            return Answer(None, status=204)
        async with parts.context.database.acquire() as connection, connection.transaction():
            account = await connection.fetchval("SELECT account FROM auth.session WHERE id = $1", login)
            ended = await parts.sessions.end(connection, account, "revoked", only=login) if account else []
        await parts.live.end([f"{LOGIN}{id}" for id in ended])
        return Answer(None, status=204)


def _agent(call: Call) -> str:
    agent = call.request.headers.get("User-Agent", "").replace("\0", "")
    return agent.encode("utf-8", "replace").decode()[:200]
