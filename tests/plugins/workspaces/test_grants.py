"""Grants on documents and folders over HTTP: what they do, and what nobody can do with them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from workspaces_people import Person, Site

from api_shim.ids import uuid7
from api_shim.problems import Conflict, NotFound

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_inherited_overruled_and_shut_out(works: Site) -> None:
    """What is granted nearer goes before what is inherited; `none` shuts out; nothing shuts an owner out."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, editor=bo)
    folder = await works.papers.make("folder", w)
    inner = await works.papers.make("folder", folder)
    document = await works.papers.make("document", inner)
    assert await works.role(bo, document) == "editor"
    await works.grant(ada, folder, bo.id, "viewer")
    assert await works.role(bo, document) == "viewer"
    await works.grant(ada, document, bo.id, "commenter")
    assert await works.role(bo, document) == "commenter"
    await works.grant(ada, inner, bo.id, "none")
    assert (await works.role(bo, inner), await works.role(bo, document)) == (None, "commenter")
    await works.call(ada, "DELETE", f"/v1/resources/{document}/grants/user/{bo.id}", expect=204)
    assert await works.role(bo, document) is None
    await works.grant(ada, document, cy.id, "viewer")
    assert (await works.role(cy, document), await works.role(cy, inner)) == ("viewer", None)
    await works.grant(ada, document, ada.id, "none")
    assert await works.role(ada, document) == "owner"
    shown = await works.call(ada, "GET", f"/v1/resources/{document}/access")
    assert {one["name"]: one["role"] for one in shown["grants"]} == {"cy": "viewer", "ada": "none"}
    assert (shown["role"], shown["parent"], shown["workspace"]) == ("owner", str(inner), str(w))


async def test_a_resource_that_does_not_inherit(works: Site) -> None:
    """Restricted, only those with a grant on it have access, and the workspace's owners; an admin can't undo it, and
    nobody locks themselves out by mistake."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, admin=bo, editor=cy)
    folder = await works.papers.make("folder", w)
    document = await works.papers.make("document", folder)
    path = f"/v1/resources/{folder}/inheritance"
    problem = await works.call(bo, "PUT", path, {"inherits": False}, 409)
    assert problem["code"] == "locks_out"
    await works.call(cy, "PUT", path, {"inherits": False}, 403)
    await works.call(ada, "PUT", path, {"inherits": False})
    await works.grant(ada, folder, cy.id, "editor")
    assert [await works.role(who, document) for who in (ada, bo, cy)] == ["owner", None, "editor"]
    await works.call(bo, "PUT", path, {"inherits": True}, 404)
    await works.grant(bo, folder, bo.id, "admin", 404)
    group = await works.call(bo, "POST", f"/v1/workspaces/{w}/groups", {"name": "g"})
    await works.grant(ada, folder, UUID(group["id"]), "editor", kind="group")
    await works.call(bo, "PUT", f"/v1/workspaces/{w}/groups/{group['id']}/members/{bo.id}", expect=403)
    await works.call(ada, "PUT", path, {"inherits": True})
    assert await works.role(bo, document) == "admin"
    await works.call(ada, "PUT", f"/v1/resources/{w}/inheritance", {"inherits": False}, 409)


async def test_groups(works: Site) -> None:
    """What a group is granted its members have while they are in it, together with its other groups; none wins."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, viewer=bo)
    document = await works.papers.make("document", w)
    groups = f"/v1/workspaces/{w}/groups"
    ids = []
    for name in ("one", "two"):
        group = await works.call(ada, "POST", groups, {"name": name})
        ids.append(UUID(group["id"]))
        await works.call(ada, "PUT", f"{groups}/{group['id']}/members/{bo.id}", expect=204)
    await works.call(ada, "POST", groups, {"name": "ONE"}, 409)
    await works.call(ada, "PUT", f"{groups}/{ids[0]}/members/{cy.id}", expect=404)
    await works.call(bo, "PUT", f"{groups}/{ids[0]}/members/{bo.id}", expect=403)
    await works.grant(ada, document, ids[0], "editor", kind="group")
    await works.grant(ada, document, ids[1], "viewer", kind="group")
    assert await works.role(bo, document) == "editor"
    await works.grant(ada, document, ids[1], "none", kind="group")
    assert await works.role(bo, document) is None
    await works.call(ada, "DELETE", f"{groups}/{ids[1]}", expect=204, If_Match="*")
    assert await works.role(bo, document) == "editor"
    assert [one["name"] for one in (await works.call(bo, "GET", f"{groups}/{ids[0]}/members"))["data"]] == ["bo"]
    await works.call(ada, "DELETE", f"{groups}/{ids[0]}/members/{bo.id}", expect=204)
    assert await works.role(bo, document) == "viewer"
    renamed = await works.call(ada, "PATCH", f"{groups}/{ids[0]}", {"name": "three"}, If_Match='"1"')
    assert renamed["name"] == "three"


async def test_nobody_grants_or_takes_more_than_they_have(works: Site) -> None:
    """Who may share shares what they have, with those who have no more; taking a grant back is no way up either."""
    ada, bo, cy, dee = (works.person(name) for name in ("ada", "bo", "cy", "dee"))
    w = await works.workspace(ada, admin=bo, editor=cy)
    document = await works.papers.make("document", w)
    await works.grant(cy, document, dee.id, "viewer", 403)
    await works.grant(bo, document, dee.id, "owner", 422)
    await works.grant(bo, document, ada.id, "none", 403)
    role = await works.call(
        ada, "POST", f"/v1/workspaces/{w}/roles", {"name": "s", "permissions": ["comment", "share"]}
    )
    await works.grant(ada, document, cy.id, role["id"])
    assert await works.role(cy, document) == "commenter"
    await works.grant(cy, document, dee.id, "editor", 403)
    await works.grant(cy, document, bo.id, "viewer", 403)
    await works.grant(cy, document, dee.id, "commenter")
    # Without the grant Cy would be an editor again, which is more.
    await works.call(cy, "DELETE", f"/v1/resources/{document}/grants/user/{cy.id}", expect=403)
    group = UUID((await works.call(ada, "POST", f"/v1/workspaces/{w}/groups", {"name": "g"}))["id"])
    await works.call(ada, "PUT", f"/v1/workspaces/{w}/groups/{group}/members/{bo.id}", expect=204)
    await works.grant(cy, document, group, "viewer", 403, kind="group")
    await works.grant(ada, document, group, "viewer", kind="group")
    await works.call(cy, "DELETE", f"/v1/resources/{document}/grants/group/{group}", expect=403)
    await works.grant(ada, w, dee.id, "viewer", 409)


async def test_ids_of_others(works: Site) -> None:
    """Every id of a workspace that one has nothing to do with is answered as one that does not exist."""
    ada, eve = works.person("ada"), works.person("eve")
    w, hers = await works.workspace(ada), await works.workspace(eve)
    document, her_document = await works.papers.make("document", w), await works.papers.make("document", hers)
    group = (await works.call(ada, "POST", f"/v1/workspaces/{w}/groups", {"name": "g"}))["id"]
    role = (await works.call(ada, "POST", f"/v1/workspaces/{w}/roles", {"name": "r", "permissions": []}))["id"]
    link = (await works.call(ada, "POST", f"/v1/resources/{document}/links", {}))["id"]
    invited = await works.call(ada, "POST", f"/v1/workspaces/{w}/invitations", {"email": "a@b.c", "role": "viewer"})
    await works.call(works.person(), "POST", f"/v1/resources/{document}/access-requests", {}, 202)
    request = (await works.call(ada, "GET", f"/v1/resources/{document}/access-requests"))["data"][0]["id"]
    grant = {"role": "viewer"}
    for method, path, body in (
        ("GET", f"/v1/workspaces/{w}", None), ("PATCH", f"/v1/workspaces/{w}", {}),
        ("DELETE", f"/v1/workspaces/{w}", None), ("POST", f"/v1/workspaces/{w}:restore", None),
        ("POST", f"/v1/workspaces/{w}:leave", None), ("POST", f"/v1/workspaces/{w}:transfer", {"account": str(eve.id)}),
        ("PUT", f"/v1/workspaces/{w}/members/{eve.id}", grant),
        ("DELETE", f"/v1/workspaces/{w}/members/{ada.id}", None),
        ("GET", f"/v1/workspaces/{w}/groups", None), ("GET", f"/v1/workspaces/{hers}/groups/{group}", None),
        ("GET", f"/v1/workspaces/{hers}/groups/{group}/members", None),
        ("PUT", f"/v1/workspaces/{hers}/groups/{group}/members/{eve.id}", None),
        ("DELETE", f"/v1/workspaces/{hers}/groups/{group}", None),
        ("GET", f"/v1/workspaces/{w}/roles", None), ("GET", f"/v1/workspaces/{hers}/roles/{role}", None),
        ("DELETE", f"/v1/workspaces/{hers}/roles/{role}", None),
        ("PUT", f"/v1/workspaces/{hers}/roles/{role}", {"name": "x", "permissions": []}),
        ("GET", f"/v1/resources/{document}/access", None), ("GET", f"/v1/resources/{document}/links", None),
        ("PUT", f"/v1/resources/{document}/grants/user/{eve.id}", grant),
        ("PUT", f"/v1/resources/{her_document}/grants/group/{group}", grant),
        ("DELETE", f"/v1/resources/{document}/grants/user/{eve.id}", None),
        ("PUT", f"/v1/resources/{document}/inheritance", {"inherits": True}),
        ("POST", f"/v1/resources/{document}/links", {}), ("GET", f"/v1/links/{link}", None),
        ("PUT", f"/v1/links/{link}", grant), ("DELETE", f"/v1/links/{link}", None),
        ("GET", f"/v1/workspaces/{w}/invitations", None),
        ("DELETE", f"/v1/workspaces/{hers}/invitations/{invited['id']}", None),
        ("POST", f"/v1/invitations/{invited['id']}:accept", None),
        ("GET", f"/v1/resources/{document}/access-requests", None),
        ("POST", f"/v1/access-requests/{request}:approve", {}), ("POST", f"/v1/access-requests/{request}:deny", None),
        ("GET", f"/v1/authz/explain?resource={document}", None),
        ("GET", f"/v1/authz/explain?resource={document}&account={ada.id}", None),
        # A workspace's operations on something that is none, and the other way round.
        ("GET", f"/v1/workspaces/{her_document}/members", None), ("DELETE", f"/v1/workspaces/{her_document}", None),
    ):  # fmt: skip
        await works.call(eve, method, path, body, 404, If_Match="*")
    await works.call(eve, "PUT", f"/v1/workspaces/{hers}/members/{ada.id}", {"role": role}, 422)
    await works.grant(eve, her_document, ada.id, role, 422)
    asked = {"checks": [{"resource": str(document), "permission": "read"}]}
    [result] = (await works.call(eve, "POST", "/v1/authz/check", asked))["results"]
    assert result == {"allowed": False, "role": None}


async def test_moved(works: Site) -> None:
    """Access is that of the new place; into another workspace no grant, group or link goes along."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w, other = await works.workspace(ada, editor=bo), await works.workspace(ada, viewer=cy)
    folder, shut = await works.papers.make("folder", w), await works.papers.make("folder", w)
    await works.call(ada, "PUT", f"/v1/resources/{shut}/inheritance", {"inherits": False})
    document = await works.papers.make("document", folder, str(bo.id))
    await works.grant(ada, document, cy.id, "commenter")
    link = await works.call(ada, "POST", f"/v1/resources/{document}/links", {"role": "editor"})
    assert [await works.role(who, document) for who in (bo, cy)] == ["owner", "commenter"]
    async with works.hints({"room": str(document)}):
        await works.papers.move(folder, shut)
    assert [await works.role(who, document) for who in (bo, cy)] == ["owner", "commenter"]
    assert await works.role(bo, folder) is None
    async with works.hints({"session": link["id"]}):
        await works.papers.move(document, other)
    assert [await works.role(who, document) for who in (ada, bo, cy)] == ["owner", None, "viewer"]
    await works.call(link["token"], "GET", f"/v1/authz/explain?resource={document}", expect=401)
    for child, parent in ((shut, folder), (shut, shut), (w, other), (folder, document)):
        with pytest.raises(Conflict):
            await works.papers.move(child, parent)
    with pytest.raises(NotFound):
        await works.papers.move(folder, uuid7())


async def test_placing_and_removing(works: Site) -> None:
    """What is placed is seen at once; what has something in it is not removed; what is removed is gone."""
    ada = works.person()
    w = await works.workspace(ada)
    folder = await works.papers.make("folder", w)
    document = await works.papers.make("document", folder)
    assert await works.role(ada, document) == "owner"
    access, database = works.access, works.database

    async def remove(resource: UUID) -> None:
        async with database.acquire() as connection, connection.transaction():
            await access.remove(connection, resource)

    for bad in (folder, w):
        with pytest.raises(Conflict):
            await remove(bad)
    with pytest.raises(Conflict):
        await works.papers.make("document", document)
    with pytest.raises(NotFound):
        await works.papers.make("document", uuid7())
    await remove(document)
    assert await works.role(ada, document) is None
    await remove(folder)
    deep = w
    for _ in range(49):
        deep = await works.papers.make("folder", deep)
    with pytest.raises(Conflict):
        await works.papers.make("folder", deep)


async def test_expires(works: Site) -> None:
    """A grant stops when it expires, here and for open sockets, without anybody doing anything."""
    ada, bo = works.person("ada"), works.person("bo")
    w = await works.workspace(ada)
    document, folder = await works.papers.make("document", w), await works.papers.make("folder", w)
    below = await works.papers.make("document", folder)
    soon = datetime.fromtimestamp(works.clock() + 60, UTC)
    await works.grant(ada, document, bo.id, "editor", 422, expires="2001-01-01T00:00:00Z")
    await works.grant(ada, document, bo.id, "editor", 422, expires=soon.replace(tzinfo=None).isoformat())
    await works.grant(ada, document, bo.id, "editor", 422, expires="9999-12-31T23:59:59-14:00")
    await works.grant(ada, document, bo.id, "editor", expires=soon.isoformat())
    await works.grant(ada, folder, bo.id, "viewer", expires=soon.isoformat())
    assert [await works.role(bo, one) for one in (document, below)] == ["editor", "viewer"]
    async with works.hints({"room": str(document), "actor": str(bo.id)}, {"actor": str(bo.id)}):
        works.clock.passed += 60
        assert [await works.role(bo, one) for one in (document, below)] == [None, None]


async def test_explained(works: Site) -> None:
    """Why somebody may do something: each grant that was considered, and which decided; of others only those are told
    who may share."""
    ada, bo = works.person("ada"), works.person("bo")
    w = await works.workspace(ada, editor=bo)
    folder = await works.papers.make("folder", w)
    document = await works.papers.make("document", folder)
    await works.grant(ada, folder, bo.id, "commenter")
    path = f"/v1/authz/explain?resource={document}"
    found = await works.call(bo, "GET", path)
    steps = [(one["kind"], one["via"], one["role"], one["outcome"]) for one in found["considered"]]
    assert steps == [("folder", "user", "commenter", "decides"), ("workspace", "member", "editor", "overruled")]
    assert (found["role"], found["permissions"]) == ("commenter", ["read", "comment"])
    assert await works.call(ada, "GET", f"{path}&account={bo.id}") == found
    await works.call(bo, "GET", f"{path}&account={ada.id}", expect=403)
    owner = await works.call(ada, "GET", path)
    assert [(one["via"], one["outcome"]) for one in owner["considered"]] == [("workspace_owner", "decides")]
    checks = [{"resource": str(document), "permission": name} for name in ("read", "comment", "write")]
    answer = await works.call(bo, "POST", "/v1/authz/check", {"checks": checks})
    assert [one["allowed"] for one in answer["results"]] == [True, True, False]
    others = {"checks": [{"resource": str(document), "permission": "write", "account": str(bo.id)}]}
    assert (await works.call(ada, "POST", "/v1/authz/check", others))["results"] == [
        {"allowed": False, "role": "commenter"}
    ]
    others["checks"][0]["account"] = str(ada.id)
    await works.call(bo, "POST", "/v1/authz/check", others, 403)


async def test_require(works: Site) -> None:
    """Other plugins are told the role, or that there is no such thing, or that it is not allowed."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, viewer=bo)
    document = await works.papers.make("document", w)

    async def tried(who: Person) -> str:
        try:
            return await works.access.require(who.principal, "write", document)
        except Exception as problem:
            return type(problem).__name__

    assert [await tried(who) for who in (ada, bo, cy)] == ["owner", "Forbidden", "NotFound"]
