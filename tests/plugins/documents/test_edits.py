"""When a document was last edited, and by whom."""

import asyncio
from typing import Any

import pytest

from relay.hooks import RoomEdited
from relay.types import Actor, RoomId

pytestmark = pytest.mark.asyncio(loop_scope="session")


def edited(room: str, *actors: str) -> RoomEdited:
    return RoomEdited(RoomId(room), "1:2-3", tuple(Actor(actor) for actor in actors))


async def test_written_together(office: Any) -> None:
    """Many facts become one time, one author and one event for each document; other rooms are nobody's."""
    one, other = await office.document(), await office.document()
    ids = [path.rpartition("/")[2] for path in (one, other)]
    for _ in range(20):
        for id in (*ids, "notes", ids[0].upper(), "00000000-0000-7000-8000-000000000000"):
            await office.plugin.on_room_edited(edited(id, "eve", "ken"))
    await office.plugin.edits.write()
    for path, id in zip((one, other), ids, strict=True):
        document = await office.done("GET", path)
        assert document["edited_by"] == "ken"
        assert document["edited"] > document["created"]
        assert await office.events(id) == ["document.created", "document.edited"]
    assert not office.plugin.edits._waiting


async def test_written_soon(office: Any) -> None:
    """Nobody has to ask for it."""
    path = await office.document()
    await office.plugin.on_room_edited(edited(path.rpartition("/")[2], "eve"))
    async with asyncio.timeout(10):
        while (await office.done("GET", path))["edited_by"] != "eve":
            await asyncio.sleep(0.01)
