"""What an operator chooses about accounts: `[plugins.auth]` in relay.toml, `RELAY_PLUGINS_AUTH_…` in the environment.

Durations are seconds or `30s`, `10m`, `90d`. Lists and tables are JSON in the environment.
"""

import json
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from relay.grants import Access
from relay.quantities import SECONDS, SIZE

__all__ = ["AuthSettings", "Issuer", "Provider", "private"]


def private(url: str) -> bool:
    """Whether nobody reads along: over TLS, or on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname == "localhost":
        return parts.scheme in ("http", "https")
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _private(url: str) -> str:
    if not private(url):
        raise ValueError("must begin with https://, except on this machine")
    return url


def _json(raw: object) -> object:
    return json.loads(raw) if isinstance(raw, str) else raw


Seconds = Annotated[float, BeforeValidator(SECONDS.read)]
Bytes = Annotated[int, BeforeValidator(SIZE.read)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Issuer(_Table):
    """Another issuer whose access tokens are taken for ours, so that a product with its own users needs none here."""

    issuer: str = Field(min_length=1, description="The `iss` of its tokens.")
    audience: str = Field(min_length=1, description="The `aud` that its tokens must carry.")
    jwks_url: str = Field(description="Where it publishes its keys.", pattern="^https?://")
    subject: str = Field(default="sub", description="The claim that says who it is.")
    name: str = Field(default="name", description="The claim with the name that people read.")
    email: str = Field(default="email", description="The claim with the e-mail address, if there is one.")
    scope: str = Field(default="", description="The claim with the scopes, if tokens are narrowed by one.")
    accounts: bool = Field(
        default=True,
        description="Give everybody who comes an account here, so that they can be members of workspaces; "
        "otherwise the actor is `prefix` and the subject.",
    )
    prefix: str = Field(default="", description="Goes before the subject of those without an account.")


class Provider(_Table):
    """An OpenID Connect provider that people may log in with."""

    name: str = Field(pattern="^[a-z0-9-]{1,40}$", description="In addresses: /v1/auth/oidc/<name>/start.")
    title: str = Field(default="", description="On the button.")
    issuer: Annotated[str, AfterValidator(_private)] = Field(
        description="Its metadata is below /.well-known/openid-configuration."
    )
    client_id: str = Field(min_length=1)
    client_secret: str = Field(default="", repr=False, description="Empty for a public client.")
    scopes: str = "openid email profile"
    register_accounts: bool = Field(default=True, description="Whoever logs in first gets an account.")
    link: bool = Field(
        default=False,
        description="A verified e-mail address of this provider opens the account that has verified the same address.",
    )


class AuthSettings(_Table):
    """Settings of the plugin."""

    registration: Literal["open", "invited", "closed"] = Field(
        default="invited", description="Who may make an account: anybody, those who were invited, nobody."
    )
    verify_email: bool = Field(default=False, description="An account is usable once its address was verified.")
    issuer: str = Field(default="", description="The `iss` of our tokens; unset: the public URL.")
    audience: str = Field(default="materi", description="The `aud` of our tokens.")
    access_lifetime: Seconds = Field(default=600.0, ge=30, le=3600, description="Of access tokens.")
    session_idle: Seconds = Field(default=14 * 86400.0, ge=600, description="A login ends when unused for this long.")
    session_lifetime: Seconds = Field(default=90 * 86400.0, ge=600, description="And after this long in any case.")
    refresh_grace: Seconds = Field(
        default=10.0, le=120, description="A refresh token is answered the same again for this long: answers get lost."
    )
    key_age: Seconds = Field(default=30 * 86400.0, ge=60, description="A signing key is replaced after this.")
    key_secret: str = Field(
        default="", repr=False, description="Seals private keys and TOTP secrets; unset: a secret in the database."
    )
    password_min: int = Field(default=8, ge=1, le=128, description="Characters of a password at least.")
    argon2_time: int = Field(default=2, ge=1, le=20, description="argon2id: passes.")
    argon2_memory: Bytes = Field(default=19 << 20, ge=8 << 10, description="argon2id: memory of one hash.")
    argon2_lanes: int = Field(default=1, ge=1, le=16, description="argon2id: lanes.")
    hashes_at_once: int = Field(default=0, ge=0, le=64, description="Passwords hashed at once; 0: one for each core.")
    attempts_account: int = Field(default=5, ge=1, description="Logins to one account before waits begin to double.")
    attempts_address: int = Field(default=30, ge=1, description="Logins from one address likewise.")
    wait_account: Seconds = Field(default=60.0, description="The longest wait of an account: others can cause it.")
    wait_address: Seconds = Field(default=900.0, description="The longest wait of an address.")
    rooms: Annotated[dict[str, Access], BeforeValidator(_json)] = Field(
        default={"*": "read-write"},
        description="Patterns of rooms that an account may open where no other plugin decides.",
    )
    issuers: Annotated[tuple[Issuer, ...], BeforeValidator(_json)] = Field(
        default=(), description="Other issuers of access tokens."
    )
    providers: Annotated[tuple[Provider, ...], BeforeValidator(_json)] = Field(
        default=(), description="OpenID Connect providers."
    )

    def model_post_init(self, context: Any) -> None:
        names = [provider.name for provider in self.providers]
        if len(set(names)) != len(names):
            raise ValueError("two providers have one name")
        if len({one.issuer for one in self.issuers}) != len(self.issuers):
            raise ValueError("two tables name one issuer")
