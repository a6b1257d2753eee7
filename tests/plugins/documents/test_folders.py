"""Folders are a tree, whatever is done to it at once."""

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_made_renamed_listed(office: Any) -> None:
    """A folder has a name and a place; names are changed by who has seen the last one."""
    top = await office.folder("Top")
    sub = await office.folder("Sub", top)
    listed = await office.done("GET", f"/v1/folders?filter[parent]={top}")
    assert [one["id"] for one in listed["data"]] == [sub]
    _, _, headers = await office.call("GET", f"/v1/folders/{sub}")
    renamed = await office.done("PATCH", f"/v1/folders/{sub}", {"name": "Other"}, If_Match=headers["ETag"])
    assert (renamed["name"], renamed["parent"]) == ("Other", top)
    assert (await office.refused("PATCH", f"/v1/folders/{sub}", {"name": "x"}, If_Match=headers["ETag"]))[0] == 412
    assert (await office.refused("POST", "/v1/folders", {"workspace": str(office.workspace), "name": ""}))[0] == 422
    assert await office.events(sub) == ["folder.created", "folder.updated"]


async def test_not_below_itself(office: Any) -> None:
    """A folder can't be put into itself, or into what is in it."""
    top = await office.folder()
    sub = await office.folder("Sub", top)
    leaf = await office.folder("Leaf", sub)
    for parent in (top, sub, leaf):
        assert await office.refused("POST", f"/v1/folders/{top}:move", {"parent": parent}) == (409, "wrong_place")
    moved = await office.done("POST", f"/v1/folders/{leaf}:move", {"parent": None})
    assert moved["parent"] is None


async def test_moves_at_once_make_no_circle(office: Any) -> None:
    """Each of two folders is moved into the other at once: one move is refused."""
    for _ in range(5):
        one, other = await office.folder("One"), await office.folder("Other")
        answers = await asyncio.gather(
            office.call("POST", f"/v1/folders/{one}:move", {"parent": other}),
            office.call("POST", f"/v1/folders/{other}:move", {"parent": one}),
        )
        assert sorted(answer[0] for answer in answers) == [200, 409]
    three = [await office.folder(str(n)) for n in range(3)]
    answers = await asyncio.gather(
        *(office.call("POST", f"/v1/folders/{three[n]}:move", {"parent": three[n - 1]}) for n in range(3))
    )
    assert sorted(answer[0] for answer in answers) == [200, 200, 409]


async def test_depth(office: Any) -> None:
    """Up to 32 levels, by making and by moving."""
    parent = None
    chain = []
    for n in range(32):
        parent = await office.folder(f"Level {n}", parent)
        chain.append(parent)
    body = {"workspace": str(office.workspace), "name": "one more", "parent": parent}
    assert await office.refused("POST", "/v1/folders", body) == (409, "wrong_place")
    top = await office.folder()
    await office.folder("Sub", top)
    assert await office.refused("POST", f"/v1/folders/{top}:move", {"parent": chain[30]}) == (409, "wrong_place")
    assert (await office.done("POST", f"/v1/folders/{top}:move", {"parent": chain[29]}))["parent"] == chain[29]


async def test_other_workspaces(office: Any) -> None:
    """Nothing is put into a folder of another workspace."""
    theirs = await office.rights.workspace("ada")
    folder = (await office.done("POST", "/v1/folders", {"workspace": str(theirs), "name": "Theirs"}))["id"]
    ours = await office.folder()
    assert (await office.refused("POST", f"/v1/folders/{ours}:move", {"parent": folder}))[0] == 404
    body = {"workspace": str(office.workspace), "name": "x", "parent": folder}
    assert (await office.refused("POST", "/v1/folders", body))[0] == 404


async def test_trash(office: Any) -> None:
    """With all that is in it, and back; what was in the trash before stays there."""
    top = await office.folder()
    sub = await office.folder("Sub", top)
    before, inside = await office.document(folder=sub), await office.document(folder=sub)
    await office.done("DELETE", before)
    await office.done("DELETE", f"/v1/folders/{top}")
    assert (await office.done("GET", inside))["state"] == "trashed"
    assert (await office.refused("GET", inside, token="eve"))[0] == 404
    for path in (inside, before):
        assert await office.refused("POST", f"{path}:restore") == (409, "in_trash")
    assert await office.refused("POST", f"/v1/folders/{sub}:restore") == (409, "in_trash")
    new = {"workspace": str(office.workspace), "folder": sub}
    assert await office.refused("POST", "/v1/documents", new) == (409, "in_trash")
    elsewhere = await office.document()
    assert await office.refused("POST", f"{elsewhere}:move", {"folder": sub}) == (409, "in_trash")
    assert await office.refused("POST", f"/v1/folders/{await office.folder()}:move", {"parent": sub}) == (
        409,
        "in_trash",
    )
    await office.done("POST", f"/v1/folders/{top}:restore")
    restored = await office.done("GET", inside)
    assert (restored["state"], restored["folder"]) == ("active", sub)
    assert (await office.done("GET", before))["state"] == "trashed"
    await office.done("DELETE", f"/v1/folders/{top}")
    out = await office.done("POST", f"{inside}:restore", {"folder": None})
    assert (out["state"], out["folder"]) == ("active", None)
    again = await office.done("POST", f"/v1/folders/{top}:restore", {"folder": None})
    assert again["trashed"] is None
    told = ["folder.created", "folder.trashed", "folder.restored", "folder.trashed", "folder.restored"]
    assert await office.events(top) == told
