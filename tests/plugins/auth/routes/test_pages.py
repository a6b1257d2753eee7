"""The links that people get open a page, not a 404."""

import pytest
from auth_people import People

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("path", ["/setup?token=t", "/register?invitation=i", "/verify?token=t", "/reset?token=t"])
async def test_pages(people: People, path: str) -> None:
    """Each is served with a policy under which its script runs, and is kept by nobody: the address holds a token."""
    status, body, headers = await people.call("GET", path)
    assert status == 200
    assert b"/letter/letter.js" in body
    assert headers["Content-Type"].startswith("text/html")
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")


async def test_script(people: People) -> None:
    """What it posts to is there."""
    status, body, _ = await people.call("GET", "/letter/letter.js")
    assert status == 200
    for path in ("/v1/auth/setup", "/v1/auth/register", "/v1/auth/password:reset", "/v1/auth/email:verify"):
        assert f"'{path}'" in body.decode()
        assert (await people.call("POST", path, {}))[0] == 422
