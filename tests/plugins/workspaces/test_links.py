"""Share links and their guests over HTTP."""

import asyncio
from datetime import UTC, datetime

import pytest
from workspaces_people import Site

from plugins.workspaces.rights import RIGHTS
from relay.errors import Deny
from relay.hooks import ConnectAsked

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_link_is_a_token(works: Site) -> None:
    """A plain link opens what it is for, as a guest whose session is the link; its token is shown once and not kept."""
    ada = works.person("ada")
    w = await works.workspace(ada)
    folder = await works.papers.make("folder", w)
    document, other = await works.papers.make("document", folder), await works.papers.make("document", w)
    link = await works.call(ada, "POST", f"/v1/resources/{folder}/links", {"role": "commenter", "label": "for Bo"})
    assert link["url"].endswith(f"/share#{link['token']}")
    again = await works.call(ada, "GET", f"/v1/links/{link['id']}")
    assert (again["token"], again["url"], again["label"]) == (None, None, "for Bo")
    assert [one["id"] for one in (await works.call(ada, "GET", f"/v1/resources/{folder}/links"))["data"]] == [
        link["id"]
    ]
    kept = await works.database.fetchval("SELECT hash FROM workspaces.link")
    assert link["token"].encode() not in kept
    guest = await works.plugin.ask_connect(ConnectAsked(link["token"], "", ""))
    assert guest is not None
    assert (guest.kind, guest.session, guest.rooms) == ("guest", link["id"], {})
    assert [await works.access.role(guest, one) for one in (document, folder, other, w)] == [
        "commenter", "commenter", None, None,
    ]  # fmt: skip
    sql, arguments = works.access.visible(guest, 1)
    rows = await works.database.fetch(f"SELECT id FROM workspaces.resource WHERE {sql}", *arguments)
    assert {row["id"] for row in rows} == {folder, document}
    assert await works.plugin.ask_connect(ConnectAsked("person.x", "", "")) is None


async def test_guests_change_nothing(works: Site) -> None:
    """A guest can neither share nor join nor make anything, whatever the link gives."""
    ada = works.person("ada")
    w = await works.workspace(ada)
    document = await works.papers.make("document", w)
    link = await works.call(ada, "POST", f"/v1/resources/{document}/links", {"role": "editor"})
    # Even one that holds every right, which links can't be given.
    await works.database.execute(
        "UPDATE workspaces.granted SET rights = $2 WHERE subject = $1", link["id"], RIGHTS["admin"]
    )
    for method, path, body in (
        ("POST", f"/v1/resources/{document}/links", {}), ("DELETE", f"/v1/links/{link['id']}", None),
        ("PUT", f"/v1/links/{link['id']}", {"role": "editor"}),
        ("PUT", f"/v1/resources/{document}/grants/user/{ada.id}", {"role": "viewer"}),
        ("PUT", f"/v1/resources/{document}/inheritance", {"inherits": False}),
        ("POST", "/v1/workspaces", {"name": "x"}), ("GET", "/v1/workspaces", None),
        ("POST", "/v1/invitations:accept", {"token": "mi_x"}),
        ("POST", f"/v1/resources/{document}/access-requests", {}),
    ):  # fmt: skip
        await works.call(link["token"], method, path, body, 403)
    await works.call(link["token"], "GET", f"/v1/workspaces/{w}", expect=403)
    await works.call(link["token"], "GET", f"/v1/workspaces/{w}/members", expect=404)


async def test_who_may_make_them(works: Site) -> None:
    """A link gives no more than whoever makes it has, only for those who may share, and never to a workspace."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, editor=bo, viewer=cy)
    document = await works.papers.make("document", w)
    path = f"/v1/resources/{document}/links"
    for who in (bo, cy):
        await works.call(who, "POST", path, {"role": "viewer"}, 403)
    role = await works.call(
        ada, "POST", f"/v1/workspaces/{w}/roles", {"name": "s", "permissions": ["comment", "share"]}
    )
    await works.grant(ada, document, bo.id, role["id"])
    await works.call(bo, "POST", path, {"role": "editor"}, 403)
    link = await works.call(bo, "POST", path, {"role": "commenter"})
    await works.call(bo, "PUT", f"/v1/links/{link['id']}", {"role": "editor"}, 403)
    await works.call(ada, "PUT", f"/v1/links/{link['id']}", {"role": "editor"})
    await works.call(bo, "PUT", f"/v1/links/{link['id']}", {"role": "viewer"}, 403)
    await works.call(bo, "DELETE", f"/v1/links/{link['id']}", expect=403)
    own = await works.call(bo, "POST", path, {"role": "viewer"})
    await works.call(own["token"], "GET", f"/v1/authz/explain?resource={document}")
    await works.call(ada, "DELETE", f"/v1/resources/{document}/grants/user/{bo.id}", expect=204)
    await works.call(own["token"], "GET", f"/v1/authz/explain?resource={document}", expect=401)
    for role_ in ("admin", "owner", "none", role["id"]):
        await works.call(ada, "POST", path, {"role": role_}, 422)
    await works.call(ada, "POST", f"/v1/resources/{w}/links", {}, 409)


async def test_opened_with_password_and_so_often(works: Site) -> None:
    """A link with a password or a limit is no token itself; each opening counts, and guessing is slowed down."""
    ada = works.person("ada")
    document = await works.papers.make("document", await works.workspace(ada))
    path = f"/v1/resources/{document}/links"
    link = await works.call(ada, "POST", path, {"password": "pässword", "max_uses": 2})
    assert link["password"] is True
    assert "pässword" not in str(
        await works.database.fetchrow("SELECT * FROM workspaces.link WHERE id = $1", link["id"])
    )
    with pytest.raises(Deny, match="opened first"):
        await works.plugin.ask_connect(ConnectAsked(link["token"], "", ""))
    problem = await works.call(None, "POST", "/v1/links:open", {"token": link["token"]}, 401)
    assert problem["code"] == "password_needed"
    await works.call(None, "POST", "/v1/links:open", {"token": link["token"], "password": "password"}, 401)
    right = {"token": link["token"], "password": "pa\u0308ssword", "name": "Bo"}
    opened = [await works.call(None, "POST", "/v1/links:open", right) for _ in range(2)]
    assert opened[0]["role"] == "viewer"
    guests = [await works.plugin.ask_connect(ConnectAsked(one["token"], "", "")) for one in opened]
    assert [(guest.name, guest.session) for guest in guests if guest] == [("Bo", link["id"])] * 2
    assert len({guest.actor for guest in guests if guest}) == 2
    problem = await works.call(None, "POST", "/v1/links:open", right, 410)
    assert problem["code"] == "link_used_up"
    assert (await works.call(ada, "GET", f"/v1/links/{link['id']}"))["uses"] == 2
    link = await works.call(ada, "POST", path, {"password": "x"})
    guesses = [
        works.shim.call("POST", "/v1/links:open", {"token": link["token"], "password": str(n)}) for n in range(12)
    ]
    statuses = [status for status, _, _ in await asyncio.gather(*guesses)]
    assert sorted(set(statuses)) == [401, 429]
    await works.call(None, "POST", "/v1/links:open", {"token": link["token"], "password": "x"}, 429)


async def test_uses_at_the_same_moment(works: Site) -> None:
    """However many open a link at once, it is used as often as it may be."""
    ada = works.person("ada")
    document = await works.papers.make("document", await works.workspace(ada))
    link = await works.call(ada, "POST", f"/v1/resources/{document}/links", {"max_uses": 3})
    calls = [
        works.shim.call("POST", "/v1/links:open", {"token": link["token"]}, token=works.person().token)
        for _ in range(8)
    ]
    statuses = [status for status, _, _ in await asyncio.gather(*calls)]
    assert sorted(statuses) == [200] * 3 + [410] * 5


async def test_only_for_a_domain(works: Site) -> None:
    """A link for a domain opens for accounts whose verified address is there."""
    ada = works.person("ada")
    document = await works.papers.make("document", await works.workspace(ada))
    link = await works.call(ada, "POST", f"/v1/resources/{document}/links", {"domain": "Works.example"})
    body = {"token": link["token"]}
    await works.call(None, "POST", "/v1/links:open", body, 403)
    await works.call(works.person("eve", "eve@other.example"), "POST", "/v1/links:open", body, 403)
    await works.call(works.person("eve", "eve@sub.works.example"), "POST", "/v1/links:open", body, 403)
    await works.call(works.person("eve", "e@works.example", verified=False), "POST", "/v1/links:open", body, 403)
    await works.call(works.person("bo", "bo@WORKS.example"), "POST", "/v1/links:open", body)


async def test_forged(works: Site) -> None:
    """Tokens that were changed, made up, or of a link that is gone let nobody in."""
    ada = works.person("ada")
    document = await works.papers.make("document", await works.workspace(ada))
    link = await works.call(ada, "POST", f"/v1/resources/{document}/links", {})
    token = (await works.call(None, "POST", "/v1/links:open", {"token": link["token"]}))["token"]
    assert await works.plugin.ask_connect(ConnectAsked(token, "", "")) is not None
    changed = token[:60] + ("A" if token[60] != "A" else "B") + token[61:]
    for bad in (changed, token[:-4], "ml_g.", "ml_g." + "A" * 3000, "ml_g.é", "ml_", link["token"] + "x"):
        with pytest.raises(Deny) as denied:
            await works.plugin.ask_connect(ConnectAsked(bad, "", ""))
        assert denied.value.code == 4401
    await works.call(ada, "DELETE", f"/v1/links/{link['id']}", expect=204)
    for gone in (token, link["token"]):
        with pytest.raises(Deny):
            await works.plugin.ask_connect(ConnectAsked(gone, "", ""))
    await works.call(None, "POST", "/v1/links:open", {"token": link["token"]}, 404)


async def test_changed_revoked_and_expired(works: Site) -> None:
    """Guests who are there are asked about again when their link changes, is withdrawn or expires."""
    ada = works.person("ada")
    document = await works.papers.make("document", await works.workspace(ada))
    path = f"/v1/resources/{document}/links"
    soon = datetime.fromtimestamp(works.clock() + 60, UTC)
    changing = await works.call(ada, "POST", path, {"role": "editor"})
    brief = await works.call(ada, "POST", path, {"expires": soon.isoformat()})
    guest = await works.plugin.ask_connect(ConnectAsked(changing["token"], "", ""))
    assert guest is not None
    assert await works.access.role(guest, document) == "editor"
    async with works.hints({"session": changing["id"]}):
        await works.call(ada, "PUT", f"/v1/links/{changing['id']}", {"role": "viewer"})
        assert await works.access.role(guest, document) == "viewer"
    async with works.hints({"session": changing["id"]}):
        await works.call(ada, "DELETE", f"/v1/links/{changing['id']}", expect=204)
        assert await works.access.role(guest, document) is None
    async with works.hints({"session": brief["id"]}):
        works.clock.passed += 60
        with pytest.raises(Deny):
            await works.plugin.ask_connect(ConnectAsked(brief["token"], "", ""))
        await works.call(None, "POST", "/v1/links:open", {"token": brief["token"]}, 410)
