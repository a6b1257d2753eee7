"""Files that belong to documents."""

import asyncio
import hashlib
import os
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from plugins.documents.blobs import CHUNK, DatabaseBlobs, DirectoryBlobs

pytestmark = pytest.mark.asyncio(loop_scope="session")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
BYTES = "application/octet-stream"


@pytest.fixture(params=["database", "directory"])
def blobs(request: Any, office: Any, tmp_path: Any) -> Any:
    """Both places where bytes may be."""
    attachments, before = office.plugin.attachments, office.plugin.attachments.blobs
    database = office.plugin.library.database
    attachments.blobs = DatabaseBlobs(database) if request.param == "database" else DirectoryBlobs(database, tmp_path)
    yield attachments.blobs
    attachments.blobs = before


async def attach(
    office: Any, path: str, data: bytes, name: str = "a.bin", kind: str = BYTES, token: str = "ada"
) -> Any:
    return await office.done("POST", f"{path}/attachments?name={name}", data, token, Content_Type=kind)


async def test_attached_read_and_removed(office: Any, blobs: Any) -> None:
    """A file comes back as it was sent, whole or in parts, to who sees the document."""
    path, data = await office.document(), os.urandom(CHUNK * 2 + 1000)
    made = await attach(office, path, data, "Report.bin")
    assert (made["name"], made["size"], made["sha256"]) == ("Report.bin", len(data), hashlib.sha256(data).hexdigest())
    status, body, headers = await office.call("GET", made["url"], token="vic")
    assert (status, body) == (200, data)
    assert headers["Content-Disposition"].startswith('attachment; filename="Report.bin"')
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert (await office.call("GET", made["url"], If_None_Match=headers["ETag"]))[0] == 304
    assert (await office.call("HEAD", made["url"]))[2]["Content-Length"] == str(len(data))
    for wanted, start, end in (
        ("bytes=0-0", 0, 1),
        (f"bytes={CHUNK - 5}-{CHUNK + 5}", CHUNK - 5, CHUNK + 6),
        (f"bytes={len(data) - 1}-", len(data) - 1, len(data)),
        ("bytes=-10", len(data) - 10, len(data)),
        (f"bytes=10-{10**12}", 10, len(data)),
    ):
        status, body, headers = await office.call("GET", made["url"], Range=wanted)
        assert (status, body) == (206, data[start:end]), wanted
        assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(data)}"
    for wanted in (f"bytes={len(data)}-", "bytes=-0"):
        status, _, headers = await office.call("GET", made["url"], Range=wanted)
        assert (status, headers["Content-Range"]) == (416, f"bytes */{len(data)}")
    for wanted in ("bytes=5-1", "bytes=-", "bytes=0-1,4-5", "lines=1-2", "bytes=a-b"):
        assert (await office.call("GET", made["url"], Range=wanted))[0] == 200, wanted
    stale = await office.call("GET", made["url"], Range="bytes=0-0", If_Range='"other"')
    assert (stale[0], stale[1]) == (200, data)
    assert (await office.refused("DELETE", made["url"], token="vic"))[0] == 403
    await office.done("DELETE", made["url"])
    assert (await office.refused("GET", made["url"]))[0] == 404
    assert await office.events(path.rpartition("/")[2]) == [
        "document.created",
        "attachment.added",
        "attachment.removed",
    ]


async def test_the_same_bytes_are_kept_once(office: Any, blobs: Any) -> None:
    """However often they are attached, at once too; they are swept when nobody has them any more."""
    one, other, data = await office.document(), await office.document(), os.urandom(1000)
    made = await asyncio.gather(*(attach(office, path, data) for path in (one, other, one, other)))
    name = hashlib.sha256(data).digest()
    database = office.plugin.library.database
    assert await database.fetchval("SELECT count(*) FROM documents.blob WHERE sha256 = $1", name) == 1
    for attachment in made[:3]:
        await office.done("DELETE", attachment["url"])
    await database.execute("UPDATE documents.blob SET touched = touched - $1::interval", timedelta(hours=2))
    await blobs.sweep()
    assert await office.done("GET", made[3]["url"]) == data
    await office.done("DELETE", made[3]["url"])
    await blobs.sweep()
    assert await database.fetchval("SELECT count(*) FROM documents.blob WHERE sha256 = $1", name) == 0
    if isinstance(blobs, DatabaseBlobs):
        assert await database.fetchval("SELECT count(*) FROM documents.upload WHERE sha256 = $1", name) == 0
    else:
        assert not blobs._file(name).exists()
    again = await attach(office, one, data)
    assert await office.done("GET", again["url"]) == data


async def test_limits(office: Any, blobs: Any) -> None:
    """One file, and all of a workspace, are only so large; what was sent of a file that is refused is not kept."""
    path = await office.document()
    post = f"{path}/attachments?name=x"
    big = bytes((1 << 20) + 1)
    assert await office.refused("POST", post, big, Content_Type=BYTES) == (413, "too_large")

    async def drip() -> Any:
        for _ in range(12):
            yield bytes(100_000)

    async with office.shim.client.post(
        post, data=drip(), headers={"Authorization": "Bearer ada", "Content-Type": BYTES}
    ) as answer:
        assert answer.status == 413
    database = office.plugin.library.database
    assert await database.fetchval("SELECT count(*) FROM documents.upload WHERE sha256 IS NULL") == 0
    theirs = await office.rights.workspace("ada")
    path = await office.document(workspace=str(theirs))
    post = f"{path}/attachments?name=x"
    answers = await asyncio.gather(
        *(office.call("POST", post, bytes([n]) * (1 << 20), Content_Type=BYTES) for n in range(5))
    )
    assert sorted(answer[0] for answer in answers) == [201, 201, 201, 413, 413]
    assert {answer[1].get("code") for answer in answers} == {None, "quota_exceeded"}


async def test_kinds(office: Any) -> None:
    """Pictures that can't run anything may be shown in place; what is not what it says, or not wanted, is refused."""
    path = await office.document()
    picture = await attach(office, path, PNG, "p.png", "image/png")
    _, _, headers = await office.call("GET", picture["url"])
    assert (headers["Content-Type"], headers["Content-Disposition"][:6]) == ("image/png", "inline")
    drawing = await attach(office, path, b"<svg onload='alert(1)'/>", "d.svg", "image/svg+xml")
    _, _, headers = await office.call("GET", drawing["url"])
    assert headers["Content-Disposition"].startswith("attachment")
    post = f"{path}/attachments?name=x"
    assert (await office.refused("POST", post, b"<script>", Content_Type="image/png"))[0] == 422
    assert (await office.refused("POST", post, b"<script>", Content_Type="text/html"))[0] == 415
    named = await attach(office, path, b"x", "..%2F..%2Fetc%2Fpass%22wd%0D%0AX-Evil:%201")
    assert named["name"] == 'pass"wdX-Evil: 1'
    _, _, headers = await office.call("GET", named["url"])
    assert "X-Evil" not in headers
    empty = await attach(office, path, b"")
    assert empty["size"] == 0
    status, body, _ = await office.call("GET", empty["url"])
    assert (status, body) == (200, None)
    assert len((await office.done("GET", f"{path}/attachments"))["data"]) == 4


async def test_ids(office: Any) -> None:
    """An attachment is there below its own document only, and goes with it."""
    path, other = await office.document(), await office.document()
    made = await attach(office, path, b"x")
    assert (await office.refused("GET", f"{other}/attachments/{made['id']}"))[0] == 404
    assert (await office.refused("DELETE", f"{other}/attachments/{made['id']}"))[0] == 404
    for token in ("vic", "ken"):
        assert (await office.refused("POST", f"{path}/attachments?name=x", b"x", token, Content_Type=BYTES))[0] == 403
    assert (await office.refused("POST", f"{path}/attachments?name=x", b"x", "mal", Content_Type=BYTES))[0] == 404
    missing = f"/v1/documents/{uuid4()}/attachments?name=x"
    assert (await office.refused("POST", missing, b"x", Content_Type=BYTES))[0] == 404
    await office.done("DELETE", path)
    assert await office.refused("POST", f"{path}/attachments?name=x", b"x", Content_Type=BYTES) == (409, "in_trash")
    await office.done("POST", f"{path}:purge")
    count = "SELECT count(*) FROM documents.attachment WHERE document = $1"
    assert await office.rights.database.fetchval(count, path.rpartition("/")[2]) == 0
