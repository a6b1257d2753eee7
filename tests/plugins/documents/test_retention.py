"""What is deleted for good when its time has come."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from relay.contracts.materi.v1.users_pb2 import WorkspaceDeleted
from relay.types import RoomId

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def age(office: Any, days: float) -> None:
    """Time passes for what is in the trash."""
    for table in ("document", "folder"):
        await office.rights.database.execute(
            f"UPDATE documents.{table} SET trashed = trashed - $1::interval", timedelta(days=days)
        )


async def test_trash_is_emptied(office: Any) -> None:
    """A document goes with its room, a folder with all that is in it; what is younger or in use stays."""
    top = await office.folder()
    sub = await office.folder("Sub", top)
    inside = await office.document("text", folder=sub)
    alone, kept = await office.document("text"), await office.document("text")
    await office.done("DELETE", f"/v1/folders/{top}")
    await office.done("DELETE", alone)
    await age(office, 29)
    assert await office.plugin.retention.purge() == 0
    younger = await office.document("text")
    await office.done("DELETE", younger)
    await age(office, 1.01)
    await office.rights.database.execute(
        "UPDATE documents.document SET trashed = now() WHERE id = $1", younger.rpartition("/")[2]
    )
    assert await office.plugin.retention.purge() >= 2
    for path in (inside, alone, f"/v1/folders/{top}", f"/v1/folders/{sub}"):
        assert (await office.refused("GET", path))[0] == 404
    room = RoomId(inside.rpartition("/")[2])
    assert (await office.plugin.library.rooms.state(room)).update == b"\0\0"
    assert await office.events(top) == ["folder.created", "folder.trashed", "folder.deleted"]
    assert (await office.done("GET", younger))["state"] == "trashed"
    assert (await office.done("GET", kept))["state"] == "active"


async def test_restored_while_it_is_purged(office: Any) -> None:
    """It is restored whole, or gone whole."""
    for _ in range(5):
        path = await office.document("text")
        await office.done("DELETE", path)
        restored, purged = await asyncio.gather(
            office.call("POST", f"{path}:restore", {}), office.call("POST", f"{path}:purge")
        )
        if restored[0] == 200:
            assert purged[0] in (404, 409, 503)
            assert (await office.markdown(path))[0].strip() == "text"
        else:
            assert (restored[0], purged[0]) == (404, 204)


async def test_workspace_deleted(office: Any) -> None:
    """What was in a workspace is due when that was deleted."""
    workspace = await office.rights.workspace("ada")
    path = await office.document("text", workspace=str(workspace))
    async with office.rights.database.acquire() as connection, connection.transaction():
        deleted = WorkspaceDeleted(workspace_id=str(workspace))
        await office.plugin.library.outbox.add(connection, deleted, subject=str(workspace), actor="ada")
    async with asyncio.timeout(10):
        while (await office.done("GET", path))["state"] != "trashed":
            await asyncio.sleep(0.01)
    assert await office.plugin.retention.purge() >= 1
    assert (await office.refused("GET", path))[0] == 404
