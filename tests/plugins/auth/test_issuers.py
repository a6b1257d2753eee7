"""Access tokens of other issuers."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from auth_people import People, auth_server
from oidc_provider import OidcProvider, oidc_provider

from plugins.auth.plugin import Auth
from relay.errors import Deny
from relay.grants import Principal
from relay.hooks import ConnectAsked, JoinAsked
from relay.types import RoomId

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Site:
    """A server that trusts two issuers: one whose people get accounts, one whose people don't."""

    def __init__(self, people: People, shop: OidcProvider, plain: OidcProvider) -> None:
        self.people, self.shop, self.plain = people, shop, plain
        plugin = people.server.shim.plugins[0]
        assert isinstance(plugin, Auth)
        self.auth = plugin

    async def ask(self, token: str) -> Principal | None:
        return await self.auth.ask_connect(ConnectAsked(token, "", ""))


def token(issuer: OidcProvider, **claims: Any) -> str:
    now = int(time.time())
    usual = {"iss": issuer.issuer, "aud": "materi-api", "exp": now + 60, "iat": now, "sub": "42", "name": "Ada"}
    return issuer.sign({name: value for name, value in (usual | claims).items() if value is not None})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(postgres_server, valkey) -> AsyncIterator[Site]:
    async with oidc_provider() as shop, oidc_provider() as plain:
        given = [
            {"issuer": one.issuer, "audience": "materi-api", "jwks_url": f"{one.issuer}/keys"} | more
            for one, more in (
                (shop, {"subject": "uid", "email": "mail"}),
                (plain, {"accounts": False, "prefix": "shop:", "scope": "scp"}),
            )
        ]
        async with auth_server(postgres_server.create_database(), valkey.url, issuers=given) as people:
            yield Site(people, shop, plain)


async def test_account_for_whoever_comes(site: Site) -> None:
    """The first token makes an account, however many come at once; claims are read as the settings say."""
    uid = secrets.token_hex(4)
    tokens = [token(site.shop, uid=uid, mail=f"{uid}@shop.example", email_verified=True, jti=n) for n in range(8)]
    found = await asyncio.gather(*map(site.ask, tokens))
    assert len({one.actor for one in found if one}) == 1
    status, me, _ = await site.people.call("GET", "/v1/me", token=tokens[0])
    assert (status, me["email"], me["name"]) == (200, f"{uid}@shop.example", "Ada")
    await site.people.call("POST", f"/v1/users/{me['id']}:disable", {}, token=site.people.admin)
    assert (await site.people.call("GET", "/v1/me", token=tokens[0]))[0] == 401
    await site.people.call("POST", f"/v1/users/{me['id']}:enable", token=site.people.admin)
    assert (await site.people.call("GET", "/v1/me", token=tokens[0]))[0] == 200


async def test_address_of_somebody_here(site: Site) -> None:
    """An address proves nothing: whoever comes with one that is taken, or that nobody verified, gets an account without
    it."""
    for claims in ({"mail": "owner@example.com", "email_verified": True}, {"mail": "free@example.com"}):
        uid = secrets.token_hex(4)
        status, me, _ = await site.people.call("GET", "/v1/me", token=token(site.shop, uid=uid, **claims))
        assert (status, me["email"], me["role"]) == (200, "", "member")


async def test_without_accounts(site: Site) -> None:
    """The actor is prefix and subject, the scopes those of the claim; there is no profile here."""
    one = token(site.plain, scp="account:read documents:read")
    found = await site.ask(one)
    assert found is not None
    assert (found.actor, found.name, found.session) == ("shop:42", "Ada", "")
    assert found.scopes == {"account:read", "documents:read"}
    assert (await site.people.call("GET", "/v1/me", token=one))[0] == 404
    assert (await site.people.call("PATCH", "/v1/me", {"name": "x"}, token=one))[0] == 403
    assert (await site.people.call("GET", "/v1/users", token=token(site.plain, scp="accounts:manage")))[0] == 403


async def test_rooms_claim(site: Site) -> None:
    """A token for rooms opens those and no API."""
    one = token(site.shop, uid="rooms", rooms={"a/*": "readonly"})
    found = await site.ask(one)
    assert found is not None
    assert found.rooms == {"a/*": "readonly"}
    with pytest.raises(Deny):
        await site.auth.ask_join(JoinAsked(found, RoomId("b"), ""))
    assert (await site.people.call("GET", "/v1/me", token=one))[0] == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "materi"}, {"aud": None}, {"exp": 1}, {"exp": None}, {"exp": True}, {"iat": 9e9}, {"nbf": "x"},
        {"uid": None}, {"uid": 5}, {"uid": "x" * 300}, {"uid": "\u202e"}, {"rooms": {"a": "all"}}, {"rooms": 5},
    ],
    ids=str,
)  # fmt: skip
async def test_bad_claims(site: Site, claims: dict[str, Any]) -> None:
    """A token for others, outside its time or that does not say who it is, is denied."""
    with pytest.raises(Deny) as denied:
        await site.ask(token(site.shop, **{"uid": "1"} | claims))
    assert denied.value.code == 4401


async def test_signed_by_another(site: Site) -> None:
    """One trusted issuer can't speak for another, nor for us; unsigned or signed with what is public is nothing."""
    with pytest.raises(Deny):
        await site.ask(token(site.plain, iss=site.shop.issuer, uid="1"))
    with pytest.raises(Deny):
        await site.ask(token(site.shop, iss="http://127.0.0.1:8080", uid="1"))
    for algorithm in ("none", "HS256"):
        site.shop.algorithm = algorithm
        forged = token(site.shop, uid="1")
        site.shop.algorithm = "ES256"
        with pytest.raises(Deny):
            await site.ask(forged)
    assert await site.ask(token(site.shop, iss="https://nobody.example", uid="1")) is None
