"""One's own API keys."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api_shim.paging import Page, PageQuery
from api_shim.problems import FieldError, Forbidden, Invalid, NotFound
from api_shim.route import Answer, Call, Route
from plugins.auth.accounts import moment
from plugins.auth.live import KEY
from plugins.auth.models import ApiKeyModel, MadeApiKey, NewApiKey
from plugins.auth.parts import Parts

__all__ = ["ApiKeyRoutes", "end_key", "keys_of", "make_key"]


class ApiKeyRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="GET", path="/v1/me/api-keys", handler=self.keys, scope="account:read", query=PageQuery,
                answer=Page[ApiKeyModel], summary="My API keys",
            ),
            Route(
                method="POST", path="/v1/me/api-keys", handler=self.make, scope="account:write", body=NewApiKey,
                status=201, answer=MadeApiKey, summary="Make an API key",
            ),
            Route(
                method="DELETE", path="/v1/me/api-keys/{key:uuid}", handler=self.end, scope="account:write", status=204,
                summary="Withdraw an API key",
            ),
        )  # fmt: skip

    async def keys(self, call: Call) -> Page[ApiKeyModel]:
        """The oldest first."""
        return await keys_of(self._parts, call, (await self._parts.caller(call)).id)

    async def make(self, call: Call) -> MadeApiKey:
        """It acts for you, with the scopes that you give it or with none left out. Its secret is shown this once. Only
        a login makes keys: a key that leaked makes no further ones."""
        account = await self._parts.caller(call)
        if self._parts.login_of(call) is None:
            raise Forbidden("Log in to make API keys.")
        return await make_key(self._parts, call, account.id)

    async def end(self, call: Call) -> Answer:
        """It is void at once, and sockets that were opened with it are closed."""
        account = await self._parts.caller(call)
        return await end_key(self._parts, call, account.id)


async def keys_of(parts: Parts, call: Call, account: UUID) -> Page[ApiKeyModel]:
    """A page of an account's keys."""
    keys = call.page.keyset({}, id="id", parameter=2)
    rows = await parts.context.database.fetch(
        f"SELECT *, {keys.select} FROM auth.api_key WHERE account = $1 AND ended IS NULL"  # noqa: S608
        f" AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
        account, *keys.arguments,
    )  # fmt: skip
    return keys.page(rows, _model)


async def make_key(parts: Parts, call: Call, account: UUID) -> MadeApiKey:
    """A new key of an account. Raises Invalid, Forbidden."""
    body: NewApiKey = call.body
    expires = body.expires
    if expires is not None:
        if expires.tzinfo is None:
            expires = expires.replace(tzinfo=UTC)
        if expires <= moment(parts.context.clock) or expires.year > _LAST_YEAR:
            detail = "Must be in the future, and a date that there will be."
            raise Invalid(errors=[FieldError(pointer="/expires", code="past", detail=detail)])
    mine = call.who.scopes
    if mine is not None and (body.scopes is None or not set(body.scopes) <= mine):
        raise Forbidden("A key can't have scopes that you have not.")
    async with parts.context.database.acquire() as connection, connection.transaction():
        made = await parts.api_keys.make(connection, account, body.name, body.scopes, expires, call.who.actor)
    return MadeApiKey(token=made.token, key=_model(made.key._asdict()))


async def end_key(parts: Parts, call: Call, account: UUID) -> Answer:
    """Withdraw the key that the path names. Raises NotFound."""
    key = call.path["key"]
    async with parts.context.database.acquire() as connection, connection.transaction():
        ended = await parts.api_keys.end(connection, account, key, call.who.actor)
    if not ended:
        raise NotFound("There is no such API key.")
    await parts.live.end([f"{KEY}{key}"])
    return Answer(None, status=204)


_LAST_YEAR = 9000
"""PostgreSQL and Python agree about dates until then, in any time zone."""


def _model(row: Any) -> ApiKeyModel:
    expires: datetime | None = row["expires"]
    return ApiKeyModel(
        id=row["id"],
        name=row["name"],
        prefix=f"mk_{row['prefix']}",
        scopes=row["scopes"],
        expires=expires,
        used=row["used"],
        created=row["created"],
    )
