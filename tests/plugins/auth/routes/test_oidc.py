"""Logging in at OpenID Connect providers, honest ones and others."""

import re
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import pytest_asyncio
from auth_people import PASSWORD, People, auth_server, token_of
from oidc_provider import CLIENT, SECRET, OidcProvider, oidc_provider
from yarl import URL

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Site:
    """A server with two providers, and browsers."""

    def __init__(self, people: People, honest: OidcProvider, other: OidcProvider) -> None:
        self.people, self.honest, self.other = people, honest, other
        self.call = people.call
        self.cookie = ""

    async def start(self, browser: aiohttp.ClientSession, provider: str = "honest", **query: str) -> str:
        """Set out; where the provider sends the browser back to."""
        path = f"{self.people.server.base}/v1/auth/oidc/{provider}/start"
        async with browser.get(path, params=query, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
            away = answer.headers["Location"]
        async with browser.get(away, allow_redirects=False) as answer:
            assert answer.status == 302
            # The server thinks that it is at its public URL, which a test has nobody at.
            return re.sub(r"^http://[^/]+", self.people.server.base, answer.headers["Location"])

    async def back(self, browser: aiohttp.ClientSession, url: str) -> tuple[int, str, dict[str, str]]:
        """Come back: status, and path and fragment of where our page is."""
        async with browser.get(url, allow_redirects=False) as answer:
            location = urlsplit(answer.headers.get("Location", ""))
            return answer.status, location.path, {k: v[0] for k, v in parse_qs(location.fragment).items()}

    async def login(self, provider: str = "honest") -> dict[str, str]:
        """The whole way; the fragment."""
        async with self.browser() as browser:
            fragment = (await self.back(browser, await self.start(browser, provider)))[2]
            cookies = browser.cookie_jar.filter_cookies(URL(f"{self.people.server.base}/v1/auth/oidc:exchange"))
            self.cookie = "; ".join(f"{one.key}={one.value}" for one in cookies.values())
            return fragment

    async def exchange(self, code: str, cookie: str | None = None) -> tuple[int, Any]:
        """In the browser of the last login, or one with another cookie."""
        given = {"Cookie": self.cookie if cookie is None else cookie}
        status, answer, _ = await self.call("POST", "/v1/auth/oidc:exchange", {"code": code}, **given)
        return status, answer

    @staticmethod
    def browser() -> aiohttp.ClientSession:
        address = {"X-Forwarded-For": f"fd00:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"}
        return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers=address)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def both(postgres_server, valkey) -> AsyncIterator[Site]:
    async with oidc_provider() as honest, oidc_provider() as other:
        given = [
            {"name": name, "issuer": one.issuer, "client_id": CLIENT, "client_secret": SECRET, "link": name == "honest"}
            for name, one in (("honest", honest), ("other", other))
        ]
        async with auth_server(postgres_server.create_database(), valkey.url, providers=given) as people:
            yield Site(people, honest, other)


@pytest.fixture
def site(both: Site) -> Site:
    """With providers that are honest again, and somebody whom nobody knows yet."""
    for one in (both.honest, both.other):
        one.lie, one.answer, one.algorithm, one.names_itself = {}, {}, "ES256", True
        sub = secrets.token_hex(8)
        one.person = {"sub": sub, "name": "Grace", "email": f"{sub}@example.com", "email_verified": True}
    return both


async def test_first_and_second_login(site: Site) -> None:
    """The first login makes an account, the second finds it, whatever the address is by then."""
    fragment = await site.login()
    status, first = await site.exchange(fragment["login_code"])
    assert (status, first["user"]["name"], first["user"]["email_verified"]) == (200, "Grace", True)
    assert (await site.exchange(fragment["login_code"]))[0] == 400
    site.honest.person["email"] = "moved@example.com"
    _, second = await site.exchange((await site.login())["login_code"])
    assert second["user"]["id"] == first["user"]["id"]
    _, sessions, _ = await site.call("GET", "/v1/me/sessions", token=second["access_token"])
    assert [one["method"] for one in sessions["data"]] == ["oidc:honest"] * 2


@pytest.mark.parametrize("cookie", ["x=y", "materi_oidc_honest=another"])
async def test_sent_into_anothers_login(site: Site, cookie: str) -> None:
    """A code is good in the browser that set out, not in one that was given a link with it."""
    fragment = await site.login()
    assert (await site.exchange(fragment["login_code"], cookie))[0] == 400


async def test_same_subject_elsewhere(site: Site) -> None:
    """A subject of one provider is nobody at another."""
    _, one = await site.exchange((await site.login())["login_code"])
    site.other.person = {**site.honest.person, "email": "elsewhere@example.com"}
    _, other = await site.exchange((await site.login("other"))["login_code"])
    assert one["user"]["id"] != other["user"]["id"]


@pytest.mark.parametrize(
    "lie",
    [
        {"nonce": "another"}, {"nonce": None}, {"aud": "somebody else"}, {"aud": [CLIENT, "x"]},
        {"aud": [CLIENT, "x"], "azp": "x"}, {"iss": "https://evil.example"}, {"exp": int(time.time()) - 3600},
        {"iat": int(time.time()) + 3600}, {"exp": None}, {"sub": ""}, {"sub": 5}, {"sub": "x" * 300},
    ],
    ids=str,
)  # fmt: skip
async def test_lies(site: Site, lie: dict[str, Any]) -> None:
    """An id_token that is for another login, client or time, or by another issuer, lets nobody in."""
    site.honest.lie = lie
    assert await site.login() == {"login_error": "provider_refused"}


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_unsigned(site: Site, algorithm: str) -> None:
    """An id_token that is not signed, or with what is public, lets nobody in."""
    site.honest.algorithm = algorithm
    assert await site.login() == {"login_error": "provider_refused"}


async def test_mix_up(site: Site) -> None:
    """An answer that another provider gave never reaches this one's token endpoint."""
    site.honest.answer = {"iss": site.other.issuer}
    asked = site.honest.token_requests
    assert await site.login() == {"login_error": "provider_refused"}
    assert site.honest.token_requests == asked


async def test_other_providers_way_back(site: Site) -> None:
    """A state belongs to the provider that it was made for."""
    async with site.browser() as browser:
        url = await site.start(browser)
        assert (await site.back(browser, url.replace("/oidc/honest/", "/oidc/other/")))[0] == 400


async def test_no_issuer_where_one_is_promised(site: Site) -> None:
    """A provider that says it names itself has to."""
    async with site.browser() as browser:
        url = await site.start(browser)
        assert (await site.back(browser, re.sub("&iss=[^&]*", "", url)))[2] == {"login_error": "provider_refused"}


async def test_state(site: Site) -> None:
    """A state is good once, in the browser that set out, and can't be made up; without it nothing is asked."""
    async with site.browser() as browser, site.browser() as other:
        url = await site.start(browser)
        asked = site.honest.token_requests
        assert (await site.back(browser, re.sub("state=.", "state=_", url)))[0] == 400
        assert (await site.back(browser, re.sub("state=[^&]*", "", url)))[0] == 400
        assert site.honest.token_requests == asked
        assert "login_code" in (await site.back(browser, url))[2]
        assert (await site.back(browser, url))[0] == 400
        stolen = await site.start(browser)
        assert (await site.back(other, stolen))[0] == 400


async def test_code_replayed(site: Site) -> None:
    """A code that was used already is refused by the provider, and so by us."""
    async with site.browser() as browser:
        first = await site.start(browser)
        code = parse_qs(urlsplit(first).query)["code"][0]
        await site.back(browser, first)
        second = re.sub("code=[^&]*", f"code={code}", await site.start(browser))
        assert (await site.back(browser, second))[2] == {"login_error": "provider_refused"}


async def test_refused_there(site: Site) -> None:
    """Who says no at the provider is back on the page they came from."""
    async with site.browser() as browser:
        url = await site.start(browser, return_to="/d/1?x=1")
        status, path, fragment = await site.back(browser, re.sub("code=[^&]*", "error=access_denied", url))
        assert (status, path, fragment) == (303, "/d/1", {"login_error": "provider_refused"})


@pytest.mark.parametrize("return_to", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "/a#b"])
async def test_return_elsewhere(site: Site, return_to: str) -> None:
    """Browsers are sent to our pages only."""
    path = f"{site.people.server.base}/v1/auth/oidc/honest/start"
    async with site.browser() as browser, browser.get(path, params={"return_to": return_to}) as answer:
        assert answer.status == 422


async def test_linked_by_verified_address(site: Site) -> None:
    """An account is opened by its address if both sides have verified it and the provider is set to."""
    ada = await site.people.register()
    site.honest.person["email"] = site.other.person["email"] = ada["email"].upper()
    assert await site.login() == {"login_error": "not_linked"}
    await site.call("POST", "/v1/auth/email:send", token=ada["access_token"])
    token = token_of((await site.people.letters(ada["email"]))[0]["link"])
    assert (await site.call("POST", "/v1/auth/email:verify", {"token": token}))[0] == 204
    site.honest.lie = {"email_verified": False}
    assert await site.login() == {"login_error": "not_linked"}
    site.honest.lie = {"email_verified": "true"}
    assert await site.login() == {"login_error": "not_linked"}
    assert await site.login("other") == {"login_error": "not_linked"}
    site.honest.lie = {}
    _, login = await site.exchange((await site.login())["login_code"])
    assert login["user"]["id"] == ada["user"]["id"]


async def test_unverified_address_takes_none(site: Site) -> None:
    """An address that the provider has not verified is not kept: its owner can still register it."""
    site.honest.person["email_verified"] = False
    _, login = await site.exchange((await site.login())["login_code"])
    assert login["user"]["email"] == ""
    body = {"email": site.honest.person["email"], "password": PASSWORD, "name": "Owner"}
    assert (await site.call("POST", "/v1/auth/register", body))[0] == 201


async def test_disabled(site: Site) -> None:
    """A disabled account is not opened from there either."""
    fragment = await site.login()
    _, login = await site.exchange(fragment["login_code"])
    path = f"/v1/users/{login['user']['id']}:disable"
    assert (await site.call("POST", path, {}, token=site.people.admin))[0] == 200
    status, answer = await site.exchange((await site.login())["login_code"])
    assert (status, answer["code"]) == (403, "account_disabled")


async def test_unknown_provider(site: Site) -> None:
    """There are only those of the settings; the login page is told of them."""
    assert (await site.call("GET", "/v1/auth/oidc/nobody/start"))[0] == 404
    _, methods, _ = await site.call("GET", "/v1/auth/methods")
    assert [one["name"] for one in methods["providers"]] == ["honest", "other"]
