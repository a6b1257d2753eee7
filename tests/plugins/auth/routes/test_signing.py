"""What a token says, for those who can't check it."""

import pytest
from auth_people import People

pytestmark = pytest.mark.asyncio(loop_scope="session")
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


async def test_introspect(people: People) -> None:
    """A service account learns whose a token is; for whatever is wrong with one, that it is not active."""
    ada = await people.register()
    _, robot, _ = await people.call("POST", "/v1/service-accounts", {"name": "R"}, token=people.admin)
    body = {"name": "k", "scopes": ["tokens:introspect"]}
    path = f"/v1/service-accounts/{robot['id']}/api-keys"
    _, key, _ = await people.call("POST", path, body, token=people.admin)

    async def ask(token: str) -> dict[str, object]:
        status, answer, _ = await people.call(
            "POST", "/v1/auth/introspect", f"token={token}".encode(), token=key["token"], **FORM
        )
        assert status == 200, answer
        return {name: value for name, value in answer.items() if value is not None}

    found = await ask(ada["access_token"])
    assert (found["active"], found["sub"], found["username"]) == (True, ada["user"]["id"], "Ada")
    for bad in (ada["access_token"][:-3], "junk", ada["refresh_token"]):
        assert await ask(bad) == {"active": False}
    await people.call("POST", "/v1/auth/logout", token=ada["access_token"])
    assert await ask(ada["access_token"]) == {"active": False}


async def test_members_ask_nothing(people: People) -> None:
    """Others' tokens are not a member's business; a form without a token is an error."""
    ada = await people.register()
    for token, expected in ((ada["access_token"], 403), (people.admin, 422)):
        status, _, _ = await people.call("POST", "/v1/auth/introspect", b"x=y", token=token, **FORM)
        assert status == expected
