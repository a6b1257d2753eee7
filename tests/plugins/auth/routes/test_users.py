"""Accounts, for those who manage them."""

import pytest
from auth_people import People

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_list(people: People) -> None:
    """By name or time, narrowed, page by page; wildcards mean nothing."""
    names = [(await people.register(f"Zoe{letter}"))["user"]["name"] for letter in "CAB"]
    path, seen = "/v1/users?q=zoe&sort=name&limit=2&filter[kind]=human", []
    while path:
        status, page, _ = await people.call("GET", path, token=people.admin)
        assert status == 200
        seen += [one["name"] for one in page["data"]]
        cursor = page["next_cursor"]
        path = f"/v1/users?q=zoe&sort=name&limit=2&filter[kind]=human&cursor={cursor}" if cursor else ""
    assert seen == sorted(names)
    assert (await people.call("GET", "/v1/users?q=zo%25a", token=people.admin))[1]["data"] == []
    assert (await people.call("GET", "/v1/users?q=zoe&filter[disabled]=true", token=people.admin))[1]["data"] == []


async def test_disable_and_enable(people: People) -> None:
    """Tokens and keys are void at once, logging in says why; enabled, keys work again and tokens don't."""
    ada = await people.register()
    id, token = ada["user"]["id"], ada["access_token"]
    _, key, _ = await people.call("POST", "/v1/me/api-keys", {"name": "k"}, token=token)
    for one in (token, key["token"]):
        assert (await people.call("GET", "/v1/me", token=one))[0] == 200
    body = {"reason": "left"}
    status, answer, _ = await people.call("POST", f"/v1/users/{id}:disable", body, token=people.admin)
    assert (status, answer["disabled_reason"]) == (200, "left")
    for one in (token, key["token"]):
        assert (await people.call("GET", "/v1/me", token=one))[0] == 401
    status, answer = await people.login(ada["email"])
    assert (status, answer["code"]) == (403, "account_disabled")
    assert (await people.login(ada["email"], "wrong password"))[1]["code"] == "wrong_password"
    assert (await people.call("POST", "/v1/auth/refresh", {"refresh_token": ada["refresh_token"]}))[0] == 401
    assert (await people.call("POST", f"/v1/users/{id}:enable", token=people.admin))[0] == 200
    assert (await people.call("GET", "/v1/me", token=key["token"]))[0] == 200
    assert (await people.call("GET", "/v1/me", token=token))[0] == 401
    assert (await people.login(ada["email"]))[0] == 200
    assert id in await people.events("user.disabled")
    assert id in await people.events("user.enabled")


async def test_end_sessions(people: People) -> None:
    """An admin ends all logins of an account."""
    ada = await people.register()
    path = f"/v1/users/{ada['user']['id']}/sessions"
    assert (await people.call("DELETE", path, token=people.admin))[0] == 204
    assert (await people.call("GET", "/v1/me", token=ada["access_token"]))[0] == 401


async def test_admins(people: People) -> None:
    """The owner makes admins, who manage members, but neither admins nor the owner nor themselves away."""
    ada, bo = await people.register(), await people.register("Bo")
    owner = people.owner["user"]["id"]
    for token, id, role, expected in (
        (bo["access_token"], bo["user"]["id"], "admin", 403),
        (people.admin, ada["user"]["id"], "admin", 200),
        (people.admin, owner, "member", 403),
        (ada["access_token"], bo["user"]["id"], "admin", 403),
        (ada["access_token"], owner, "member", 403),
        (people.admin, bo["user"]["id"], "owner", 422),
    ):
        assert (await people.call("PATCH", f"/v1/users/{id}", {"role": role}, token=token))[0] == expected
    token = ada["access_token"]
    assert (await people.call("POST", f"/v1/users/{owner}:disable", {}, token=token))[0] == 403
    assert (await people.call("POST", f"/v1/users/{ada['user']['id']}:disable", {}, token=token))[0] == 409
    assert (await people.call("DELETE", f"/v1/users/{owner}/sessions", token=token))[0] == 403
    assert (await people.call("POST", f"/v1/users/{bo['user']['id']}:disable", {}, token=token))[0] == 200
    assert (await people.call("PATCH", f"/v1/users/{bo['user']['id']}", {"name": "B"}, token=token))[1]["name"] == "B"


async def test_members(people: People) -> None:
    """Members learn nothing of others here, not whether an id is one either."""
    ada, bo = await people.register(), await people.register("Bo")
    nobody = "00000000-0000-7000-8000-000000000000"
    for id in (bo["user"]["id"], nobody):
        for method, path, body in (
            ("GET", f"/v1/users/{id}", None),
            ("POST", f"/v1/users/{id}:disable", {}),
            ("DELETE", f"/v1/users/{id}/sessions", None),
        ):
            assert (await people.call(method, path, body, token=ada["access_token"]))[0] == 403
    assert (await people.call("GET", f"/v1/users/{nobody}", token=people.admin))[0] == 404
    assert (await people.call("POST", f"/v1/users/{nobody}:disable", {}, token=people.admin))[0] == 404


async def test_invite_who_is_there(people: People) -> None:
    """Who has an account needs no invitation."""
    status, answer, _ = await people.call(
        "POST", "/v1/auth/invitations", {"email": "OWNER@example.com"}, token=people.admin
    )
    assert (status, answer["code"]) == (409, "address_taken")
