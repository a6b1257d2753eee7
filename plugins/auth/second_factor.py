"""The second factor: an authenticator app, and recovery codes for whoever lost it. Every code is good once."""

import base64
from collections.abc import Callable
from typing import Any
from uuid import UUID

from api_shim.problems import Conflict, Invalid
from plugins.auth import totp
from plugins.auth.accounts import moment
from plugins.auth.seal import Seal

__all__ = ["NoSecondFactor", "SecondFactors", "WrongCode"]


class WrongCode(Invalid):
    """The code is none, has been used, or is too old. Take the one that the app shows now."""

    code, title = "wrong_code", "This code does not work"


class NoSecondFactor(Conflict):
    """There is no second factor to confirm, or it is confirmed already."""

    code, title = "no_second_factor", "There is no second factor to do this with"


class SecondFactors:
    """All in the caller's transaction. `issuer`: what the app calls us."""

    def __init__(self, seal: Seal, key: bytes, issuer: str, clock: Callable[[], float]) -> None:
        self._seal = seal
        self._key = key
        self._issuer = issuer
        self._clock = clock

    async def on(self, connection: Any, account: UUID) -> bool:
        """Whether logging in takes a code."""
        return bool(
            await connection.fetchval(
                "SELECT EXISTS (SELECT FROM auth.totp WHERE account = $1 AND confirmed IS NOT NULL)", account
            )
        )

    async def enrol(self, connection: Any, account: UUID, name: str) -> tuple[str, str]:
        """A new secret, in base32 and as a URI; the one before counts until this one is confirmed. Raises
        NoSecondFactor when there is one already."""
        secret = totp.new_secret()
        made = await connection.fetchval(
            "INSERT INTO auth.totp AS t (account, secret) VALUES ($1, $2)"
            " ON CONFLICT (account) DO UPDATE SET secret = $2, step = 0 WHERE t.confirmed IS NULL RETURNING account",
            account, self._seal.seal(secret, f"totp {account}"),
        )  # fmt: skip
        if made is None:
            raise NoSecondFactor("Switch the present one off first.")
        return base64.b32encode(secret).decode(), totp.uri(secret, self._issuer, name)

    async def confirm(self, connection: Any, account: UUID, code: str) -> list[str]:
        """The app shows the right codes: from now on logging in takes one. Returns recovery codes. Raises WrongCode,
        NoSecondFactor."""
        row = await connection.fetchrow(
            "SELECT secret, step FROM auth.totp WHERE account = $1 AND confirmed IS NULL FOR UPDATE", account
        )
        if row is None:
            raise NoSecondFactor
        step = totp.accept(self._seal.open(row["secret"], f"totp {account}"), code, self._clock(), row["step"])
        if step is None:
            raise WrongCode
        await connection.execute(
            "UPDATE auth.totp SET confirmed = $2, step = $3 WHERE account = $1", account, moment(self._clock), step
        )
        return await self.recovery(connection, account)

    async def recovery(self, connection: Any, account: UUID) -> list[str]:
        """New recovery codes; those before are void. Raises NoSecondFactor."""
        if not await self.on(connection, account):
            raise NoSecondFactor
        codes = totp.new_recovery_codes()
        await connection.execute("DELETE FROM auth.recovery_code WHERE account = $1", account)
        await connection.execute(
            "INSERT INTO auth.recovery_code (account, hash) SELECT $1, unnest($2::bytea[])",
            account, [totp.recovery_hash(code, self._key) for code in codes],
        )  # fmt: skip
        return codes

    async def check(self, connection: Any, account: UUID, code: str) -> str:
        """Use a code up: "totp" or "recovery", as it was of the app or not. Raises WrongCode."""
        row = await connection.fetchrow(
            "SELECT secret, step FROM auth.totp WHERE account = $1 AND confirmed IS NOT NULL FOR UPDATE", account
        )
        if row is None:
            raise WrongCode
        step = totp.accept(self._seal.open(row["secret"], f"totp {account}"), code.strip(), self._clock(), row["step"])
        if step is not None:
            await connection.execute("UPDATE auth.totp SET step = $2 WHERE account = $1", account, step)
            return "totp"
        used = await connection.fetchval(
            "DELETE FROM auth.recovery_code WHERE account = $1 AND hash = $2 RETURNING account",
            account, totp.recovery_hash(code, self._key),
        )  # fmt: skip
        if used is None:
            raise WrongCode
        return "recovery"

    async def off(self, connection: Any, account: UUID) -> None:
        """Logging in takes the password alone."""
        await connection.execute("DELETE FROM auth.totp WHERE account = $1", account)
        await connection.execute("DELETE FROM auth.recovery_code WHERE account = $1", account)
