"""Invitations and requests for access over HTTP."""

import asyncio
from datetime import timedelta

import pytest
from workspaces_people import Site

from api_shim.ids import uuid7

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_accepted_by_link(works: Site) -> None:
    """Whoever has the link becomes a member with the role, once."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada)
    path = f"/v1/workspaces/{w}/invitations"
    made = await works.call(ada, "POST", path, {"email": "somebody@x.org", "role": "editor"})
    assert made["url"].endswith(made["token"])
    [listed] = (await works.call(ada, "GET", path))["data"]
    assert (listed["token"], listed["email"], listed["role"]) == (None, "somebody@x.org", "editor")
    calls = [
        works.shim.call("POST", "/v1/invitations:accept", {"token": made["token"]}, token=who.token) for who in (bo, cy)
    ]
    assert sorted(status for status, _, _ in await asyncio.gather(*calls)) == [200, 404]
    assert sorted([await works.role(bo, w) or "", await works.role(cy, w) or ""]) == ["", "editor"]
    await works.call(bo, "POST", "/v1/invitations:accept", {"token": "mi_made-up"}, 404)


async def test_accepted_by_address(works: Site) -> None:
    """Who has verified the address it was sent to finds and accepts it; who has not, does not."""
    ada = works.person("ada")
    address = f"{uuid7()}@x.org"
    liar, bo = works.person("liar", address, verified=False), works.person("bo", address.upper())
    w = await works.workspace(ada)
    made = await works.call(ada, "POST", f"/v1/workspaces/{w}/invitations", {"email": address, "role": "viewer"})
    accept = f"/v1/invitations/{made['id']}:accept"
    assert (await works.call(liar, "GET", "/v1/me/invitations"))["data"] == []
    await works.call(liar, "POST", accept, expect=404)
    [mine] = (await works.call(bo, "GET", "/v1/me/invitations"))["data"]
    assert (mine["workspace_name"], mine["role"]) == ("Works", "viewer")
    assert (await works.call(bo, "POST", accept)) == {"workspace": str(w), "role": "viewer"}
    await works.call(bo, "POST", accept, expect=404)


async def test_no_way_up(works: Site) -> None:
    """Nobody invites to more than they have, replaces such an invitation, or loses by accepting a lesser one."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, admin=bo, editor=cy)
    path = f"/v1/workspaces/{w}/invitations"
    await works.call(bo, "POST", path, {"email": "x@y.org", "role": "owner"}, 403)
    await works.call(cy, "POST", path, {"email": "x@y.org", "role": "viewer"}, 403)
    await works.call(cy, "GET", path, expect=403)
    owner = await works.call(ada, "POST", path, {"email": "x@y.org", "role": "owner"})
    await works.call(bo, "POST", path, {"email": "X@y.org", "role": "viewer"}, 403)
    await works.call(bo, "DELETE", f"{path}/{owner['id']}", expect=403)
    lesser = await works.call(ada, "POST", path, {"email": "z@y.org", "role": "viewer"})
    await works.call(cy, "POST", "/v1/invitations:accept", {"token": lesser["token"]}, 409)
    await works.call(ada, "DELETE", f"{path}/{lesser['id']}", expect=204)
    await works.call(works.person(), "POST", "/v1/invitations:accept", {"token": lesser["token"]}, 404)
    again = await works.call(ada, "POST", path, {"email": "X@y.org", "role": "viewer"})
    await works.call(works.person(), "POST", "/v1/invitations:accept", {"token": owner["token"]}, 404)
    await works.database.execute(
        "UPDATE workspaces.invitation SET expires = made - $2::interval WHERE id = $1", again["id"], timedelta(days=1)
    )
    await works.call(works.person(), "POST", "/v1/invitations:accept", {"token": again["token"]}, 410)


async def test_requests_for_access(works: Site) -> None:
    """Asking is answered alike for what exists and what does not; whoever may share lets in or not."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, editor=cy)
    document = await works.papers.make("document", w)
    asked = {"role": "editor", "message": "please"}
    for resource in (document, uuid7()):
        status, body, _ = await works.shim.call(
            "POST", f"/v1/resources/{resource}/access-requests", asked, token=bo.token
        )
        assert (status, body) == (202, None)
    await works.call(bo, "POST", f"/v1/resources/{document}/access-requests", {"role": "viewer"}, 202)
    await works.call(cy, "POST", f"/v1/resources/{document}/access-requests", {"role": "viewer"}, 202)
    path = f"/v1/resources/{document}/access-requests"
    await works.call(cy, "GET", path, expect=403)
    [request] = (await works.call(ada, "GET", path))["data"]
    assert (request["name"], request["role"], request["message"]) == ("bo", "viewer", "")
    one = f"/v1/access-requests/{request['id']}"
    await works.call(cy, "POST", f"{one}:approve", {}, 403)
    await works.call(bo, "POST", f"{one}:approve", {}, 404)
    await works.call(ada, "POST", f"{one}:approve", {"role": "commenter"}, 204)
    assert await works.role(bo, document) == "commenter"
    await works.call(ada, "POST", f"{one}:approve", {}, 404)
    await works.call(bo, "POST", path, {"role": "editor"}, 202)
    [request] = (await works.call(ada, "GET", path))["data"]
    await works.call(ada, "POST", f"/v1/access-requests/{request['id']}:deny", expect=204)
    assert await works.role(bo, document) == "commenter"
    await works.call(bo, "POST", f"/v1/resources/{w}/access-requests", {"role": "editor"}, 202)
    [request] = (await works.call(ada, "GET", f"/v1/resources/{w}/access-requests"))["data"]
    sharer = {"name": "s", "permissions": ["write", "share"]}
    role = await works.call(ada, "POST", f"/v1/workspaces/{w}/roles", sharer)
    await works.call(ada, "PUT", f"/v1/workspaces/{w}/members/{cy.id}", {"role": role["id"]})
    await works.call(cy, "POST", f"/v1/access-requests/{request['id']}:approve", {}, 403)
    await works.call(ada, "POST", f"/v1/access-requests/{request['id']}:approve", {}, 204)
    assert await works.role(bo, w) == "editor"
