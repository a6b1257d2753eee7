"""One's own account and its logins."""

import pytest
from auth_people import People

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_update(people: People) -> None:
    """A name changes; with If-Match only what was read."""
    ada = await people.register()
    token = ada["access_token"]
    _, _, headers = await people.call("GET", "/v1/me", token=token)
    etag = headers["Etag"]
    status, me, _ = await people.call("PATCH", "/v1/me", {"name": " Ada L. "}, token=token, If_Match=etag)
    assert (status, me["name"]) == (200, "Ada L.")
    status, _, _ = await people.call("PATCH", "/v1/me", {"name": "X"}, token=token, If_Match=etag)
    assert status == 412
    assert (await people.call("PATCH", "/v1/me", {"role": "owner"}, token=token))[0] == 422
    assert ada["user"]["id"] in await people.events("user.updated")


async def test_sessions(people: People) -> None:
    """Where one is logged in: from where, with what, and which of them this is; page by page."""
    ada = await people.register()
    for _ in range(3):
        await people.login(ada["email"])
    token, path, seen = ada["access_token"], "/v1/me/sessions?limit=3", []
    while path:
        status, page, _ = await people.call("GET", path, token=token)
        assert status == 200
        seen += page["data"]
        path = f"/v1/me/sessions?limit=3&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert [one["current"] for one in seen] == [True, False, False, False]
    assert [one["method"] for one in seen] == ["register", "password", "password", "password"]
    assert all(one["address"].startswith("10.") and "aiohttp" in one["agent"] for one in seen)


async def test_end_one_session(people: People) -> None:
    """It is void at once; nobody ends another's."""
    ada, bo = await people.register(), await people.register("Bo")
    _, other = await people.login(ada["email"])
    path = f"/v1/me/sessions/{other['session']}"
    assert (await people.call("DELETE", path, token=bo["access_token"]))[0] == 404
    assert (await people.call("GET", "/v1/me", token=other["access_token"]))[0] == 200
    assert (await people.call("DELETE", path, token=ada["access_token"]))[0] == 204
    assert (await people.call("GET", "/v1/me", token=other["access_token"]))[0] == 401
    assert (await people.call("DELETE", path, token=ada["access_token"]))[0] == 404


async def test_end_all_sessions(people: People) -> None:
    """All of them, this one too; logging in again works."""
    ada = await people.register()
    _, other = await people.login(ada["email"])
    assert (await people.call("DELETE", "/v1/me/sessions", token=ada["access_token"]))[0] == 204
    for one in (ada, other):
        assert (await people.call("GET", "/v1/me", token=one["access_token"]))[0] == 401
        body = {"refresh_token": one["refresh_token"]}
        assert (await people.call("POST", "/v1/auth/refresh", body))[0] == 401
    status, again = await people.login(ada["email"])
    assert status == 200
    assert (await people.call("GET", "/v1/me", token=again["access_token"]))[0] == 200


async def test_without_a_token(people: People) -> None:
    """Nobody's account is nobody's."""
    for path in ("/v1/me", "/v1/me/sessions", "/v1/me/api-keys", "/v1/users", "/v1/auth/letters", "/v1/auth/keys"):
        assert (await people.call("GET", path))[0] == 401
