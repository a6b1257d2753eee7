"""Documents are made, listed, changed, moved, put away, thrown away and brought back."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from relay.hooks import RoomEdited
from relay.types import Actor, RoomId

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_made_and_read(office: Any) -> None:
    """A document is where it was put, belongs to who made it, and is told of."""
    path = await office.document(title="Plan")
    status, document, headers = await office.call("GET", path)
    assert status == 200
    assert document["title"] == "Plan"
    assert document["workspace"] == str(office.workspace)
    assert (document["state"], document["role"], document["created_by"]) == ("active", "owner", "ada")
    assert headers["ETag"].startswith('"1-')
    assert (await office.call("GET", path, If_None_Match=headers["ETag"]))[0] == 304
    assert await office.events(document["id"]) == ["document.created"]


async def test_every_id_is_checked(office: Any) -> None:
    """What somebody may not see is answered like what is not there; what they may not do is refused."""
    path = await office.document("text")
    folder = await office.folder()
    nowhere = f"/v1/documents/{uuid4()}"
    for method, rest, body in (
        ("GET", "", None),
        ("PATCH", "", {"title": "x"}),
        ("DELETE", "", None),
        ("POST", ":move", {"folder": None}),
        ("POST", ":duplicate", {}),
        ("POST", ":archive", None),
        ("POST", ":restore", {}),
        ("POST", ":purge", None),
        ("POST", "/collab-token", {}),
        ("GET", "/content", None),
        ("PATCH", "/content", {"operations": [{"op": "append", "text": "x"}]}),
        ("GET", "/updates", None),
        ("GET", "/attachments", None),
        ("GET", f"/attachments/{uuid4()}", None),
        ("DELETE", f"/attachments/{uuid4()}", None),
    ):
        hidden = await office.call(method, path + rest, body, "mal")
        missing = await office.call(method, nowhere + rest, body, "mal")
        assert hidden[0] == missing[0] == 404, (method, rest, hidden)
        assert {**hidden[1], "trace_id": ""} == {**missing[1], "trace_id": ""}
    workspace = str(office.workspace)
    assert (await office.refused("POST", "/v1/documents", {"workspace": workspace}, "mal"))[0] == 404
    assert (await office.refused("POST", "/v1/documents", {"workspace": workspace}, "vic"))[0] == 403
    assert (await office.refused("POST", "/v1/documents", {"workspace": workspace, "folder": str(uuid4())}))[0] == 404
    # An id of something else is none.
    id = path.rpartition("/")[2]
    assert (await office.refused("POST", "/v1/documents", {"workspace": id}))[0] == 404
    assert (await office.refused("POST", "/v1/documents", {"workspace": folder}))[0] == 404
    assert (await office.refused("GET", f"/v1/documents/{folder}"))[0] == 404
    assert (await office.refused("GET", f"/v1/folders/{id}"))[0] == 404
    assert (await office.refused("GET", f"/v1/folders/{folder}", token="mal"))[0] == 404
    assert (await office.refused("GET", f"/v1/workspaces/{workspace}/tree", token="mal"))[0] == 404
    for body, rest in (({"title": "x"}, ""), ({"operations": [{"op": "append", "text": "x"}]}, "/content")):
        for reader in ("vic", "ken"):
            assert (await office.refused("PATCH", path + rest, body, reader, If_Match="*"))[0] == 403
    assert (await office.refused("PATCH", path, {"locked": True}, "eve", If_Match="*"))[0] == 403
    assert (await office.refused("DELETE", path, token="eve"))[0] == 403


async def test_scopes(office: Any) -> None:
    """A token narrowed to reading can't write, one narrowed to something else can't read."""
    path = await office.document("text")
    assert (await office.call("GET", f"{path}/content", None, "ada+documents:read"))[0] == 200
    assert await office.refused("DELETE", path, token="ada+documents:read") == (403, "scope_missing")
    assert await office.refused("GET", path, token="ada+users:read") == (403, "scope_missing")


async def test_changed_under_if_match(office: Any) -> None:
    """A title is changed by who has seen the last one; that people typed meanwhile does not matter."""
    path = await office.document()
    _, _, headers = await office.call("GET", path)
    assert await office.refused("PATCH", path, {"title": "B"}) == (428, "precondition_required")
    status, changed, after = await office.call("PATCH", path, {"title": "B"}, If_Match=headers["ETag"])
    assert (status, changed["title"]) == (200, "B")
    assert await office.refused("PATCH", path, {"title": "C"}, If_Match=headers["ETag"]) == (412, "precondition_failed")
    await office.done("PATCH", f"{path}/content", {"operations": [{"op": "append", "text": "typed"}]})
    id = path.rpartition("/")[2]
    office.plugin.edits.add(RoomEdited(RoomId(id), "1:2-3", (Actor("eve"),)))
    await office.plugin.edits.write()
    assert (await office.call("PATCH", path, {"title": "C"}, If_Match=after["ETag"]))[0] == 200
    assert (await office.refused("PATCH", path, {"title": "a\0b"}, If_Match="*"))[0] == 422
    assert (await office.refused("PATCH", path, {"title": "x" * 501}, If_Match="*"))[0] == 422
    assert (await office.refused("PATCH", path, {"tittle": "x"}, If_Match="*"))[0] == 422


async def test_idempotent(office: Any) -> None:
    """The same POST under the same key makes one document."""
    body = {"workspace": str(office.workspace), "title": "once"}
    answers = [await office.call("POST", "/v1/documents", body, Idempotency_Key="k-1") for _ in range(2)]
    assert answers[0][1] == answers[1][1]
    assert answers[1][2]["Idempotent-Replayed"] == "true"


async def test_lists(office: Any) -> None:
    """Pages hold what may be seen, in the order asked for, each once, filtered; a cursor is of its list alone."""
    folder = await office.folder("Listed")
    for n in range(7):
        await office.document(title=f"Listed {n % 3}", folder=folder)
    query = f"/v1/documents?filter[folder]={folder}&sort=title&limit=3"
    seen, cursor = [], ""
    while True:
        page = await office.done("GET", query + cursor, token="vic")
        seen += [document["title"] for document in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == sorted(seen)
    assert len(seen) == 7
    assert (await office.done("GET", f"/v1/documents?filter[folder]={folder}", token="mal"))["data"] == []
    found = await office.done("GET", f"/v1/documents?filter[folder]={folder}&filter[title]=LISTED 2&sort=-created")
    assert len(found["data"]) == 2
    first = await office.done("GET", query)
    other = query.replace("sort=title", "sort=-title")
    assert await office.refused("GET", f"{other}&cursor={first['next_cursor']}") == (400, "bad_cursor")
    assert (await office.refused("GET", "/v1/documents?sort=secret"))[0] == 422
    await office.rights.give(folder, "guest", "viewer")
    assert len((await office.done("GET", "/v1/documents", token="guest"))["data"]) == 7
    tree = await office.done("GET", f"/v1/workspaces/{office.workspace}/tree", token="guest")
    assert [(one["name"], one["documents"]) for one in tree["folders"]] == [("Listed", 7)]


async def test_moved(office: Any) -> None:
    """Into a folder of a workspace, by who manages the document and may write there."""
    path, folder = await office.document(), await office.folder()
    moved = await office.done("POST", f"{path}:move", {"folder": folder})
    assert moved["folder"] == folder
    assert (await office.refused("POST", f"{path}:move", {"folder": None}, "eve"))[0] == 403
    theirs = await office.rights.workspace("bob")
    assert (await office.refused("POST", f"{path}:move", {"folder": None, "workspace": str(theirs)}))[0] == 404
    await office.rights.give(theirs, "ada", "editor")
    assert (await office.refused("POST", f"{path}:move", {"folder": folder, "workspace": str(theirs)}))[0] == 404
    moved = await office.done("POST", f"{path}:move", {"folder": None, "workspace": str(theirs)})
    assert (moved["workspace"], moved["folder"]) == (str(theirs), None)
    assert (await office.call("GET", path, None, "eve"))[0] == 404
    assert (await office.events(moved["id"])).count("document.moved") == 2


async def test_archived_and_locked(office: Any) -> None:
    """What is put away or locked is read and not written, until it is not."""
    path = await office.document("text")
    append = {"operations": [{"op": "append", "text": "more"}]}
    archived = await office.done("POST", f"{path}:archive")
    assert archived["state"] == "archived"
    assert await office.refused("PATCH", f"{path}/content", append) == (409, "read_only")
    assert await office.refused("POST", f"{path}/updates", b"\0\0", Content_Type="application/octet-stream") == (
        409,
        "read_only",
    )
    listed = await office.done("GET", "/v1/documents?filter[state]=archived")
    assert path.rpartition("/")[2] in [one["id"] for one in listed["data"]]
    await office.done("POST", f"{path}:unarchive")
    await office.done("PATCH", f"{path}/content", append)
    await office.done("PATCH", path, {"locked": True}, If_Match="*")
    assert await office.refused("PATCH", f"{path}/content", append) == (409, "read_only")


async def test_trash(office: Any) -> None:
    """What is in the trash is there for who may delete it, comes back as it was, and is gone once it was purged."""
    path = await office.document("text")
    id = path.rpartition("/")[2]
    assert await office.refused("POST", f"{path}:purge") == (409, "in_trash")
    await office.done("DELETE", path)
    await office.done("DELETE", path)
    assert (await office.refused("GET", path, token="eve"))[0] == 404
    document = await office.done("GET", path)
    assert document["state"] == "trashed"
    assert document["deleted_after"] > document["trashed"]
    assert id in [one["id"] for one in (await office.done("GET", "/v1/documents?filter[state]=trashed"))["data"]]
    assert (await office.done("GET", "/v1/documents?filter[state]=trashed", token="eve"))["data"] == []
    assert await office.refused("PATCH", f"{path}/content", {"operations": [{"op": "append", "text": "x"}]}) == (
        409,
        "in_trash",
    )
    assert (await office.done("POST", f"{path}:restore"))["state"] == "active"
    assert (await office.markdown(path))[0].strip() == "text"
    await office.done("DELETE", path)
    await office.done("POST", f"{path}:purge")
    assert (await office.refused("GET", path))[0] == 404
    assert await office.events(id) == [
        "document.created", "document.trashed", "document.restored", "document.trashed", "document.deleted",
    ]  # fmt: skip
    state = await office.plugin.library.rooms.state(id)
    assert state.update == b"\0\0"


async def test_duplicate(office: Any) -> None:
    """A copy has the content, and is another document."""
    path = await office.document("# Title\n\nSome *text*.")
    copy = await office.done("POST", f"{path}:duplicate", {"title": "Copy"}, "eve")
    copied = f"/v1/documents/{copy['id']}"
    assert (await office.markdown(copied))[0] == (await office.markdown(path))[0]
    await office.done("PATCH", f"{copied}/content", {"operations": [{"op": "append", "text": "more"}]}, "eve")
    assert "more" not in (await office.markdown(path))[0]
    assert (await office.refused("POST", f"{path}:duplicate", {}, "vic"))[0] == 403


async def test_batch(office: Any) -> None:
    """Each operation has its own result; one that fails does not stop the others."""
    one, other = await office.document(), await office.document()
    ids = [path.rpartition("/")[2] for path in (one, other)]
    operations = [
        {"op": "archive", "document": ids[0]},
        {"op": "trash", "document": str(uuid4())},
        {"op": "trash", "document": ids[1]},
    ]
    results = (await office.done("POST", "/v1/documents:batch", {"operations": operations}))["results"]
    assert [result["status"] for result in results] == [200, 404, 200]
    assert results[1]["problem"]["code"] == "not_found"
    assert (await office.done("GET", other))["state"] == "trashed"
    too_many = {"operations": operations * 40}
    assert (await office.refused("POST", "/v1/documents:batch", too_many))[0] == 422


async def test_content_to_begin_with(office: Any) -> None:
    """In any format; what is none is refused, and nothing is made."""
    workspace = {"workspace": str(office.workspace), "title": "begun"}
    doc = {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "Hi"}]}]}
    for format, value in (("json", doc), ("md", "Hi"), ("html", "<p>Hi</p>"), ("text", "Hi")):
        content = {"format": format, "value": value}
        made = await office.done("POST", "/v1/documents", workspace | {"content": content})
        assert (await office.markdown(f"/v1/documents/{made['id']}"))[0].strip() == "Hi", format
    before = await office.rights.database.fetchval("SELECT count(*) FROM documents.document")
    for content in (
        {"format": "json", "value": {"type": "doc", "content": [{"type": 7}]}},
        {"format": "json", "value": "text"},
        {"format": "yjs", "value": "////"},
        {"format": "yjs", "value": "no base64!"},
        {"format": "rtf", "value": "x"},
        {"format": "md", "value": "a\0b"},
    ):
        assert (await office.refused("POST", "/v1/documents", workspace | {"content": content}))[0] == 422, content
    deep = b'{"workspace": "%s", "content": {"format": "json", "value": ' % str(office.workspace).encode()
    deep += b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}}"
    status, _ = await office.refused("POST", "/v1/documents", deep, Content_Type="application/json")
    assert status == 400
    assert await office.rights.database.fetchval("SELECT count(*) FROM documents.document") == before


async def test_two_changes_at_once(office: Any) -> None:
    """Of two who change the same version, one is told that it has changed."""
    path = await office.document()
    tag = (await office.call("GET", path))[2]["ETag"]
    answers = await asyncio.gather(*(office.call("PATCH", path, {"title": f"by {n}"}, If_Match=tag) for n in range(5)))
    assert sorted(answer[0] for answer in answers) == [200, 412, 412, 412, 412]
