# ruff: noqa: S608  (statements are put together from constants)
"""Who an account is at other issuers: the issuer's own id for somebody, never their e-mail address."""

from typing import Any
from uuid import UUID

from plugins.auth.accounts import COLUMNS, Account, Accounts, account_of, moment
from plugins.auth.addresses import read_address

__all__ = ["Identities"]


class Identities:
    """All in the caller's transaction."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def hold(self, connection: Any, issuer: str, subject: str) -> Account | None:
        """The account that this is, if any; nobody else decides about it until the transaction ends."""
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"auth.identity {issuer} {subject}"
        )
        row = await connection.fetchrow(
            f"SELECT {COLUMNS} FROM auth.identity i JOIN auth.account a ON a.id = i.account"
            " WHERE i.issuer = $1 AND i.subject = $2",
            issuer, subject,
        )  # fmt: skip
        return None if row is None else account_of(row)

    async def link(self, connection: Any, issuer: str, subject: str, account: UUID) -> None:
        """From now on this is that account."""
        await connection.execute(
            "INSERT INTO auth.identity (issuer, subject, account, created) VALUES ($1, $2, $3, $4)",
            issuer, subject, account, moment(self._accounts.clock),
        )  # fmt: skip

    async def unlink(self, connection: Any, account: UUID) -> None:
        """The account is nobody at other issuers any more."""
        await connection.execute("DELETE FROM auth.identity WHERE account = $1", account)

    async def register(self, connection: Any, issuer: str, subject: str, name: str, email: str) -> Account:
        """A new account for somebody from there. `email`: which the issuer has verified; without the address if another
        account has it."""
        address = None
        if email and await self._accounts.at(connection, email) is None:
            try:
                address = read_address(email)
            except ValueError:
                pass  # an account without an address, then
        name = (name or email.partition("@")[0] or subject)[:200]
        account = await self._accounts.add(connection, name=name, address=address, verified=address is not None)
        await self.link(connection, issuer, subject, account.id)
        return account
