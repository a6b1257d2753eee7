# ruff: noqa: S608  (statements are put together from constants)
"""Accounts: people, agents and services. Also the service `Users`."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from api_shim.ids import uuid7
from api_shim.problems import Conflict, NotFound
from api_shim.services import User
from plugins.auth.addresses import Address, read_address
from relay.bus import Outbox
from relay.contracts.materi.v1.users_pb2 import (
    ACCOUNT_KIND_AGENT,
    ACCOUNT_KIND_HUMAN,
    ACCOUNT_KIND_SERVICE,
    AccountKind,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserUpdated,
)

__all__ = ["Account", "Accounts", "AddressTaken", "Role", "moment"]

Role = Literal["owner", "admin", "member"]
AccountType = Literal["human", "agent", "service"]
_KINDS: Mapping[str, AccountKind] = {
    "human": ACCOUNT_KIND_HUMAN,
    "agent": ACCOUNT_KIND_AGENT,
    "service": ACCOUNT_KIND_SERVICE,
}


class AddressTaken(Conflict):
    """There is an account with this e-mail address. Log in, or ask for a link to set another password."""

    code, title = "address_taken", "There is an account with this address"


@dataclass(frozen=True, slots=True)
class Account:
    """A row of `auth.account`."""

    id: UUID
    kind: AccountType
    email: str
    email_verified: datetime | None
    name: str
    role: Role
    password: str | None
    disabled: datetime | None
    disabled_reason: str
    epoch: int
    version: int
    created: datetime

    @property
    def admin(self) -> bool:
        """Whether it manages accounts."""
        return self.role in ("owner", "admin")


COLUMNS = (
    "a.id, a.kind, a.email, a.email_verified, a.name, a.role, a.password, a.disabled, a.disabled_reason, a.epoch,"
    " a.version, a.created"
)


def account_of(row: Any) -> Account:
    """A row that has `COLUMNS`."""
    return Account(*(row[name] for name in Account.__dataclass_fields__))


def moment(clock: Callable[[], float]) -> datetime:
    """Now, for a timestamptz."""
    return datetime.fromtimestamp(clock(), UTC)


class Accounts:
    """Methods that take a connection work in the caller's transaction."""

    def __init__(self, database: asyncpg.Pool, outbox: Outbox, clock: Callable[[], float]) -> None:
        self._database = database
        self._outbox = outbox
        self.clock = clock

    # -- Users --

    async def find(self, ids: Collection[UUID]) -> Mapping[UUID, User]:
        """Those of `ids` that exist."""
        rows = await self._database.fetch(f"SELECT {COLUMNS} FROM auth.account a WHERE id = ANY($1)", list(ids))
        return {row["id"]: _user(account_of(row)) for row in rows}

    async def by_email(self, email: str) -> User | None:
        """The account with that address."""
        account = await self.at(self._database, email)
        return None if account is None else _user(account)

    # -- reading --

    async def get(self, connection: Any, id: UUID | str) -> Account:
        """Raises NotFound."""
        try:
            key = id if isinstance(id, UUID) else UUID(id)
        except ValueError:
            raise NotFound("There is no such account.") from None
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM auth.account a WHERE id = $1", key)
        if row is None:
            raise NotFound("There is no such account.")
        return account_of(row)

    async def hold(self, connection: Any, id: UUID) -> Account:
        """`get`, and nobody changes it until the transaction ends. Raises NotFound."""
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM auth.account a WHERE id = $1 FOR UPDATE", id)
        if row is None:
            raise NotFound("There is no such account.")
        return account_of(row)

    async def at(self, connection: Any, email: str) -> Account | None:
        """The account with that address; None for what is no address, too."""
        try:
            key = read_address(email).key
        except ValueError:
            return None
        row = await connection.fetchrow(f"SELECT {COLUMNS} FROM auth.account a WHERE email_key = $1", key)
        return None if row is None else account_of(row)

    async def owned(self, connection: Any) -> bool:
        """Whether the server has an owner."""
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM auth.account WHERE role = 'owner')"))

    # -- writing --

    async def add(
        self,
        connection: Any,
        *,
        name: str,
        address: Address | None = None,
        password: str | None = None,
        kind: AccountType = "human",
        role: Role = "member",
        verified: bool = False,
        made_by: UUID | None = None,
    ) -> Account:
        """A new account; `password` is a hash. Raises AddressTaken."""
        id, now = uuid7(), moment(self.clock)
        row = await connection.fetchrow(
            "INSERT INTO auth.account AS a"
            " (id, kind, email, email_key, email_verified, name, role, password, made_by, created)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            f" ON CONFLICT (email_key) DO NOTHING RETURNING {COLUMNS}",
            id, kind, address.text if address else "", address.key if address else None, now if verified else None,
            name, role, password, made_by, now,
        )  # fmt: skip
        if row is None:
            raise AddressTaken
        email = address.text if address else ""
        event = UserRegistered(user_id=str(id), email=email, name=name, kind=_KINDS[kind])
        await self._outbox.add(connection, event, subject=str(id), actor=str(made_by or id))
        return account_of(row)

    async def set_name(self, connection: Any, id: UUID, name: str) -> Account:
        """Another name."""
        return await self._update(connection, id, "name", "name = $2", name)

    async def set_role(self, connection: Any, id: UUID, role: Role, actor: str) -> Account:
        """Another role, which is not the owner's."""
        return await self._update(connection, id, "role", "role = $2", role, actor=actor)

    async def verify(self, connection: Any, id: UUID) -> Account:
        """The address is its owner's."""
        now = moment(self.clock)
        return await self._update(connection, id, "email_verified", "email_verified = $2", now)

    async def set_password(self, connection: Any, id: UUID, hash: str) -> None:
        """Another hash, of the same password or another."""
        await connection.execute("UPDATE auth.account SET password = $2 WHERE id = $1", id, hash)

    async def rise(self, connection: Any, id: UUID) -> None:
        """All tokens so far are of an earlier epoch."""
        await connection.execute("UPDATE auth.account SET epoch = epoch + 1 WHERE id = $1", id)

    async def disable(self, connection: Any, id: UUID, reason: str, actor: str) -> Account:
        """Nobody may use it until it is enabled."""
        row = await connection.fetchrow(
            "UPDATE auth.account AS a SET disabled = $2, disabled_reason = $3, epoch = epoch + 1, version = version + 1"
            f" WHERE id = $1 RETURNING {COLUMNS}",
            id, moment(self.clock), reason,
        )  # fmt: skip
        await self._outbox.add(connection, UserDisabled(user_id=str(id), reason=reason), subject=str(id), actor=actor)
        return account_of(row)

    async def enable(self, connection: Any, id: UUID, actor: str) -> Account:
        """The inverse of `disable`."""
        row = await connection.fetchrow(
            "UPDATE auth.account AS a SET disabled = NULL, disabled_reason = '', version = version + 1"
            f" WHERE id = $1 RETURNING {COLUMNS}",
            id,
        )
        await self._outbox.add(connection, UserEnabled(user_id=str(id)), subject=str(id), actor=actor)
        return account_of(row)

    async def _update(
        self, connection: Any, id: UUID, field: str, change: str, value: object, actor: str = ""
    ) -> Account:
        row = await connection.fetchrow(
            f"UPDATE auth.account AS a SET {change}, version = version + 1 WHERE id = $1 RETURNING {COLUMNS}",
            id, value,
        )  # fmt: skip
        if row is None:
            raise NotFound("There is no such account.")
        event = UserUpdated(user_id=str(id), changed=[field])
        await self._outbox.add(connection, event, subject=str(id), actor=actor or str(id))
        return account_of(row)


def _user(account: Account) -> User:
    return User(
        account.id,
        account.email,
        account.name,
        account.kind,
        disabled=account.disabled is not None,
        verified=account.email_verified is not None,
    )
