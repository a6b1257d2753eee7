"""Accounts, for those who manage them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from api_shim.paging import Page, PageQuery
from api_shim.problems import Conflict, Forbidden
from api_shim.route import Answer, Call, Route
from api_shim.services import Letter
from plugins.auth.accounts import COLUMNS, Account, AddressTaken, account_of
from plugins.auth.live import ACCOUNT, KEY, LOGIN
from plugins.auth.mail import mail
from plugins.auth.models import Invite, LetterModel, Reason, UpdateUser, UserModel, UsersQuery, user_of
from plugins.auth.parts import Parts

__all__ = ["INVITATION_LIFETIME", "UserRoutes"]

INVITATION_LIFETIME = 7 * 86400.0
_SCOPE = "accounts:manage"


class UserRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="GET", path="/v1/users", handler=self.users, scope=_SCOPE, query=UsersQuery,
                answer=Page[UserModel], summary="Accounts",
            ),
            Route(
                method="GET", path="/v1/users/{user:uuid}", handler=self.user, scope=_SCOPE, answer=UserModel,
                summary="An account",
            ),
            Route(
                method="PATCH", path="/v1/users/{user:uuid}", handler=self.update, scope=_SCOPE, body=UpdateUser,
                answer=UserModel, summary="Change an account",
            ),
            Route(
                method="POST", path="/v1/users/{user:uuid}:disable", handler=self.disable, scope=_SCOPE, body=Reason,
                answer=UserModel, summary="Disable an account", problems=(Conflict,),
            ),
            Route(
                method="POST", path="/v1/users/{user:uuid}:enable", handler=self.enable, scope=_SCOPE, answer=UserModel,
                summary="Enable an account",
            ),
            Route(
                method="DELETE", path="/v1/users/{user:uuid}/sessions", handler=self.end_sessions, scope=_SCOPE,
                status=204, summary="End all logins of an account",
            ),
            Route(
                method="POST", path="/v1/auth/invitations", handler=self.invite, scope=_SCOPE, body=Invite, status=202,
                summary="Invite somebody to this server", problems=(AddressTaken,), tag="auth",
            ),
            Route(
                method="GET", path="/v1/auth/letters", handler=self.letters, scope=_SCOPE, query=PageQuery,
                answer=Page[LetterModel], summary="Letters that nothing sent", tag="auth",
            ),
        )  # fmt: skip

    async def users(self, call: Call) -> Page[UserModel]:
        """All kinds of accounts."""
        await self._parts.admin(call)
        query: UsersQuery = call.query
        keys = call.page.keyset({"created": "a.created", "name": "a.name"}, id="a.id", parameter=4)
        rows = await self._parts.context.database.fetch(
            f"SELECT {COLUMNS}, {keys.select} FROM auth.account a"  # noqa: S608
            " WHERE ($1::text IS NULL OR a.kind = $1) AND ($2::bool IS NULL OR (a.disabled IS NOT NULL) = $2)"
            " AND ($3::text IS NULL OR position(lower($3) in lower(a.name || ' ' || a.email)) > 0)"
            f" AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            query.kind, query.disabled, query.q, *keys.arguments,
        )  # fmt: skip
        return keys.page(rows, lambda row: user_of(account_of(row)))

    async def user(self, call: Call) -> UserModel:
        """Any kind of account."""
        await self._parts.admin(call)
        return user_of(await self._parts.accounts.get(self._parts.context.database, call.path["user"]))

    async def update(self, call: Call) -> UserModel:
        """Only the owner says who is an admin."""
        parts = self._parts
        admin = await parts.admin(call)
        async with parts.context.database.acquire() as connection, connection.transaction():
            account = await self._held(connection, admin, call.path["user"])
            if call.body.role is not None and call.body.role != account.role:
                if admin.role != "owner" or account.role == "owner" or account.kind != "human":
                    raise Forbidden("Only the owner says who is an admin, and stays the owner.")
                account = await parts.accounts.set_role(connection, account.id, call.body.role, call.who.actor)
            if call.body.name is not None and call.body.name != account.name:
                account = await parts.accounts.set_name(connection, account.id, call.body.name)
        return user_of(account)

    async def disable(self, call: Call) -> UserModel:
        """Every token and key of it is void at once, and its open sockets are closed. What it has made stays."""
        parts = self._parts
        admin = await parts.admin(call)
        async with parts.context.database.acquire() as connection, connection.transaction():
            account = await self._held(connection, admin, call.path["user"])
            if account.id == admin.id:
                raise Conflict("Nobody disables their own account.")
            account = await parts.accounts.disable(connection, account.id, call.body.reason, call.who.actor)
            logins = await parts.sessions.end(connection, account.id, "disabled", actor=call.who.actor)
            keys = await parts.api_keys.of(connection, account.id)
        await parts.live.end([*(f"{LOGIN}{id}" for id in logins), *_kept(account.id, keys)])
        return user_of(account)

    async def enable(self, call: Call) -> UserModel:
        """Its API keys work again; it has to log in anew."""
        parts = self._parts
        admin = await parts.admin(call)
        async with parts.context.database.acquire() as connection, connection.transaction():
            account = await self._held(connection, admin, call.path["user"])
            if account.disabled is not None:
                account = await parts.accounts.enable(connection, account.id, call.who.actor)
            keys = await parts.api_keys.of(connection, account.id)
        await parts.live.revive(_kept(account.id, keys))
        return user_of(account)

    async def end_sessions(self, call: Call) -> Answer:
        """It has to log in anew everywhere."""
        parts = self._parts
        admin = await parts.admin(call)
        async with parts.context.database.acquire() as connection, connection.transaction():
            account = await self._held(connection, admin, call.path["user"])
            await parts.accounts.rise(connection, account.id)
            ended = await parts.sessions.end(connection, account.id, "ended_by_admin", actor=call.who.actor)
        await parts.live.end([f"{LOGIN}{id}" for id in ended])
        return Answer(None, status=204)

    async def invite(self, call: Call) -> Answer:
        """They get a letter with a link to register by, good for a week."""
        parts = self._parts
        admin = await parts.admin(call)
        if parts.settings.registration == "closed":
            raise Forbidden("Nobody can register at this server.")
        body: Invite = call.body
        async with parts.context.database.acquire() as connection, connection.transaction():
            if await parts.accounts.at(connection, body.email) is not None:
                raise AddressTaken
            data = {"email": body.email, "by": str(admin.id)}
            token = await parts.links.make(connection, "invitation", data=data, lifetime=INVITATION_LIFETIME)
            link = f"{parts.context.public_url}/register?invitation={token}"
            letter = Letter("invitation", body.email, body.name or "", link)
            await mail(parts.context, parts.mail).send(connection, letter)
        return Answer(None, status=202)

    async def letters(self, call: Call) -> Page[LetterModel]:
        """Where nothing sends e-mail, the owner finds here what would have been sent in the last days. The links open
        accounts."""
        admin = await self._parts.admin(call)
        if admin.role != "owner" or self._parts.login_of(call) is None:
            raise Forbidden("Only the owner reads these.")
        keys = call.page.keyset({"created": "created"}, id="id", sort="-created")
        rows = await self._parts.context.database.fetch(
            f"SELECT *, {keys.select} FROM auth.letter WHERE {keys.where}"  # noqa: S608
            f" ORDER BY {keys.order} LIMIT {keys.limit}",
            *keys.arguments,
        )
        return keys.page(
            rows,
            lambda row: LetterModel(
                id=row["id"], kind=row["kind"], to=row["recipient"], link=row["link"], created=row["created"]
            ),
        )

    async def _held(self, connection: Any, admin: Account, id: UUID) -> Account:
        """The account to change. Raises Forbidden for those whom only the owner, or nobody, changes."""
        account = await self._parts.accounts.hold(connection, id)
        if account.admin and admin.role != "owner" and account.id != admin.id:
            raise Forbidden("Only the owner changes the accounts of admins.")
        return account


def _kept(account: UUID, keys: Sequence[UUID]) -> list[str]:
    """What is void while an account is disabled, and good again afterwards."""
    return [f"{ACCOUNT}{account}", *(f"{KEY}{key}" for key in keys)]
