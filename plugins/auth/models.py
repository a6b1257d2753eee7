"""Bodies and answers of the API."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field

from api_shim.models import Model, Query
from api_shim.paging import PageQuery
from plugins.auth.accounts import Account
from plugins.auth.addresses import read_address
from plugins.auth.passwords import LONGEST

__all__ = [
    "ApiKeyModel", "CallbackQuery", "ChangePassword", "Email", "Exchange", "Introspection", "Invite", "LetterModel",
    "LoginBody", "LoginTokens", "MadeApiKey", "Me", "Methods", "NewApiKey", "NewServiceAccount", "PasswordOnly",
    "ProviderModel", "Reason", "Recovery", "RefreshBody", "Register", "Registered", "ResetPassword", "SecondFactor",
    "SessionModel", "SetUp", "SigningKeyModel", "StartQuery", "TokenBody", "TotpCode", "TotpEnrolment", "UpdateMe",
    "UpdateUser", "UserModel", "UsersQuery", "me_of", "user_of",
]  # fmt: skip


def _readable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("must be text that can be read")
    return text.strip()


def _email(text: str) -> str:
    read_address(text)
    return text


Name = Annotated[str, Field(min_length=1, max_length=200, examples=["Ada Lovelace"]), AfterValidator(_readable)]
Text = Annotated[str, Field(max_length=1024)]
Password = Annotated[str, Field(min_length=1, max_length=LONGEST, examples=["correct horse battery"])]
Token = Annotated[str, Field(min_length=1, max_length=500)]
Code = Annotated[str, Field(min_length=6, max_length=40, examples=["123456"])]
NewEmail = Annotated[str, Field(max_length=254, examples=["ada@example.com"]), AfterValidator(_email)]
Scope = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}:[a-z0-9_]{1,40}$", examples=["documents:write"])]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=100)]


class Me(Model):
    """An account, as its owner sees it."""

    id: UUID
    kind: Literal["human", "agent", "service"]
    email: str
    email_verified: bool
    name: str
    role: Literal["owner", "admin", "member"]
    second_factor: bool = Field(description="Whether logging in takes a code too.")
    created: datetime


class UserModel(Model):
    """An account, as an admin sees it."""

    id: UUID
    kind: Literal["human", "agent", "service"]
    email: str
    email_verified: bool
    name: str
    role: Literal["owner", "admin", "member"]
    disabled: datetime | None
    disabled_reason: str
    created: datetime


class SetUp(Model):
    token: Token
    email: NewEmail
    password: Password
    name: Name


class Register(Model):
    email: NewEmail
    password: Password
    name: Name
    invitation: Token | None = Field(default=None, description="The token of an invitation's link.")


class LoginBody(Model):
    email: Annotated[str, Field(max_length=1024)]
    password: Password


class SecondFactor(Model):
    challenge: Token
    code: Code = Field(description="Of the authenticator app, or a recovery code.")


class LoginTokens(Model):
    """A login: send `access_token` as `Authorization: Bearer …`, and get the next with `refresh_token`."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds that the access token is good for.")
    refresh_token: str = Field(description="Good once; the answer to it holds the next.")
    session: UUID
    user: Me


class Registered(Model):
    """Without `login`: follow the link in the letter first."""

    verify_email: bool
    login: LoginTokens | None = None


class RefreshBody(Model):
    refresh_token: Token


class TokenBody(Model):
    token: Token


class Exchange(Model):
    code: Token


class Email(Model):
    email: Annotated[str, Field(max_length=1024)]


class ResetPassword(Model):
    token: Token
    password: Password


class ChangePassword(Model):
    password: Password = Field(description="The present one.")
    new_password: Password


class PasswordOnly(Model):
    password: Password


class UpdateMe(Model):
    name: Name | None = None


class UpdateUser(Model):
    role: Literal["admin", "member"] | None = None
    name: Name | None = None


class Reason(Model):
    reason: Annotated[str, Field(max_length=500)] = ""


class SessionModel(Model):
    """A login."""

    id: UUID
    method: str
    address: str
    agent: str
    created: datetime
    refreshed: datetime
    expires: datetime
    current: bool = Field(description="Whether this request came by it.")


class ApiKeyModel(Model):
    """An API key, without its secret."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str] | None = Field(description="What it is narrowed to; null: all that the account may do.")
    expires: datetime | None
    used: datetime | None = Field(description="When it was last used, to within half a minute.")
    created: datetime


class NewApiKey(Model):
    name: Name
    scopes: Scopes | None = None
    expires: datetime | None = Field(default=None, examples=["2030-01-01T00:00:00Z"])


class MadeApiKey(Model):
    """A new API key. `token` is never shown again."""

    token: str
    key: ApiKeyModel


class NewServiceAccount(Model):
    name: Name
    kind: Literal["service", "agent"] = "service"


class Invite(Model):
    email: NewEmail
    name: Name | None = None


class LetterModel(Model):
    """A letter that nothing sent."""

    id: UUID
    kind: str
    to: str
    link: str
    created: datetime


class TotpEnrolment(Model):
    """What an authenticator app needs; nothing changes until a code of it was confirmed."""

    secret: str = Field(description="Base32, to type in.")
    uri: str = Field(description="For a QR code.")


class TotpCode(Model):
    code: Code


class Recovery(Model):
    """Codes for whoever lost the app. Each is good once; they are never shown again."""

    recovery_codes: list[str]


class ProviderModel(Model):
    name: str
    title: str
    start: str = Field(description="Where to send the browser.")


class Methods(Model):
    """How to get in."""

    registration: Literal["open", "invited", "closed"]
    set_up: bool = Field(description="Whether the server has an owner.")
    password_min: int
    providers: list[ProviderModel]


class SigningKeyModel(Model):
    kid: str
    state: Literal["next", "active", "retiring"]
    created: datetime
    activated: datetime | None


class Introspection(Model):
    """RFC 7662; only `active` for a token that is not good."""

    active: bool
    sub: str | None = None
    username: str | None = None
    kind: str | None = None
    scope: str | None = None
    sid: str | None = None
    exp: int | None = None


class UsersQuery(PageQuery):
    sort: Literal["created", "-created", "name", "-name"] = "created"
    kind: Literal["human", "agent", "service"] | None = Field(default=None, alias="filter[kind]")
    disabled: bool | None = Field(default=None, alias="filter[disabled]")
    q: str | None = Field(default=None, min_length=1, max_length=200, description="Part of a name or address.")


class StartQuery(Query):
    return_to: str = Field(default="/", max_length=500, pattern=r"^/([^/\x00-\x20\\#][^\x00-\x20\\#]*)?$")


class CallbackQuery(Query):
    """Providers may add what they like."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: str = Field(default="", max_length=500)
    code: str = Field(default="", max_length=4000)
    error: str = Field(default="", max_length=500)
    iss: str | None = Field(default=None, max_length=500)


def me_of(account: Account, second_factor: bool) -> Me:
    """An account for its owner."""
    return Me(
        id=account.id,
        kind=account.kind,
        email=account.email,
        email_verified=account.email_verified is not None,
        name=account.name,
        role=account.role,
        second_factor=second_factor,
        created=account.created,
    )


def user_of(account: Account) -> UserModel:
    """An account for an admin."""
    return UserModel(
        id=account.id,
        kind=account.kind,
        email=account.email,
        email_verified=account.email_verified is not None,
        name=account.name,
        role=account.role,
        disabled=account.disabled,
        disabled_reason=account.disabled_reason,
        created=account.created,
    )
