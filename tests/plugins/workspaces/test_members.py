"""Members and their roles over HTTP: who may change whom, and that somebody always owns."""

import asyncio
from uuid import UUID

import pytest
from workspaces_people import Site

from relay.contracts import Event
from relay.contracts.materi.v1 import users_pb2 as users
from relay.ids import milliseconds, uuid7

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_shown_with_addresses_to_those_who_manage(works: Site) -> None:
    """Names are for every member, addresses for those who manage, and one's own for oneself; lists come in pages."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, viewer=bo, editor=cy)
    path = f"/v1/workspaces/{w}/members"
    first = await works.call(bo, "GET", f"{path}?limit=2")
    rest = await works.call(bo, "GET", f"{path}?limit=2&cursor={first['next_cursor']}")
    found = {one["name"]: one for one in first["data"] + rest["data"]}
    assert {name: one["role"] for name, one in found.items()} == {"ada": "owner", "bo": "viewer", "cy": "editor"}
    assert [name for name, one in found.items() if one["email"]] == ["bo"]
    assert all(one["email"] for one in (await works.call(ada, "GET", path))["data"])
    await works.call(works.person("dee"), "GET", path, expect=404)


async def test_nobody_gives_or_takes_more_than_they_have(works: Site) -> None:
    """An admin neither makes owners nor touches them; who may not manage changes nobody."""
    ada, bo, cy, dee = (works.person(name) for name in ("ada", "bo", "cy", "dee"))
    w = await works.workspace(ada, admin=bo, editor=cy)
    path = f"/v1/workspaces/{w}/members"
    await works.call(bo, "PUT", f"{path}/{ada.id}", {"role": "viewer"}, 403)
    await works.call(bo, "DELETE", f"{path}/{ada.id}", expect=403)
    await works.call(bo, "PUT", f"{path}/{bo.id}", {"role": "owner"}, 403)
    await works.call(bo, "PUT", f"{path}/{dee.id}", {"role": "owner"}, 403)
    await works.call(bo, "POST", f"/v1/workspaces/{w}:transfer", {"account": str(bo.id)}, 403)
    for role in ("admin", "editor", "viewer"):
        await works.call(cy, "PUT", f"{path}/{dee.id}", {"role": role}, 403)
    await works.call(cy, "PUT", f"{path}/{cy.id}", {"role": "admin"}, 403)
    await works.call(cy, "DELETE", f"{path}/{bo.id}", expect=403)
    await works.call(bo, "PUT", f"{path}/{dee.id}", {"role": "admin"})
    await works.call(bo, "PUT", f"{path}/{dee.id}", {"role": "editor"})
    await works.call(bo, "PUT", f"{path}/{dee.id}", {"role": "king"}, 422)
    await works.call(bo, "PUT", f"{path}/{uuid7()}", {"role": "viewer"}, 404)


async def test_last_owner_stays(works: Site) -> None:
    """The only owner can't leave, be removed or be something less, until there is another."""
    ada, bo = works.person("ada"), works.person("bo")
    w = await works.workspace(ada, admin=bo)
    path = f"/v1/workspaces/{w}"
    for method, where, body in (
        ("POST", ":leave", None), ("DELETE", f"/members/{ada.id}", None),
        ("PUT", f"/members/{ada.id}", {"role": "admin"}),
    ):  # fmt: skip
        problem = await works.call(ada, method, path + where, body, 409)
        assert problem["code"] == "last_owner"
    await works.call(ada, "POST", f"{path}:transfer", {"account": str(works.person().id)}, 422)
    await works.call(ada, "POST", f"{path}:transfer", {"account": str(bo.id)}, 204)
    assert [await works.role(who, w) for who in (ada, bo)] == ["admin", "owner"]
    await works.call(ada, "POST", f"{path}:leave", expect=204)
    await works.call(ada, "GET", path, expect=404)


async def test_race_of_two_demotions(works: Site) -> None:
    """Of two owners who demote each other, or leave, at the same moment one stays."""
    for how in ("demote", "leave"):
        ada, bo = works.person("ada"), works.person("bo")
        w = await works.workspace(ada, owner=bo)
        path = f"/v1/workspaces/{w}"
        if how == "demote":
            calls = [
                works.shim.call("PUT", f"{path}/members/{other.id}", {"role": "viewer"}, token=one.token)
                for one, other in ((ada, bo), (bo, ada))
            ]
        else:
            calls = [works.shim.call("POST", f"{path}:leave", b"", token=one.token) for one in (ada, bo)]
        statuses = sorted(status for status, _, _ in await asyncio.gather(*calls))
        assert statuses in ([200, 403], [200, 409], [204, 409]), statuses
        owners = await works.database.fetchval(
            "SELECT count(*) FROM workspaces.member WHERE workspace = $1 AND rights & 64 <> 0", w
        )
        assert owners == 1


async def test_removed_with_all_that_came_with_it(works: Site) -> None:
    """Who is no member has no grants, groups or documents left there, and the secrets they know open nothing."""
    ada, bo = works.person("ada"), works.person("bo")
    w = await works.workspace(ada, admin=bo)
    folder = await works.papers.make("folder", w)
    own = await works.papers.make("document", folder, str(bo.id))
    shared = await works.papers.make("document", folder)
    link = await works.call(bo, "POST", f"/v1/resources/{own}/links", {})
    await works.grant(ada, shared, bo.id, "editor")
    group = await works.call(ada, "POST", f"/v1/workspaces/{w}/groups", {"name": "g"})
    await works.call(ada, "PUT", f"/v1/workspaces/{w}/groups/{group['id']}/members/{bo.id}", expect=204)
    await works.grant(ada, folder, UUID(group["id"]), "editor", kind="group")
    invited = await works.call(bo, "POST", f"/v1/workspaces/{w}/invitations", {"email": "x@y.org", "role": "admin"})
    assert [await works.role(bo, one) for one in (own, shared)] == ["owner", "editor"]
    guest = f"/v1/authz/explain?resource={own}"
    await works.call(link["token"], "GET", guest)
    await works.call(ada, "DELETE", f"/v1/workspaces/{w}/members/{bo.id}", expect=204)
    assert [await works.role(bo, one) for one in (w, folder, own, shared)] == [None] * 4
    await works.call(link["token"], "GET", guest, expect=401)
    await works.call(bo, "POST", "/v1/invitations:accept", {"token": invited["token"]}, 404)
    await works.call(ada, "PUT", f"/v1/workspaces/{w}/members/{bo.id}", {"role": "viewer"})
    assert [await works.role(bo, one) for one in (w, own, shared)] == ["viewer"] * 3


async def test_demoted(works: Site) -> None:
    """Who may no longer write owns nothing there; who may no longer share has no links; nor invitations."""
    ada, bo = works.person("ada"), works.person("bo")
    w = await works.workspace(ada, admin=bo)
    own = await works.papers.make("document", w, str(bo.id))
    link = await works.call(bo, "POST", f"/v1/resources/{own}/links", {})
    other = await works.papers.make("document", w)
    lost = await works.call(bo, "POST", f"/v1/resources/{other}/links", {})
    invited = await works.call(bo, "POST", f"/v1/workspaces/{w}/invitations", {"email": "x@y.org", "role": "viewer"})
    await works.call(ada, "PUT", f"/v1/workspaces/{w}/members/{bo.id}", {"role": "editor"})
    assert await works.role(bo, own) == "owner"
    await works.call(link["token"], "GET", f"/v1/authz/explain?resource={own}")
    await works.call(lost["token"], "GET", f"/v1/authz/explain?resource={other}", expect=401)
    await works.call(works.person(), "POST", "/v1/invitations:accept", {"token": invited["token"]}, 404)
    await works.call(ada, "PUT", f"/v1/workspaces/{w}/members/{bo.id}", {"role": "viewer"})
    assert await works.role(bo, own) == "viewer"
    await works.call(link["token"], "GET", f"/v1/authz/explain?resource={own}", expect=401)


async def test_roles_of_its_own(works: Site) -> None:
    """A workspace's own roles hold what they say at once, can't be given by those who have less, and only where they
    are; nobody's role is deleted."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w, elsewhere = await works.workspace(ada), await works.workspace(ada)
    roles, members = f"/v1/workspaces/{w}/roles", f"/v1/workspaces/{w}/members"
    role = await works.call(ada, "POST", roles, {"name": "Publisher", "permissions": ["write", "share"]})
    assert role["permissions"] == ["read", "comment", "write", "share"]
    await works.call(ada, "POST", roles, {"name": "publisher", "permissions": []}, 409)
    await works.call(ada, "PUT", f"{members}/{bo.id}", {"role": role["id"]})
    await works.call(ada, "PUT", f"/v1/workspaces/{elsewhere}/members/{bo.id}", {"role": role["id"]}, 422)
    document = await works.papers.make("document", w)
    assert await works.role(bo, document) == "editor"
    await works.grant(bo, document, cy.id, "editor")
    await works.grant(bo, document, cy.id, "admin", 403)
    await works.grant(bo, document, cy.id, "none", 403)
    await works.call(ada, "DELETE", f"{roles}/{role['id']}", expect=409, If_Match="*")
    narrower = {"name": "Reader", "permissions": []}
    await works.call(ada, "PUT", f"{roles}/{role['id']}", narrower, If_Match='"1"')
    assert await works.role(bo, document) == "viewer"
    await works.grant(bo, document, cy.id, "viewer", 403)
    manager = await works.call(ada, "POST", roles, {"name": "Manager", "permissions": ["manage"]})
    await works.call(ada, "PUT", f"{members}/{bo.id}", {"role": manager["id"]})
    await works.call(bo, "POST", roles, {"name": "More", "permissions": ["write"]}, 403)
    await works.call(bo, "PUT", f"{roles}/{manager['id']}", {"name": "M", "permissions": ["delete"]}, 403, If_Match="*")
    await works.call(bo, "PUT", f"{members}/{cy.id}", {"role": "editor"}, 403)
    await works.call(ada, "DELETE", f"{roles}/{role['id']}", expect=204, If_Match="*")


async def test_account_deleted(works: Site) -> None:
    """An account that is deleted leaves everything; what it alone owned goes to whoever may do most."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, admin=bo, editor=cy)
    document = await works.papers.make("document", w, str(ada.id))
    event = users.UserDeleted(user_id=str(ada.id))
    id = uuid7()
    async with works.database.acquire() as connection, connection.transaction():
        await works.plugin._parts[1].forget(  # type: ignore[attr-defined]
            connection, Event(id, milliseconds(id), str(ada.id), "", "", event)
        )
    assert [await works.role(who, document) for who in (ada, bo, cy)] == [None, "owner", "editor"]
