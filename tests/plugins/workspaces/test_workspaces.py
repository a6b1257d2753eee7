"""Workspaces over HTTP."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from conftest import Valkey
from shim import Running
from workspaces_people import Site, site

from relay.bus import Event

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_made_changed_and_listed(works: Site) -> None:
    """Whoever makes a workspace owns it; changes need the version that was seen."""
    ada, bo = works.person("ada"), works.person("bo")
    w = await works.workspace(ada)
    path = f"/v1/workspaces/{w}"
    status, body, headers = await works.shim.call("GET", path, token=ada.token)
    assert (status, body["role"], headers["Etag"]) == (200, "owner", '"1"')
    assert body["permissions"] == ["read", "comment", "write", "share", "manage", "delete"]
    await works.call(ada, "PATCH", path, {"name": "Other"}, 428)
    changed = await works.call(ada, "PATCH", path, {"name": "Other"}, If_Match='"1"')
    assert changed["name"] == "Other"
    await works.call(ada, "PATCH", path, {"name": "Third"}, 412, If_Match='"1"')
    assert [one["id"] for one in (await works.call(ada, "GET", "/v1/workspaces"))["data"]] == [str(w)]
    assert (await works.call(bo, "GET", "/v1/workspaces"))["data"] == []
    await works.call(bo, "GET", path, expect=404)
    await works.call(None, "GET", path, expect=401)


async def test_trash_and_restore(works: Site) -> None:
    """In the trash everything is closed to everybody, and is as it was after that."""
    ada, bo = works.person(), works.person("bo")
    w = await works.workspace(ada, admin=bo)
    document = await works.papers.make("document", w)
    path = f"/v1/workspaces/{w}"
    await works.call(bo, "DELETE", path, expect=403, If_Match="*")
    await works.call(ada, "DELETE", path, expect=204, If_Match="*")
    assert [await works.role(who, document) for who in (ada, bo)] == [None, None]
    assert (await works.call(ada, "GET", "/v1/workspaces"))["data"] == []
    [shown] = (await works.call(ada, "GET", "/v1/workspaces?trashed=true"))["data"]
    assert shown["purge_after"] > shown["trashed"]
    assert (await works.call(bo, "GET", "/v1/workspaces?trashed=true"))["data"] == []
    await works.call(bo, "GET", path, expect=404)
    await works.call(bo, "POST", f"{path}:restore", expect=404)
    await works.call(ada, "GET", path)
    await works.call(ada, "POST", f"{path}:restore")
    await works.call(ada, "POST", f"{path}:restore", expect=409)
    assert [await works.role(who, document) for who in (ada, bo)] == ["owner", "admin"]


async def test_purged_when_due(postgres: str, own_valkey: Valkey) -> None:
    """What was in the trash for long enough is deleted for good, and an event says so to those who keep its content."""
    heard: list[Event] = []
    async with site(postgres, own_valkey.url, trash_retention=0, purge_every=0.1) as works:

        async def hear(connection: object, event: Event) -> None:
            heard.append(event)

        await works.papers.context.consume("test", ["users"], hear)
        ada, bo = works.person(), works.person("bo")
        w = await works.workspace(ada)
        role = await works.call(ada, "POST", f"/v1/workspaces/{w}/roles", {"name": "r", "permissions": ["share"]})
        await works.call(ada, "PUT", f"/v1/workspaces/{w}/members/{bo.id}", {"role": role["id"]})
        folder = await works.papers.make("folder", w, str(ada.id))
        await works.papers.make("document", folder)
        await works.call(ada, "POST", f"/v1/resources/{folder}/links", {})
        await works.call(ada, "DELETE", f"/v1/workspaces/{w}", expect=204, If_Match="*")
        async with asyncio.timeout(10):
            while not any(event.type == "workspace.deleted" for event in heard):
                await asyncio.sleep(0.01)
        assert [e.subject for e in heard if e.type == "workspace.deleted"] == [str(w)]
        for table in ("workspace", "member", "resource", "role", "granted", "link", "reach"):
            assert await works.database.fetchval(f"SELECT count(*) FROM workspaces.{table}") == 0, table
        async with works.database.acquire() as connection, connection.transaction():
            await works.access.remove(connection, folder)  # what is gone has no place to lose


async def test_forgets_what_expired_long_ago(works: Site) -> None:
    """Grants and invitations that expired a month ago are deleted; those that may still matter are not."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada)
    document = await works.papers.make("document", w)
    for who in (bo, cy):
        await works.grant(ada, document, who.id, "viewer", expires="2990-01-01T00:00:00Z")
    await works.call(ada, "POST", f"/v1/workspaces/{w}/invitations", {"email": "a@b.c", "role": "viewer"})
    long_ago = datetime.now(UTC) - timedelta(days=31)
    await works.database.execute("UPDATE workspaces.granted SET expires = $2 WHERE subject = $1", bo.id, long_ago)
    await works.database.execute("UPDATE workspaces.invitation SET expires = $2 WHERE workspace = $1", w, long_ago)
    await works.plugin.purge.tidy()
    assert await works.database.fetchval("SELECT count(*) FROM workspaces.granted WHERE resource = $1", document) == 1
    assert not await works.database.fetchval("SELECT count(*) FROM workspaces.invitation WHERE workspace = $1", w)


async def test_limit_of_workspaces(postgres: str, own_valkey: Valkey) -> None:
    """An account owns so many workspaces and no more."""
    async with site(postgres, own_valkey.url, most_workspaces=2) as works:
        ada = works.person()
        calls = [works.shim.call("POST", "/v1/workspaces", {"name": "w"}, token=ada.token) for _ in range(5)]
        assert sorted(status for status, _, _ in await asyncio.gather(*calls)) == [201, 201, 403, 403, 403]


async def test_described(works: Site) -> None:
    """Every operation is in the OpenAPI document, with a summary and the scope that narrowed tokens need."""
    shim: Running = works.shim
    _, body, _ = await shim.call("GET", "/openapi.json")
    ours = [path for path in body["paths"] if path.startswith(("/v1/workspaces", "/v1/resources", "/v1/links"))]
    assert len(ours) > 15
    assert UUID(str(works.person().id))
