"""Open sockets hear of changed rights: precisely those concerned, at once, and surely."""

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from conftest import PostgresServer, Valkey
from relay_process import Relay
from typists import Typist, until
from workspaces_people import Site, site

from plugins.workspaces.rechecks import Rechecks
from relay.control import Recheck
from relay.errors import Unavailable

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_precisely_those_concerned(works: Site) -> None:
    """A document's grant concerns one account in one room; a folder's the account; a group's its members; a
    restriction the rooms below."""
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, editor=bo, viewer=cy)
    folder = await works.papers.make("folder", w)
    document, other = await works.papers.make("document", folder), await works.papers.make("document", folder)
    group = UUID((await works.call(ada, "POST", f"/v1/workspaces/{w}/groups", {"name": "g"}))["id"])
    member = f"/v1/workspaces/{w}/groups/{group}/members/{cy.id}"
    role = await works.call(ada, "POST", f"/v1/workspaces/{w}/roles", {"name": "r", "permissions": ["write"]})
    bo_, cy_, rooms = {"actor": str(bo.id)}, {"actor": str(cy.id)}, [{"room": str(one)} for one in (document, other)]

    async def hints(expected: list[dict[str, str]], *call: Any, **more: Any) -> None:
        async with works.hints() as found:
            await works.call(ada, *call, **more)
        assert sorted(map(str, found)) == sorted(map(str, expected)), call

    grants = f"/v1/resources/{document}/grants"
    await hints([{"room": str(document), **bo_}], "PUT", f"{grants}/user/{bo.id}", {"role": "viewer"})
    await hints([{"room": str(document), **bo_}], "DELETE", f"{grants}/user/{bo.id}")
    await hints([bo_], "PUT", f"/v1/resources/{folder}/grants/user/{bo.id}", {"role": "viewer"})
    await hints([cy_], "PUT", member)
    await hints([cy_], "PUT", f"/v1/resources/{folder}/grants/group/{group}", {"role": "editor"})
    await hints([rooms[0]], "PUT", f"{grants}/group/{group}", {"role": "viewer"})
    await hints(rooms, "PUT", f"/v1/resources/{folder}/inheritance", {"inherits": False})
    await hints([bo_], "PUT", f"/v1/workspaces/{w}/members/{bo.id}", {"role": role["id"]})
    change = {"name": "r", "permissions": []}
    await hints([bo_], "PUT", f"/v1/workspaces/{w}/roles/{role['id']}", change, If_Match="*")
    await hints([cy_], "DELETE", f"/v1/workspaces/{w}/groups/{group}", If_Match="*")
    await hints([cy_], "DELETE", f"/v1/workspaces/{w}/members/{cy.id}")
    everybody = [bo_, {"actor": str(ada.id)}]
    await hints(everybody, "DELETE", f"/v1/workspaces/{w}", If_Match="*")
    await hints([], "GET", "/v1/workspaces")


async def test_many_rooms(works: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where very many documents are restricted at once, those who may be in them are named, if they are fewer."""
    monkeypatch.setattr("plugins.workspaces.concerned.MANY", 2)
    ada, bo = works.person("ada"), works.person("bo")
    w = await works.workspace(ada)
    folder = await works.papers.make("folder", w)
    documents = [await works.papers.make("document", folder) for _ in range(4)]
    await works.grant(ada, documents[0], bo.id, "viewer")
    link = await works.call(ada, "POST", f"/v1/resources/{documents[1]}/links", {})
    async with works.hints() as found:
        await works.call(ada, "PUT", f"/v1/resources/{folder}/inheritance", {"inherits": False})
    people = [{"actor": str(ada.id)}, {"actor": str(bo.id)}, {"session": link["id"]}]
    assert sorted(map(str, found)) == sorted(map(str, people))


async def test_event_does_it_again(postgres: str, own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody could be told right after the commit, the event has it done."""
    asked, told = 0, set[Recheck]()
    send = Rechecks.send

    async def forgetful(self: Rechecks, whom: Collection[Recheck]) -> None:
        """As if the process had died here."""

    async def failing_once(self: Rechecks, whom: Collection[Recheck]) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Unavailable("not now")
        await send(self, whom)
        told.update(whom)

    monkeypatch.setattr(Rechecks, "send_now", forgetful)
    async with site(postgres, own_valkey.url) as works:
        ada, bo = works.person("ada"), works.person("bo")
        document = await works.papers.make("document", await works.workspace(ada))
        monkeypatch.setattr(Rechecks, "send", failing_once)
        async with works.hints() as hints:
            await works.grant(ada, document, bo.id, "viewer")
            # Other events may come with the grant's, and each is handled by itself after one has failed.
            await until(lambda: Recheck(room=str(document), actor=str(bo.id)) in told, 10, "the event was handled")
        assert asked > 1
        assert {"room": str(document), "actor": str(bo.id)} in hints


@pytest_asyncio.fixture(loop_scope="session")
async def served(
    postgres_server: PostgresServer, own_valkey: Valkey, tmp_path: Path
) -> AsyncIterator[tuple[Site, Callable[[], int]]]:
    """A server, and a relay that asks it."""
    url = postgres_server.create_database()
    async with site(url, own_valkey.url) as works:
        flags = ("--role", "relay", "--shim", works.shim.shim.settings.shim or "")
        services = {"DATABASE_URL": url, "REDIS_URL": own_valkey.url, "RELAY_SHIM_SECRET": "s" * 32}
        relay = await asyncio.to_thread(Relay, tmp_path, flags, services)
        try:
            yield works, lambda: relay.port
        finally:
            await asyncio.to_thread(relay.stop)


async def test_open_sockets(served: tuple[Site, Callable[[], int]]) -> None:
    """Real editors in a real relay: downgraded ones are refused, revoked ones are out, mostly within a second."""
    works, port = served
    ada, bo, cy = works.person("ada"), works.person("bo"), works.person("cy")
    w = await works.workspace(ada, editor=bo)
    folder = await works.papers.make("folder", w)
    document = await works.papers.make("document", folder)
    room = str(document)
    links = [
        await works.call(ada, "POST", f"/v1/resources/{folder}/links", {"role": role})
        for role in ("editor", "commenter")
    ]
    guest = await Typist.join(port(), room, 11, token=links[0]["token"])
    reader = await Typist.join(port(), room, 12, token=links[1]["token"])
    first, second = [await Typist.join(port(), room, n, token=who.token) for n, who in ((13, bo), (14, ada))]
    stranger = await Typist.join(port(), room, 15, token=cy.token, wait=None)
    await until(lambda: stranger.closed, 5, "a stranger stays out")
    for typist in (guest, first, second, reader):
        typist.type()
    await until(lambda: all(one.saved == 1 for one in (guest, first, second)), 5, "they type")
    await until(lambda: reader.refused == 1, 5, "who may comment changes no content")

    took = []
    await works.grant(ada, folder, bo.id, "viewer")

    def refused() -> bool:
        first.type()
        return first.refused > 0

    took.append(await until(refused, 10, "Bo may only read from now on"))
    assert not first.closed
    await works.call(ada, "DELETE", f"/v1/links/{links[0]['id']}", expect=204)
    took.append(await until(lambda: guest.closed, 10, "the link was withdrawn"))
    await works.call(ada, "DELETE", f"/v1/workspaces/{w}/members/{bo.id}", expect=204)
    took.append(await until(lambda: first.closed, 10, "Bo is no member any more"))
    second.type()
    await until(lambda: second.saved == 2, 5, "Ada types on")
    assert not reader.closed
    await works.call(ada, "DELETE", f"/v1/workspaces/{w}", expect=204, If_Match="*")
    took.append(await until(lambda: second.closed and reader.closed, 10, "the workspace is in the trash"))
    assert statistics.median(took) < 1
