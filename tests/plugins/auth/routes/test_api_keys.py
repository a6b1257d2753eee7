"""One's own API keys."""

import asyncio
from typing import Any

import pytest
from auth_people import People

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def made(people: People, token: str, **body: Any) -> dict[str, Any]:
    status, answer, _ = await people.call("POST", "/v1/me/api-keys", {"name": "ci"} | body, token=token)
    assert status == 201, answer
    return dict(answer)


async def test_a_key(people: People) -> None:
    """It acts for its account; its secret is shown once and is nowhere else; withdrawn, it is void at once."""
    ada = await people.register()
    token = ada["access_token"]
    key = await made(people, token)
    assert key["token"].startswith(key["key"]["prefix"] + "_")
    status, me, _ = await people.call("GET", "/v1/me", token=key["token"])
    assert (status, me["id"]) == (200, ada["user"]["id"])
    _, listed, _ = await people.call("GET", "/v1/me/api-keys", token=token)
    assert [one["id"] for one in listed["data"]] == [key["key"]["id"]]
    secret = key["token"].rpartition("_")[2]
    assert secret not in str(listed)
    dump = await people.server.context("auth").database.fetch("SELECT k::text AS row FROM auth.api_key k")
    assert secret not in str(dump)
    assert (await people.call("DELETE", f"/v1/me/api-keys/{key['key']['id']}", token=token))[0] == 204
    assert (await people.call("GET", "/v1/me", token=key["token"]))[0] == 401
    assert (await people.call("DELETE", f"/v1/me/api-keys/{key['key']['id']}", token=token))[0] == 404


async def test_scopes(people: People) -> None:
    """A narrowed key does what its scopes say; a key makes no keys."""
    ada = await people.register()
    key = await made(people, ada["access_token"], scopes=["account:read"])
    assert (await people.call("GET", "/v1/me", token=key["token"]))[0] == 200
    status, answer, _ = await people.call("PATCH", "/v1/me", {"name": "X"}, token=key["token"])
    assert (status, answer["needs"]) == (403, "account:write")
    whole = await made(people, ada["access_token"])
    assert (await people.call("POST", "/v1/me/api-keys", {"name": "x"}, token=whole["token"]))[0] == 403
    assert (await people.call("POST", "/v1/auth/logout", token=whole["token"]))[0] == 409


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []}, {"scopes": ["*"]}, {"scopes": ["a b:c"]}, {"expires": "2001-01-01T00:00:00Z"},
        {"expires": "9999-12-31T23:59:59Z"}, {"expires": 5}, {"name": ""}, {"name": "\u202e"},
    ],
    ids=str,
)  # fmt: skip
async def test_bad_key(people: People, body: dict[str, Any]) -> None:
    """What makes no sense is refused."""
    status, _, _ = await people.call("POST", "/v1/me/api-keys", {"name": "ci"} | body, token=people.admin)
    assert status == 422


async def test_wrong_keys(people: People) -> None:
    """Another secret, a cut key, another's prefix, nothing: all are nobody's."""
    ada = await people.register()
    one, other = await made(people, ada["access_token"]), await made(people, ada["access_token"])
    token = one["token"]
    wrong = [token[:-1], token + "x", "mk_", "mk__", "mk_%_x", "mk_" + "x" * 9000, "mk_\u0444_x"]
    wrong.append(other["key"]["prefix"] + token[len(one["key"]["prefix"]) :])
    for bad in wrong[:-2]:
        assert (await people.call("GET", "/v1/me", token=bad))[0] in (401, 400), bad
    assert (await people.call("GET", "/v1/me", token=wrong[-1]))[0] == 401


async def test_expiry(people: People) -> None:
    """An expired key opens nothing."""
    ada = await people.register()
    key = await made(people, ada["access_token"], expires="2100-01-01T00:00:00Z")
    database = people.server.context("auth").database
    assert (await people.call("GET", "/v1/me", token=key["token"]))[0] == 200
    other = await made(people, ada["access_token"], expires="2100-01-01T00:00:00Z")
    await database.execute("UPDATE auth.api_key SET expires = now() WHERE prefix = $1", other["key"]["prefix"][3:])
    assert (await people.call("GET", "/v1/me", token=other["token"]))[0] == 401


async def test_last_used(people: People) -> None:
    """When a key was used is written down, many at once."""
    ada = await people.register()
    keys = [await made(people, ada["access_token"]) for _ in range(3)]
    await asyncio.gather(*(people.call("GET", "/v1/me", token=key["token"]) for key in keys[:2]))
    await people.server.shim.plugins[0]._parts.api_keys.note_used()  # type: ignore[attr-defined]
    _, listed, _ = await people.call("GET", "/v1/me/api-keys", token=ada["access_token"])
    assert [one["used"] is not None for one in listed["data"]] == [True, True, False]


async def test_anothers_keys(people: People) -> None:
    """Nobody sees or withdraws the keys of another."""
    ada, bo = await people.register(), await people.register("Bo")
    key = await made(people, ada["access_token"])
    path = f"/v1/me/api-keys/{key['key']['id']}"
    assert (await people.call("DELETE", path, token=bo["access_token"]))[0] == 404
    assert (await people.call("GET", "/v1/me/api-keys", token=bo["access_token"]))[1]["data"] == []
