"""Who may open a document's room."""

from typing import Any
from uuid import uuid4

import pytest

from relay.errors import Deny
from relay.grants import Principal
from relay.hooks import JoinAsked
from relay.types import Actor, RoomId

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def answer(
    office: Any, room: str, actor: str = "ada", rooms: Any = None, scopes: Any = None, session: str = ""
) -> Any:
    """What a relay is told: a grant, no opinion, or the code of a no."""
    principal = Principal(Actor(actor), actor.title(), rooms, scopes=scopes, session=session)
    try:
        return await office.plugin.ask_join(JoinAsked(principal, RoomId(room), "127.0.0.1"))
    except Deny as denied:
        return denied.code, denied.reason


async def test_roles(office: Any) -> None:
    """Who may write writes, who may see reads, and others are told what they are told of a room that is not there."""
    id = (await office.document()).rpartition("/")[2]
    grants = {actor: await answer(office, id, actor) for actor in ("ada", "eve", "ken", "vic")}
    assert {actor: grant.readonly for actor, grant in grants.items()} == {
        "ada": False,
        "eve": False,
        "ken": True,
        "vic": True,
    }
    assert (grants["eve"].actor, grants["eve"].name) == ("eve", "Eve")
    nothing = await answer(office, str(uuid4()), "mal")
    assert nothing == (4404, "no such document")
    assert await answer(office, id, "mal") == nothing
    assert await answer(office, str(office.workspace), "ada") == nothing
    assert await answer(office, await office.folder(), "ada") == nothing
    assert await answer(office, id.upper(), "ada") == nothing


async def test_other_rooms(office: Any) -> None:
    """Rooms that are not named like documents are not ours to decide."""
    for room in ("notes", "docs/7", "{" + str(uuid4()) + "}", str(uuid4()).replace("-", "")):
        assert await answer(office, room) is None


async def test_narrowed(office: Any) -> None:
    """A token's rooms and scopes narrow what its holder's role allows, and never widen it."""
    id = (await office.document()).rpartition("/")[2]
    assert (await answer(office, id, rooms={id: "readonly"})).readonly
    assert not (await answer(office, id, rooms={"*": "read-write"})).readonly
    assert (await answer(office, id, "vic", rooms={id: "read-write"})).readonly
    assert (await answer(office, id, rooms={str(uuid4()): "read-write"}))[0] == 4404
    assert (await answer(office, id, scopes=frozenset({"documents:read"}))).readonly
    assert not (await answer(office, id, scopes=frozenset({"documents:read", "documents:write"}))).readonly
    assert (await answer(office, id, scopes=frozenset({"users:read"})))[0] == 4404
    # What a login's rooms say is about rooms that nobody decides about; a collab token's are all that it opens.
    assert not (await answer(office, id, rooms={}, session="login:1")).readonly
    collab = frozenset({"rooms"})
    assert not (await answer(office, id, rooms={id: "read-write"}, session="login:1", scopes=collab)).readonly
    assert (await answer(office, id, rooms={id: "readonly"}, session="login:1", scopes=collab)).readonly
    assert (await answer(office, id, "vic", {id: "read-write"}, collab, "login:1")).readonly
    assert (await answer(office, id, rooms={"x": "read-write"}, session="login:1", scopes=collab))[0] == 4404


async def test_states(office: Any) -> None:
    """Archived and locked documents are read; of one in the trash is said that it is deleted, to who may see it."""
    path = await office.document()
    id = path.rpartition("/")[2]
    await office.done("POST", f"{path}:archive")
    assert (await answer(office, id)).readonly
    await office.done("POST", f"{path}:unarchive")
    await office.done("PATCH", path, {"locked": True}, If_Match="*")
    assert (await answer(office, id)).readonly
    await office.done("PATCH", path, {"locked": False}, If_Match="*")
    assert not (await answer(office, id)).readonly
    await office.done("DELETE", path)
    assert await answer(office, id, "vic") == (4410, "document deleted")
    assert (await answer(office, id, "mal"))[0] == 4404
