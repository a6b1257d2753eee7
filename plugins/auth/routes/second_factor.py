"""Switching the second factor on and off."""

from collections.abc import Sequence

from api_shim.route import Answer, Call, Route
from plugins.auth.entrance import Entrance
from plugins.auth.models import PasswordOnly, Recovery, TotpCode, TotpEnrolment
from plugins.auth.parts import Parts
from plugins.auth.second_factor import NoSecondFactor, WrongCode
from plugins.auth.throttle import Rule

__all__ = ["SecondFactorRoutes"]

_CODES = Rule("enrol", 5, 300.0)


class SecondFactorRoutes:
    def __init__(self, parts: Parts, entrance: Entrance) -> None:
        self._parts = parts
        self._entrance = entrance

    def routes(self) -> Sequence[Route]:
        """The routes."""
        return (
            Route(
                method="POST", path="/v1/me/totp", handler=self.enrol, scope="account:write", body=PasswordOnly,
                answer=TotpEnrolment, summary="Begin with an authenticator app", problems=(NoSecondFactor,),
            ),
            Route(
                method="POST", path="/v1/me/totp:confirm", handler=self.confirm, scope="account:write", body=TotpCode,
                answer=Recovery, summary="Switch the second factor on", problems=(NoSecondFactor, WrongCode),
            ),
            Route(
                method="POST", path="/v1/me/totp:disable", handler=self.disable, scope="account:write",
                body=PasswordOnly, status=204, summary="Switch the second factor off",
            ),
            Route(
                method="POST", path="/v1/me/recovery-codes", handler=self.recovery, scope="account:write",
                body=PasswordOnly, answer=Recovery, summary="Make new recovery codes", problems=(NoSecondFactor,),
            ),
        )  # fmt: skip

    async def enrol(self, call: Call) -> TotpEnrolment:
        """Nothing changes until a code was confirmed."""
        account = await self._parts.caller(call)
        await self._entrance.prove(account, call.body.password)
        name = account.email or account.name
        secret, uri = await self._parts.second_factors.enrol(self._parts.context.database, account.id, name)
        return TotpEnrolment(secret=secret, uri=uri)

    async def confirm(self, call: Call) -> Recovery:
        """From now on logging in takes a code. The recovery codes are shown this once."""
        account = await self._parts.caller(call)
        await self._entrance.attempt(_CODES, str(account.id))
        async with self._parts.context.database.acquire() as connection, connection.transaction():
            codes = await self._parts.second_factors.confirm(connection, account.id, call.body.code)
        await self._parts.throttle.forget(_CODES, str(account.id))
        return Recovery(recovery_codes=codes)

    async def disable(self, call: Call) -> Answer:
        """Logging in takes the password alone again."""
        account = await self._parts.caller(call)
        await self._entrance.prove(account, call.body.password)
        async with self._parts.context.database.acquire() as connection, connection.transaction():
            await self._parts.second_factors.off(connection, account.id)
        return Answer(None, status=204)

    async def recovery(self, call: Call) -> Recovery:
        """Those made before are void."""
        account = await self._parts.caller(call)
        await self._entrance.prove(account, call.body.password)
        async with self._parts.context.database.acquire() as connection, connection.transaction():
            codes = await self._parts.second_factors.recovery(connection, account.id)
        return Recovery(recovery_codes=codes)
