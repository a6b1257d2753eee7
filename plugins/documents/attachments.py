"""Files that belong to documents: whoever sees the document sees them, and with it they are deleted."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from aiohttp import web

from api_shim.etags import matches
from api_shim.etags import quote as quoted
from api_shim.ids import uuid7
from api_shim.media import essence
from api_shim.paging import Page
from api_shim.problems import BadRequest, FieldError, Invalid, MediaType, NotFound, TooLarge, TryLater
from api_shim.route import Answer, Call
from plugins.documents.blobs import Blobs, DatabaseBlobs, DirectoryBlobs, Stored
from plugins.documents.kinds import HEAD, allowed, disposition, kind_of, plain_name
from plugins.documents.library import Library, uuid
from plugins.documents.models import Attachment
from plugins.documents.problems import InTrash, NoSuchRange, QuotaExceeded
from relay.contracts.materi.v1 import documents_pb2 as events

__all__ = ["Attachments"]

_COLUMNS = "id, document, name, media_type, size, sha256, created, created_by"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Attachments:
    """What the routes do."""

    def __init__(self, library: Library) -> None:
        self._library = library
        path = library.settings.attachment_path
        self.blobs: Blobs = DatabaseBlobs(library.database) if path is None else DirectoryBlobs(library.database, path)

    async def list(self, call: Call) -> Page[Attachment]:
        """The document's attachments."""
        library = self._library
        await library.document(call.who, call.path["document"], "read")
        keys = call.page.keyset({"created": "created"}, id="id", parameter=2)
        rows = await library.database.fetch(
            f"SELECT {_COLUMNS}, {keys.select} FROM documents.attachment WHERE document = $1 AND {keys.where}"  # noqa: S608
            f" ORDER BY {keys.order} LIMIT {keys.limit}",
            call.path["document"],
            *keys.arguments,
        )
        return keys.page(rows, _model)

    async def add(self, call: Call) -> Answer:
        """The body is the file, its `Content-Type` is the file's; a picture must be what it says."""
        library, settings = self._library, self._library.settings
        document: UUID = call.path["document"]
        row, _ = await library.document(call.who, document, "write")
        if row["trashed"] is not None:
            raise InTrash
        workspace = uuid(row["workspace"])
        name = plain_name(call.query.name)
        declared = essence(call.request.headers.get("Content-Type")) or "application/octet-stream"
        if (call.request.content_length or 0) > settings.attachment_size:
            raise TooLarge(limit=settings.attachment_size)
        await self._room(library.database, workspace, call.request.content_length or 0)

        def check(head: bytes) -> None:
            if not allowed(self._kind(declared, head), settings.attachment_types):
                raise MediaType(available=list(settings.attachment_types))

        stored = await self.blobs.put(_limited(call.request, settings.attachment_size), check)
        made = await self._attach(call, document, workspace, name, self._kind(declared, stored.head), stored)
        model = _model(made)
        return Answer(model, status=201, headers={"Location": model.url})

    async def _attach(self, call: Call, document: UUID, workspace: UUID, name: str, kind: str, stored: Stored) -> Any:
        library = self._library
        async with library.database.acquire() as connection, connection.transaction():
            # Two at once may not both take the last room; and the document may be gone since.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('attachments'), hashtext($1))", str(workspace)
            )
            if not await connection.fetchval(
                "SELECT true FROM documents.document WHERE id = $1 AND trashed IS NULL FOR KEY SHARE", document
            ):
                raise NotFound("There is no such document.")
            await self._room(connection, workspace, stored.size)
            if not await self.blobs.touch(connection, stored.sha256):
                raise TryLater("The file was removed before it was attached; send it again.")
            made = await connection.fetchrow(
                f"""INSERT INTO documents.attachment ({_COLUMNS})
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_COLUMNS}""",  # noqa: S608
                uuid7(), document, name, kind, stored.size, stored.sha256, library.now, call.who.actor,
            )  # fmt: skip
            event = events.AttachmentAdded(
                document_id=str(document),
                attachment_id=str(made["id"]),
                name=name,
                media_type=kind,
                size=stored.size,
            )
            await library.tell(connection, event, document, call.who)
        return made

    async def send(self, call: Call) -> web.StreamResponse:
        """The file; parts of it by `Range`. Pictures of kinds that can't run anything may be shown in place, all else
        is a download."""
        library, request = self._library, call.request
        await library.document(call.who, call.path["document"], "read")
        row = await self._row(call)
        size, etag = row["size"], quoted(row["sha256"].hex()[:32])
        headers = {
            "Content-Disposition": disposition(row["media_type"], row["name"]),
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, no-cache",
            "Accept-Ranges": "bytes",
            "ETag": etag,
        }
        known = request.headers.get("If-None-Match")
        if known is not None and matches(known, etag, weak=True):
            return web.Response(status=304, headers=headers)
        start, end, status = 0, size, 200
        if_range = request.headers.get("If-Range")
        if if_range is None or if_range.strip() == etag:
            part = _part(request.headers.get("Range"), size)
            if part is not None and not part:
                raise NoSuchRange(headers={"Content-Range": f"bytes */{size}"})
            if part is not None:
                (start, end), status = part, 206
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_type = row["media_type"]
        response.content_length = end - start
        pieces = self.blobs.read(row["sha256"], start, end)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        # The first piece before the head: what is not there is an error, and no answer that breaks off.
        try:
            first = await anext(pieces, b"")
        except FileNotFoundError:
            raise NotFound("The file's bytes are gone.") from None
        await response.prepare(request)
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    async def remove(self, call: Call) -> None:
        """Take it away from the document, for good."""
        library = self._library
        document: UUID = call.path["document"]
        await library.document(call.who, document, "write")
        row = await self._row(call)
        async with library.database.acquire() as connection, connection.transaction():
            gone = await connection.fetchval(
                "DELETE FROM documents.attachment WHERE id = $1 AND document = $2 RETURNING true", row["id"], document
            )
            if gone is None:
                raise NotFound("There is no such attachment.")
            event = events.AttachmentRemoved(document_id=str(document), attachment_id=str(row["id"]))
            await library.tell(connection, event, document, call.who)

    def _kind(self, declared: str, head: bytes) -> str:
        kind = kind_of(declared, head[:HEAD])
        if kind is None:
            wrong = FieldError(header="Content-Type", code="kind", detail=f"The body is no {declared}.")
            raise Invalid("The file is not what it is said to be.", errors=[wrong])
        return kind

    async def _room(self, connection: Any, workspace: UUID, size: int) -> None:
        quota = self._library.settings.attachment_quota
        used = await connection.fetchval(
            """SELECT coalesce(sum(a.size), 0)::bigint FROM documents.attachment a
               JOIN documents.document d ON d.id = a.document WHERE d.workspace = $1""",
            workspace,
        )
        if used + size > quota:
            raise QuotaExceeded(limit=quota, used=used)

    async def _row(self, call: Call) -> Any:
        row = await self._library.database.fetchrow(
            f"SELECT {_COLUMNS} FROM documents.attachment WHERE id = $1 AND document = $2",  # noqa: S608
            call.path["attachment"],
            call.path["document"],
        )
        if row is None:
            raise NotFound("There is no such attachment.")
        return row


def _model(row: Any) -> Attachment:
    id, document = uuid(row["id"]), uuid(row["document"])
    return Attachment.model_construct(
        id=id,
        document=document,
        name=row["name"],
        media_type=row["media_type"],
        size=row["size"],
        sha256=row["sha256"].hex(),
        created=row["created"],
        created_by=row["created_by"],
        url=f"/v1/documents/{document}/attachments/{id}",
    )


async def _limited(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    size = 0
    try:
        while piece := await request.content.readany():
            size += len(piece)
            if size > limit:
                raise TooLarge(limit=limit)
            yield piece
    except web.RequestPayloadError:
        raise BadRequest("The body ends early, or is not encoded as its headers say.") from None


def _part(header: str | None, size: int) -> tuple[int, int] | tuple[()] | None:
    """The range [start, end) that is wanted; () for one that can't be had, None for all of it. What asks for several
    ranges, or is none, is answered with all (RFC 9110 section 14.2)."""
    found = _RANGE.fullmatch((header or "").replace(" ", ""))
    if not found or found[0] == "bytes=-" or len(found[0]) > 50:
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else ()
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return (start, end) if start < size else ()
