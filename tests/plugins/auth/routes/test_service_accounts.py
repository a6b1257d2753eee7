"""Accounts of programs and agents."""

from typing import Any

import pytest
from auth_people import People

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/v1/service-accounts"


async def made(people: People, **body: str) -> dict[str, Any]:
    status, answer, _ = await people.call("POST", PATH, {"name": "Robot"} | body, token=people.admin)
    assert status == 201, answer
    return dict(answer)


async def test_robot(people: People) -> None:
    """It comes by its keys, as what it is, and is gone when it was removed."""
    robot = await made(people, kind="agent")
    path = f"{PATH}/{robot['id']}"
    _, key, _ = await people.call("POST", f"{path}/api-keys", {"name": "prod"}, token=people.admin)
    status, me, _ = await people.call("GET", "/v1/me", token=key["token"])
    assert (status, me["kind"], me["email"], me["id"]) == (200, "agent", "", robot["id"])
    _, keys, _ = await people.call("GET", f"{path}/api-keys", token=people.admin)
    assert [one["id"] for one in keys["data"]] == [key["key"]["id"]]
    _, listed, _ = await people.call("GET", f"{PATH}?limit=200", token=people.admin)
    assert robot["id"] in [one["id"] for one in listed["data"]]
    assert (await people.call("GET", path, token=people.admin))[1]["name"] == "Robot"
    assert (await people.call("DELETE", path, token=people.admin))[0] == 204
    assert (await people.call("GET", "/v1/me", token=key["token"]))[0] == 401
    assert (await people.call("GET", path, token=people.admin))[1]["disabled"] is not None


async def test_one_key_withdrawn(people: People) -> None:
    """The others go on."""
    robot = await made(people)
    path = f"{PATH}/{robot['id']}/api-keys"
    keys = [(await people.call("POST", path, {"name": "k"}, token=people.admin))[1] for _ in range(2)]
    assert (await people.call("DELETE", f"{path}/{keys[0]['key']['id']}", token=people.admin))[0] == 204
    assert [(await people.call("GET", "/v1/me", token=key["token"]))[0] for key in keys] == [401, 200]


async def test_members_make_none(people: People) -> None:
    """They are an admin's business; people are no service accounts."""
    ada = await people.register()
    token = ada["access_token"]
    robot = await made(people)
    for method, path, body in (
        ("POST", PATH, {"name": "x"}),
        ("GET", PATH, None),
        ("DELETE", f"{PATH}/{robot['id']}", None),
        ("POST", f"{PATH}/{robot['id']}/api-keys", {"name": "x"}),
    ):
        assert (await people.call(method, path, body, token=token))[0] == 403
    path = f"{PATH}/{ada['user']['id']}/api-keys"
    assert (await people.call("POST", path, {"name": "x"}, token=people.admin))[0] == 404
    assert (await people.call("GET", f"{PATH}/{ada['user']['id']}", token=people.admin))[0] == 404
