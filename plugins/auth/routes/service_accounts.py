"""Accounts of programs and agents: no password, only API keys."""

from collections.abc import Sequence
from uuid import UUID

from api_shim.paging import Page, PageQuery
from api_shim.problems import NotFound
from api_shim.route import Answer, Call, Route
from plugins.auth.accounts import COLUMNS, Account, account_of
from plugins.auth.live import KEY
from plugins.auth.models import ApiKeyModel, MadeApiKey, NewApiKey, NewServiceAccount, UserModel, user_of
from plugins.auth.parts import Parts
from plugins.auth.routes.api_keys import end_key, keys_of, make_key

__all__ = ["ServiceAccountRoutes"]

_SCOPE = "accounts:manage"
_PATH = "/v1/service-accounts"


class ServiceAccountRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="GET", path=_PATH, handler=self.accounts, scope=_SCOPE, query=PageQuery, answer=Page[UserModel],
                summary="Service accounts",
            ),
            Route(
                method="POST", path=_PATH, handler=self.make, scope=_SCOPE, body=NewServiceAccount, status=201,
                answer=UserModel, summary="Make a service account",
            ),
            Route(
                method="GET", path=f"{_PATH}/{{account:uuid}}", handler=self.account, scope=_SCOPE, answer=UserModel,
                summary="A service account",
            ),
            Route(
                method="DELETE", path=f"{_PATH}/{{account:uuid}}", handler=self.remove, scope=_SCOPE, status=204,
                summary="Put a service account out of use",
            ),
            Route(
                method="GET", path=f"{_PATH}/{{account:uuid}}/api-keys", handler=self.keys, scope=_SCOPE,
                query=PageQuery, answer=Page[ApiKeyModel], summary="A service account's API keys",
            ),
            Route(
                method="POST", path=f"{_PATH}/{{account:uuid}}/api-keys", handler=self.make_key, scope=_SCOPE,
                body=NewApiKey, status=201, answer=MadeApiKey, summary="Make an API key for a service account",
            ),
            Route(
                method="DELETE", path=f"{_PATH}/{{account:uuid}}/api-keys/{{key:uuid}}", handler=self.end_key,
                scope=_SCOPE, status=204, summary="Withdraw a service account's API key",
            ),
        )  # fmt: skip

    async def accounts(self, call: Call) -> Page[UserModel]:
        """Those in use, the oldest first."""
        await self._parts.admin(call)
        keys = call.page.keyset({}, id="a.id")
        rows = await self._parts.context.database.fetch(
            f"SELECT {COLUMNS}, {keys.select} FROM auth.account a"  # noqa: S608
            f" WHERE kind <> 'human' AND disabled IS NULL AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            *keys.arguments,
        )
        return keys.page(rows, lambda row: user_of(account_of(row)))

    async def make(self, call: Call) -> UserModel:
        """It may do nothing until it is made a member of something, and has a key."""
        admin = await self._parts.admin(call)
        async with self._parts.context.database.acquire() as connection, connection.transaction():
            made = await self._parts.accounts.add(
                connection, name=call.body.name, kind=call.body.kind, made_by=admin.id
            )
        return user_of(made)

    async def account(self, call: Call) -> UserModel:
        """In use or not."""
        return user_of(await self._found(call))

    async def remove(self, call: Call) -> Answer:
        """Its keys are void at once. What it has done stays under its name. `/v1/users/{user}:enable` brings it back,
        without keys."""
        parts, found = self._parts, await self._found(call)
        async with parts.context.database.acquire() as connection, connection.transaction():
            await parts.accounts.hold(connection, found.id)
            keys: list[UUID] = await parts.api_keys.of(connection, found.id)
            for key in keys:
                await parts.api_keys.end(connection, found.id, key, call.who.actor)
            if found.disabled is None:
                await parts.accounts.disable(connection, found.id, "removed", call.who.actor)
        await parts.live.end([f"{KEY}{key}" for key in keys])
        return Answer(None, status=204)

    async def keys(self, call: Call) -> Page[ApiKeyModel]:
        """The oldest first."""
        return await keys_of(self._parts, call, (await self._found(call)).id)

    async def make_key(self, call: Call) -> MadeApiKey:
        """Its secret is shown this once."""
        return await make_key(self._parts, call, (await self._found(call)).id)

    async def end_key(self, call: Call) -> Answer:
        """It is void at once."""
        return await end_key(self._parts, call, (await self._found(call)).id)

    async def _found(self, call: Call) -> Account:
        await self._parts.admin(call)
        account = await self._parts.accounts.get(self._parts.context.database, call.path["account"])
        if account.kind == "human":
            raise NotFound("There is no such service account.")
        return account
