"""One's own account and its logins."""

from collections.abc import Sequence

from api_shim.paging import Page, PageQuery
from api_shim.problems import NotFound, PreconditionFailed
from api_shim.route import Answer, Call, Route
from plugins.auth.accounts import Account
from plugins.auth.live import LOGIN
from plugins.auth.models import Me, SessionModel, UpdateMe, me_of
from plugins.auth.parts import Parts

__all__ = ["ProfileRoutes"]


class ProfileRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="GET", path="/v1/me", handler=self.me, scope="account:read", answer=Me, summary="Who I am",
            ),
            Route(
                method="PATCH", path="/v1/me", handler=self.update, scope="account:write", body=UpdateMe, answer=Me,
                summary="Change my profile", problems=(PreconditionFailed,),
            ),
            Route(
                method="GET", path="/v1/me/sessions", handler=self.sessions, scope="account:read", query=PageQuery,
                answer=Page[SessionModel], summary="Where I am logged in",
            ),
            Route(
                method="DELETE", path="/v1/me/sessions", handler=self.end_all, scope="account:write", status=204,
                summary="End all my logins",
            ),
            Route(
                method="DELETE", path="/v1/me/sessions/{session:uuid}", handler=self.end, scope="account:write",
                status=204, summary="End one of my logins",
            ),
        )  # fmt: skip

    async def me(self, call: Call) -> Answer:
        """The account that the token belongs to."""
        return await self._answer(await self._parts.caller(call))

    async def update(self, call: Call) -> Answer:
        """With `If-Match`, only the version that was read is changed."""
        parts, id = self._parts, (await self._parts.caller(call)).id
        async with parts.context.database.acquire() as connection, connection.transaction():
            account = await parts.accounts.hold(connection, id)
            if "If-Match" in call.request.headers:
                call.require_match(_etag(account, await parts.second_factors.on(connection, id)))
            if call.body.name is not None and call.body.name != account.name:
                account = await parts.accounts.set_name(connection, account.id, call.body.name)
        return await self._answer(account)

    async def _answer(self, account: Account) -> Answer:
        parts = self._parts
        second_factor = await parts.second_factors.on(parts.context.database, account.id)
        return Answer(me_of(account, second_factor), etag=_etag(account, second_factor))

    async def sessions(self, call: Call) -> Page[SessionModel]:
        """Logins that are good, the oldest first."""
        account, current = await self._parts.caller(call), self._parts.login_of(call)
        keys = call.page.keyset({}, id="id", parameter=2)
        rows = await self._parts.context.database.fetch(
            f"SELECT *, {keys.select} FROM auth.session WHERE account = $1 AND ended IS NULL AND expires > now()"  # noqa: S608
            f" AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            account.id, *keys.arguments,
        )  # fmt: skip
        return keys.page(
            rows,
            lambda row: SessionModel(
                id=row["id"],
                method=row["method"],
                address=row["address"],
                agent=row["agent"],
                created=row["created"],
                refreshed=row["refreshed"],
                expires=row["expires"],
                current=row["id"] == current,
            ),
        )

    async def end_all(self, call: Call) -> Answer:
        """This one too. Tokens are void at once, and open sockets are closed. API keys stay."""
        parts = self._parts
        account = await parts.caller(call)
        async with parts.context.database.acquire() as connection, connection.transaction():
            await parts.accounts.rise(connection, account.id)
            ended = await parts.sessions.end(connection, account.id, "all_ended")
        await parts.live.end([f"{LOGIN}{id}" for id in ended])
        return Answer(None, status=204)

    async def end(self, call: Call) -> Answer:
        """Its tokens are void at once, and sockets that were opened with them are closed."""
        parts = self._parts
        account = await parts.caller(call)
        async with parts.context.database.acquire() as connection, connection.transaction():
            ended = await parts.sessions.end(connection, account.id, "ended_by_owner", only=call.path["session"])
        if not ended:
            raise NotFound("There is no such login.")
        await parts.live.end([f"{LOGIN}{id}" for id in ended])
        return Answer(None, status=204)


def _etag(account: Account, second_factor: bool) -> str:
    return f"{account.version}-{int(second_factor)}"
