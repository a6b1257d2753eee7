"""What every part of the plugin works with: rows that somebody may see, the tree's lock, events."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from api_shim.context import Context
from api_shim.etags import require_match
from api_shim.paging import Page
from api_shim.problems import NotFound
from api_shim.route import Call
from api_shim.services import Access, Permission, Role, may
from plugins.documents.problems import InTrash
from plugins.documents.settings import DocumentsSettings
from relay.grants import Principal
from relay.tasks import spawn
from relay.types import RoomId

__all__ = ["DOCUMENT", "FOLDER", "READ", "WRITE", "Library", "require_version", "uuid", "version_tag"]

READ, WRITE = "documents:read", "documents:write"
"""Scopes of narrowed tokens."""

DOCUMENT = (
    "id, workspace, folder, title, created, created_by, updated, edited, edited_by, locked, archived, trashed,"
    " trashed_by, trashed_with, version"
)
FOLDER = "id, workspace, parent, name, created, created_by, updated, trashed, trashed_with, version"
"""Columns."""

T = TypeVar("T")
NEAR = 500
"""Rows that are looked at one by one before all are."""
AT_ONCE = 200
"""Rooms that relays are told to look at without a pause: they keep the last thousand hints."""
_LOCK = int.from_bytes(b"docs", "big") & 0x7FFFFFFF
_EDITED = re.compile(r'-[0-9a-f]+"')


class Library:
    """The plugin's state, and what its parts share."""

    def __init__(self, context: Context, access: Access, settings: DocumentsSettings) -> None:
        self.context = context
        self.access = access
        self.settings = settings
        self.database = context.database
        self.rooms = context.rooms
        self.outbox = context.outbox

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.context.clock(), UTC)

    async def document(self, principal: Principal, id: UUID, permission: Permission) -> tuple[Any, Role]:
        """The row of a document, and the role of who asks; one in the trash is only there for who may delete it.

        Raises NotFound when it may not be seen, Forbidden without the permission.
        """
        role = await self.access.require(principal, permission, id)
        row = await self.database.fetchrow(
            f"SELECT {DOCUMENT} FROM documents.document WHERE id = $1",  # noqa: S608
            id,
        )
        if row is None or (row["trashed"] is not None and not may(role, "delete")):
            raise NotFound("There is no such document.")
        return row, role

    async def folder(self, principal: Principal, id: UUID, permission: Permission) -> tuple[Any, Role]:
        """As `document`, for a folder."""
        role = await self.access.require(principal, permission, id)
        row = await self.database.fetchrow(
            f"SELECT {FOLDER} FROM documents.folder WHERE id = $1",  # noqa: S608
            id,
        )
        if row is None or (row["trashed"] is not None and not may(role, "delete")):
            raise NotFound("There is no such folder.")
        return row, role

    async def page(
        self,
        call: Call,
        table: str,
        columns: str,
        sorts: Mapping[str, str],
        where: Sequence[str],
        values: Sequence[Any],
        permission: Permission,
        make: Callable[[Any], T],
    ) -> Page[T]:
        """A page of the rows of a table that the caller holds `permission` on.

        Whoever asks mostly sees most of what there is, so the first rows in the order asked for are looked at one by
        one; only when too few of them may be seen is it found out which of all rows those are. Of 10,000 documents
        that is 1 ms in place of 12.
        """
        visible, more = self.access.visible(call.who, len(values) + 1, permission, call.query.workspace)
        keys = call.page.keyset(sorts, id="id", parameter=len(values) + len(more) + 1)
        arguments = [*values, *more, *keys.arguments]
        wanted = f"SELECT {columns}, {keys.select} FROM {table} WHERE {' AND '.join([*where, keys.where])}"  # noqa: S608
        rows = await self.database.fetch(
            f"""WITH near AS MATERIALIZED ({wanted} ORDER BY {keys.order} LIMIT {NEAR})
                SELECT found.*, c.looked FROM (SELECT count(*) AS looked FROM near) c LEFT JOIN LATERAL (
                  SELECT * FROM near n WHERE (SELECT true FROM (SELECT n.id AS id) one WHERE {visible})
                  LIMIT {keys.limit}
                ) found ON true""",  # noqa: S608
            *arguments,
        )
        found = [row for row in rows if row["id"] is not None]
        if len(found) < keys.limit and rows[0]["looked"] == NEAR:
            found = await self.database.fetch(
                f"{wanted} AND {visible} ORDER BY {keys.order} LIMIT {keys.limit}", *arguments
            )
        return keys.page(found, make)

    async def writable_place(self, principal: Principal, workspace: UUID | None, folder: UUID | None) -> None:
        """Raises NotFound or Forbidden unless things may be put there."""
        parent = workspace if folder is None else folder
        assert parent is not None
        await self.access.require(principal, "write", parent)

    async def lock_tree(self, connection: Any, workspace: UUID) -> None:
        """Until the transaction ends, nobody else changes how folders of this workspace hang together."""
        await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, str(workspace))

    async def usable_folder(self, connection: Any, folder: UUID, workspace: UUID | None) -> Any:
        """A folder that things can be put into; held until the transaction ends. Raises NotFound and InTrash."""
        row = await connection.fetchrow(
            f"SELECT {FOLDER} FROM documents.folder WHERE id = $1 FOR SHARE",  # noqa: S608
            folder,
        )
        if row is None or (workspace is not None and row["workspace"] != workspace):
            raise NotFound("There is no such folder in this workspace.")
        if row["trashed"] is not None:
            raise InTrash("The folder is in the trash.")
        return row

    async def tell(self, connection: Any, event: Message, subject: UUID, principal: Principal | None = None) -> None:
        """Add an event in the caller's transaction."""
        actor = "" if principal is None else principal.actor
        await self.outbox.add(connection, event, subject=str(subject), actor=actor)

    async def recheck(self, *documents: UUID) -> None:
        """Have everybody who has one of them open asked about again, after their state or place has changed."""
        if len(documents) > AT_ONCE:
            spawn("recheck documents", self._recheck(documents))
        else:
            await self._recheck(documents)

    async def _recheck(self, documents: Sequence[UUID]) -> None:
        for number, document in enumerate(documents, 1):
            await self.rooms.recheck(room=RoomId(str(document)))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0.2)

    def deleted_after(self, trashed: datetime | None) -> datetime | None:
        """When something in the trash is deleted for good."""
        return None if trashed is None else trashed + timedelta(seconds=self.settings.retention)


def uuid(value: Any) -> Any:
    """An id as Python's own type: asyncpg's is not what pydantic writes."""
    return None if value is None else UUID(int=value.int)


def version_tag(row: Any) -> str:
    """The ETag of a row: its version, and when the content was last edited, where there is one."""
    if "edited" not in row:
        return str(row["version"])
    return f"{row['version']}-{int(row['edited'].timestamp() * 1000):x}"


def require_version(call: Call, row: Any, *, needed: bool = True) -> None:
    """Go on only if the caller has seen this version of the row. That people type meanwhile is no other version of
    what a change of the row would overwrite. Raises 428 and 412."""
    header = call.request.headers.get("If-Match")
    if header is not None or needed:
        require_match(None if header is None else _EDITED.sub('"', header), str(row["version"]))
