"""Setting up, registering, logging in and out."""

import pytest
from auth_people import PASSWORD, People

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_register_and_login(people: People) -> None:
    """Whoever registers can log in, and the token says who they are."""
    ada = await people.register()
    status, me, _ = await people.call("GET", "/v1/me", token=ada["access_token"])
    assert (status, me["email"], me["role"]) == (200, ada["email"], "member")
    status, again = await people.login(ada["email"].upper())
    assert (status, again["user"]["id"]) == (200, me["id"])
