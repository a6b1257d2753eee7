"""Contents are read in every format, and written without overwriting anybody."""

import asyncio
import base64
import json
from typing import Any

import pycrdt
import pytest
from typists import keystroke, until

from relay.types import RoomId

pytestmark = pytest.mark.asyncio(loop_scope="session")
YJS = "application/octet-stream"
MD = "text/markdown"


async def update(office: Any, path: str) -> bytes:
    return await office.done("GET", f"{path}/updates") or b""


async def type_into(office: Any, path: str, find: str, text: str, token: str = "eve") -> None:
    """Somebody else types, as an editor does: by a Yjs update."""
    doc: Any = pycrdt.Doc()
    doc.apply_update(await update(office, path))
    before = doc.get_state()
    for block in doc.get("default", type=pycrdt.XmlFragment).children:
        for child in block.children:
            if find in str(child):
                child.insert(str(child).index(find) + len(find), text)
    await office.done("POST", f"{path}/updates", doc.get_update(before), token, Content_Type=YJS)


async def test_formats(office: Any) -> None:
    """By the query or by `Accept`; each form has an ETag of its own, which both 304 and `If-Match` know."""
    path = await office.document("# One\n\nSome *text*.")
    tags = set()
    for format, accept, wanted in (
        ("json", "application/json", "application/json"),
        ("md", "text/html;q=0.5, text/markdown", "text/markdown; charset=utf-8"),
        ("html", "text/html", "text/html; charset=utf-8"),
        ("text", "text/plain;q=0.9, application/json;q=0.1", "text/plain; charset=utf-8"),
        ("yjs", "application/octet-stream", YJS),
    ):
        status, body, headers = await office.call("GET", f"{path}/content?format={format}")
        assert (status, headers["Content-Type"], headers["Vary"]) == (200, wanted, "Accept")
        _, same, _ = await office.call("GET", f"{path}/content", Accept=accept)
        assert same == body
        assert (await office.call("GET", f"{path}/content?format={format}", If_None_Match=headers["ETag"]))[0] == 304
        tags.add(headers["ETag"])
    assert len(tags) == 5
    assert (await office.call("GET", f"{path}/content", If_None_Match=", ".join(tags)))[0] == 304
    assert await office.refused("GET", f"{path}/content", Accept="image/png") == (406, "not_acceptable")
    assert (await office.refused("GET", f"{path}/content?format=pdf"))[0] == 422
    assert (await office.refused("GET", f"{path}/content?at=1"))[0] == 422


async def test_content_as_it_was(office: Any) -> None:
    """A position names a moment: what was there then is shown, from stored history and from what is not stored yet."""
    path = await office.document("one")
    first = (await office.call("GET", f"{path}/content?format=md"))[2]
    moments = [("one", first["Position"])]
    for text in ("one two", "two"):
        etag = (await office.markdown(path))[1]
        await office.call("PUT", f"{path}/content", text.encode(), Content_Type="text/markdown", If_Match=etag)
        moments.append((text, (await office.call("GET", f"{path}/content?format=md"))[2]["Position"]))
    assert len({at for _, at in moments}) == 3
    for text, at in moments:
        status, body, headers = await office.call("GET", f"{path}/content?format=text&at={at}")
        assert (status, body.decode(), headers["Position"]) == (200, text, at)
    room = RoomId(path.rpartition("/")[2])
    await until(lambda: room not in office.shim.shim.registry.rooms, 20, "it is stored, and the journal let go")
    for text, at in moments:
        assert (await office.call("GET", f"{path}/content?format=text&at={at}"))[1].decode() == text
    assert (await office.call("GET", f"{path}/content?format=text&at=1:0-0"))[1] is None


async def test_deletion_changes_the_etag(office: Any) -> None:
    """A state vector says nothing of deletions; the ETag does."""
    path = await office.document("one two")
    _, before = await office.markdown(path)
    operations = {"operations": [{"op": "delete", "at": {"quote": " two"}}]}
    written = await office.done("PATCH", f"{path}/content", operations)
    text, after = await office.markdown(path)
    assert (text.strip(), written["changed"]) == ("one", True)
    assert before != after
    assert after.partition(".")[0] == written["etag"].partition(".")[0]


async def test_put(office: Any) -> None:
    """A body replaces what it was made from, in every format; what nothing changes changes nothing."""
    path = await office.document("one")
    _, tag = await office.markdown(path)
    assert await office.refused("PUT", f"{path}/content", b"two", Content_Type=MD) == (428, "precondition_required")
    written = await office.done("PUT", f"{path}/content", b"two", Content_Type=MD, If_Match=tag)
    assert (written["changed"], written["rebased"], written["conflicts"]) == (True, False, [])
    assert [(hunk["before"], hunk["after"]) for hunk in written["hunks"]] == [("one", "two")]
    doc = {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "three"}]}]}
    tag = written["etag"]
    written = await office.done(
        "PUT", f"{path}/content", json.dumps(doc).encode(), Content_Type="application/json", If_Match=tag
    )
    again = await office.done("PUT", f"{path}/content", b"<p>three</p>", Content_Type="text/html", If_Match="*")
    assert not again["changed"]
    assert (await office.markdown(path))[0].strip() == "three"


async def test_stale_put_is_rebased(office: Any) -> None:
    """What people typed since the body was read stays, and what its author changed is done."""
    path = await office.document("The quick fox.\n\nSecond block.\n\nThird.")
    text, tag = await office.markdown(path)
    await type_into(office, path, "Second", " (typed)")
    await type_into(office, path, "Third", " (also typed)")
    body = text.replace("quick", "slow").replace("Third.", "").rstrip()
    written = await office.done("PUT", f"{path}/content", body.encode(), Content_Type=MD, If_Match=tag)
    assert (written["rebased"], written["changed"]) == (True, True)
    assert [conflict["kind"] for conflict in written["conflicts"]] == ["kept"]
    found, _ = await office.markdown(path)
    assert "The slow fox." in found
    assert "Second (typed) block." in found
    assert "(also typed)" in found
    # The answer's tag is what the author's own body is: sent back changed, it takes nothing of the others away.
    body = body.replace("slow", "red")
    written = await office.done("PUT", f"{path}/content", body.encode(), Content_Type=MD, If_Match=written["etag"])
    found, _ = await office.markdown(path)
    assert "The red fox." in found
    assert "Second (typed) block." in found


async def test_puts_at_once_with_one_etag(office: Any) -> None:
    """All are done, each to what it was made from."""
    words = ["alpha", "beta", "gamma", "delta"]
    path = await office.document("\n\n".join(words))
    text, tag = await office.markdown(path)
    answers = await asyncio.gather(
        *(
            office.done("PUT", f"{path}/content", text.replace(w, w.upper()).encode(), Content_Type=MD, If_Match=tag)
            for w in words
        )
    )
    assert sorted(answer["rebased"] for answer in answers) == [False, True, True, True]
    assert (await office.markdown(path))[0].split() == [word.upper() for word in words]


async def test_etag_of_another_document(office: Any) -> None:
    """A base is one of this document, of a tag that was given out and is still known."""
    path, other = await office.document("one"), await office.document("something else")
    _, theirs = await office.markdown(other)
    for tag in (theirs, '"' + "0" * 32 + '.md"', '"7"', "nonsense", f"W/{(await office.markdown(path))[1]}"):
        refused = await office.refused("PUT", f"{path}/content", b"two", Content_Type=MD, If_Match=tag)
        assert refused == (412, "base_unknown"), tag
    assert (await office.markdown(path))[0].strip() == "one"


async def test_window_ends(office: Any) -> None:
    """Only so many bases are kept for a document, and those that were out of the window are forgotten."""
    path = await office.document("0")
    _, first = await office.markdown(path)
    for n in range(1, 7):
        operations = {"operations": [{"op": "find_replace", "find": str(n - 1), "replace": str(n)}]}
        await office.done("PATCH", f"{path}/content", operations)
    refused = await office.refused("PUT", f"{path}/content", b"x", Content_Type=MD, If_Match=first)
    assert refused == (412, "base_unknown")
    kept = await office.rights.database.fetchval(
        "SELECT count(*) FROM documents.base WHERE document = $1", path.rpartition("/")[2]
    )
    assert kept == 5


async def test_readers_keep_no_bases(office: Any) -> None:
    """Who may not write costs no write."""
    path = await office.document("text")
    for token in ("vic", "ken", "ada+documents:read"):
        await office.done("GET", f"{path}/content", token=token)
    count = "SELECT count(*) FROM documents.base WHERE document = $1"
    assert await office.rights.database.fetchval(count, path.rpartition("/")[2]) == 0


async def test_patch(office: Any) -> None:
    """Operations are done all or none; `dry_run` says what would be done; places are those of `If-Match`."""
    path = await office.document("one\n\ntwo\n\nthree")
    _, tag = await office.markdown(path)
    append = {"operations": [{"op": "append", "markdown": "**four**"}]}
    dry = await office.done("PATCH", f"{path}/content?dry_run=true", append)
    assert (dry["applied"], dry["changed"], len(dry["hunks"])) == (False, True, 1)
    assert "four" not in (await office.markdown(path))[0]
    first = {"operations": [{"op": "delete", "at": {"block": 0}}]}
    await office.done("PATCH", f"{path}/content", first, "eve")
    await type_into(office, path, "two", " typed")
    stale = {"operations": [{"op": "replace", "at": {"block": 1}, "markdown": "TWO"}]}
    written = await office.done("PATCH", f"{path}/content", stale, If_Match=tag)
    assert written["rebased"]
    found, _ = await office.markdown(path)
    assert "TWO" in found.split("\n\n")[0]
    assert "typed" in found
    assert "three" in found
    half = {"operations": [*append["operations"], {"op": "delete", "at": {"block": 99}}]}
    status, answer, _ = await office.call("PATCH", f"{path}/content", half)
    assert (status, answer["errors"][0]["pointer"]) == (422, "/operations/1/at/block")
    assert "four" not in (await office.markdown(path))[0]
    for body in ({"operations": []}, {"operations": [{"op": "explode"}]}, {"operations": [{"op": "append"}]}):
        assert (await office.refused("PATCH", f"{path}/content", body))[0] == 422
    wrong = await office.refused("PATCH", f"{path}/content", append, If_Match='"' + "0" * 32 + '"')
    assert wrong == (412, "base_unknown")


async def test_updates(office: Any) -> None:
    """Yjs in and out: the whole document, or what a state vector lacks; sent twice it is there once."""
    path = await office.document()
    for _ in range(2):
        await office.done("POST", f"{path}/updates", keystroke(7, 0), Content_Type=YJS)
    await office.done("POST", f"{path}/updates", keystroke(7, 1), "eve", Content_Type=YJS)
    doc: Any = pycrdt.Doc()
    doc.apply_update(await update(office, path))
    assert str(doc.get("t7", type=pycrdt.Text)) == "ab"
    vector = base64.urlsafe_b64encode(bytes([1, 7, 1])).decode()
    rest = await office.done("GET", f"{path}/updates?since={vector}")
    doc = pycrdt.Doc()
    doc.apply_update(keystroke(7, 0))
    doc.apply_update(rest)
    assert str(doc.get("t7", type=pycrdt.Text)) == "ab"
    for wrong in ("!!", base64.b64encode(b"\xff\xff").decode().replace("+", "%2B")):
        assert (await office.refused("GET", f"{path}/updates?since={wrong}"))[0] == 422
    for token in ("vic", "ken"):
        assert (await office.refused("POST", f"{path}/updates", b"\0\0", token, Content_Type=YJS))[0] == 403


async def test_what_is_no_update_never_reaches_the_room(office: Any) -> None:
    """Refused, located, and the document is as it was."""
    path = await office.document("text")
    before = await update(office, path)
    good = keystroke(9, 0)
    for body in (b"\xff\xff\xff", b"", b"text", good[:-3], good + b"\1", b"\1" * 1000, b"\0" * 300_000):
        assert (await office.refused("POST", f"{path}/updates", body, Content_Type=YJS))[0] == 422, body[:20]
        put = await office.refused("PUT", f"{path}/content", body, Content_Type=YJS, If_Match="*")
        assert put[0] == 422, body[:20]
    assert await update(office, path) == before


async def test_bodies_of_the_wrong_kind(office: Any) -> None:
    """Too large, too deep, of another type, with NUL, no content: each is told so, and nothing is changed."""
    path = await office.document("text")
    before = await update(office, path)
    put = f"{path}/content"
    huge = bytes(2 << 20)
    assert await office.refused("PUT", put, huge, Content_Type=MD, If_Match="*") == (413, "too_large")
    assert await office.refused("POST", f"{path}/updates", huge, Content_Type=YJS) == (413, "too_large")

    async def drip() -> Any:
        for _ in range(20):
            yield bytes(100_000)

    async with office.shim.client.put(
        put, data=drip(), headers={"Authorization": "Bearer ada", "Content-Type": MD, "If-Match": "*"}
    ) as answer:
        assert answer.status == 413
    assert await office.refused("PUT", put, b"x", Content_Type="image/png", If_Match="*") == (
        415,
        "unsupported_media_type",
    )
    deep = b'{"type":"doc","content":[' * 5000 + b"]}" * 5000
    for body, kind in (
        (deep, "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"{", "application/json"),
        (b'{"type": "doc", "content": 7}', "application/json"),
        (b"\xff\xfe", "text/plain"),
        (b"a\0b", MD),
        (b"> " * 5000, MD),
        (b"<ul><li>" * 5000, "text/html"),
    ):
        status, _ = await office.refused("PUT", put, body, Content_Type=kind, If_Match="*")
        assert status in (409, 413, 422), (body[:20], status)
    assert await update(office, path) == before


async def test_large_and_valid(office: Any) -> None:
    """A large update is taken whole; so is a large content."""
    path = await office.document()
    await office.done("POST", f"{path}/updates", keystroke(7, 0, 900_000), Content_Type=YJS)
    assert len(await update(office, path)) > 900_000
    many = b"".join(b"line %d\n\n" % n for n in range(5000))
    path = await office.document("x")
    await office.done("PUT", f"{path}/content", many, Content_Type=MD, If_Match="*")
    assert (await office.markdown(path))[0].count("line") == 5000


async def test_plain_text_documents(office: Any) -> None:
    """A document whose root is a Yjs text is read and written as that."""
    path = await office.document()
    doc: Any = pycrdt.Doc()
    doc["notes"] = pycrdt.Text("hello world")
    await office.done("POST", f"{path}/updates", doc.get_update(), Content_Type=YJS)
    status, body, headers = await office.call("GET", f"{path}/content?format=text&root=notes")
    assert (status, body) == (200, b"hello world")
    written = await office.done(
        "PUT", f"{path}/content?root=notes", b"hello there", Content_Type="text/plain", If_Match=headers["ETag"]
    )
    assert written["changed"]
    assert await office.done("GET", f"{path}/content?format=text&root=notes") == b"hello there"


async def test_attributed(office: Any) -> None:
    """What the API writes is written in the name of who called it."""
    path = await office.document("text")
    await office.done("PATCH", f"{path}/content", {"operations": [{"op": "append", "text": "by eve"}]}, "eve")
    journal = office.shim.shim.journal
    entries = await journal.read(path.rpartition("/")[2], None, None, 100)
    assert [edit.actor for entry in entries for edit in entry.edits] == ["ada", "eve"]
