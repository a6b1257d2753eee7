"""Documents, but for their content: made, listed, changed, moved, put away, thrown away and brought back."""

from typing import Any
from uuid import UUID

from api_shim.ids import uuid7
from api_shim.paging import Page
from api_shim.problems import NotFound
from api_shim.route import Call
from api_shim.services import Permission, Role
from plugins.documents.library import DOCUMENT, Library, uuid
from plugins.documents.models import Document, State
from plugins.documents.problems import InTrash
from relay.contracts.materi.v1 import documents_pb2 as events
from relay.grants import Principal
from relay.types import RoomId

__all__ = ["Shelf"]

_STATES = {
    "active": "trashed IS NULL AND archived IS NULL",
    "archived": "trashed IS NULL AND archived IS NOT NULL",
    "trashed": "trashed IS NOT NULL",
}
_SORTS = {"edited": "edited", "created": "created", "title": "lower(title)"}


class Shelf:
    """What the routes do, callable one by one too. Every change is one transaction with its event."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def model(self, row: Any, role: Role | None = None) -> Document:
        """A row as the API tells it."""
        trashed = row["trashed"]
        state: State = "trashed" if trashed else "archived" if row["archived"] else "active"
        return Document.model_construct(
            id=uuid(row["id"]),
            workspace=uuid(row["workspace"]),
            folder=uuid(row["folder"]),
            title=row["title"],
            state=state,
            locked=row["locked"],
            created=row["created"],
            created_by=row["created_by"],
            updated=row["updated"],
            edited=row["edited"],
            edited_by=row["edited_by"],
            trashed=trashed,
            deleted_after=self._library.deleted_after(trashed),
            role=role,
        )

    async def list(self, call: Call) -> Page[Document]:
        """Those that may be seen, filtered in SQL by rights and query."""
        library, query = self._library, call.query
        where: list[str] = [_STATES[query.state]]
        values: list[Any] = []

        def given(condition: str, value: object) -> None:
            values.append(value)
            where.append(condition.format(len(values)))

        if query.workspace is not None:
            given("workspace = ${}", query.workspace)
        if query.folder == "none":
            where.append("folder IS NULL")
        elif query.folder is not None:
            given("folder = ${}", query.folder)
        if query.created_by is not None:
            given("created_by = ${}", query.created_by)
        if query.title is not None:
            given("strpos(lower(title), lower(${})) > 0", query.title)
        needed: Permission = "delete" if query.state == "trashed" else "read"
        return await library.page(call, "documents.document", DOCUMENT, _SORTS, where, values, needed, self.model)

    async def make(
        self,
        principal: Principal,
        workspace: UUID,
        folder: UUID | None,
        title: str,
        update: bytes,
        copied_from: UUID | None = None,
    ) -> Any:
        """A document that begins with `update`, which may be empty; its row. It is there whole or not at all."""
        library = self._library
        await library.writable_place(principal, workspace, folder)
        id, now = uuid7(), library.now
        try:
            async with library.database.acquire() as connection, connection.transaction():
                if folder is not None:
                    await library.usable_folder(connection, folder, workspace)
                place = await library.access.place(connection, id, "document", folder or workspace, principal.actor)
                if place.workspace != workspace:
                    raise NotFound("There is no such workspace.")
                row = await connection.fetchrow(
                    f"""INSERT INTO documents.document
                         (id, workspace, folder, title, created, created_by, updated, edited, edited_by)
                       VALUES ($1, $2, $3, $4, $5, $6, $5, $5, $6) RETURNING {DOCUMENT}""",  # noqa: S608
                    id, workspace, folder, title, now, principal.actor,
                )  # fmt: skip
                made = events.DocumentCreated(
                    document_id=str(id),
                    workspace_id=str(workspace),
                    folder_id=_text(folder),
                    title=title,
                    copied_from=_text(copied_from),
                )
                await library.tell(connection, made, id, principal)
                if update:
                    # Before the commit: a document is not to be seen without what it was made with.
                    await library.rooms.edit(RoomId(str(id)), update, principal.actor)
        except BaseException:
            if update:
                await library.rooms.delete(RoomId(str(id)))
            raise
        return row

    async def change(self, principal: Principal, row: Any, title: str | None, locked: bool | None) -> Any:
        """Another title, locked or not: the row as it is then; None when it has changed since it was read."""
        library = self._library
        changed = [
            name for name, value in (("title", title), ("locked", locked)) if value is not None and value != row[name]
        ]
        if not changed:
            return row
        async with library.database.acquire() as connection, connection.transaction():
            found = await connection.fetchrow(
                f"""UPDATE documents.document SET title = coalesce($2, title), locked = coalesce($3, locked),
                     updated = $4, version = version + 1
                   WHERE id = $1 AND version = $5 RETURNING {DOCUMENT}""",  # noqa: S608
                row["id"], title, locked, library.now, row["version"],
            )  # fmt: skip
            if found is None:
                return None
            event = events.DocumentUpdated(
                document_id=str(row["id"]), workspace_id=str(found["workspace"]), changed=changed, title=found["title"]
            )
            await library.tell(connection, event, row["id"], principal)
        if "locked" in changed:
            await library.recheck(row["id"])
        return found

    async def archive(self, principal: Principal, row: Any, archived: bool) -> Any:
        """Put it away, or take it out again. Raises InTrash."""
        library = self._library
        async with library.database.acquire() as connection, connection.transaction():
            row = await self._hold(connection, row["id"])
            if row["trashed"] is not None:
                raise InTrash
            if (row["archived"] is not None) == archived:
                return row
            found = await self._set(connection, row["id"], "archived = $3", library.now if archived else None)
            kind = events.DocumentArchived if archived else events.DocumentUnarchived
            event = kind(document_id=str(row["id"]), workspace_id=str(row["workspace"]))
            await library.tell(connection, event, row["id"], principal)
        await library.recheck(row["id"])
        return found

    async def trash(self, principal: Principal, row: Any) -> Any:
        """Put it into the trash; whoever has it open is told that it is deleted."""
        library = self._library
        async with library.database.acquire() as connection, connection.transaction():
            row = await self._hold(connection, row["id"])
            if row["trashed"] is not None:
                return row
            found = await self._set(
                connection,
                row["id"],
                "trashed = $3, trashed_with = id, trashed_by = $4",
                library.now,
                principal.actor,
            )
            event = events.DocumentTrashed(document_id=str(row["id"]), workspace_id=str(row["workspace"]))
            await library.tell(connection, event, row["id"], principal)
        await library.recheck(row["id"])
        return found

    async def restore(self, principal: Principal, row: Any, elsewhere: bool = False, folder: UUID | None = None) -> Any:
        """Take it out of the trash, to where it was or to `elsewhere`, a folder or the top of its workspace.

        Raises InTrash when the folder it was in is in the trash itself.
        """
        library = self._library
        if elsewhere:
            await library.writable_place(principal, row["workspace"], folder)
        async with library.database.acquire() as connection, connection.transaction():
            row = await self._hold(connection, row["id"])
            if row["trashed"] is None:
                return row
            target = folder if elsewhere else row["folder"]
            if target is not None:
                await library.usable_folder(connection, target, row["workspace"])
            if target != row["folder"]:
                await library.access.move(connection, row["id"], target or row["workspace"])
            found = await self._set(
                connection,
                row["id"],
                "trashed = NULL, trashed_with = NULL, trashed_by = NULL, folder = $3",
                target,
            )
            event = events.DocumentRestored(
                document_id=str(row["id"]), workspace_id=str(row["workspace"]), folder_id=_text(target)
            )
            await library.tell(connection, event, row["id"], principal)
        await library.recheck(row["id"])
        return found

    async def move(self, principal: Principal, row: Any, workspace: UUID | None, folder: UUID | None) -> Any:
        """Put it into a folder, or at the top of a workspace. Raises NotFound, Forbidden, InTrash."""
        library = self._library
        workspace = workspace or uuid(row["workspace"])
        await library.writable_place(principal, workspace, folder)
        async with library.database.acquire() as connection, connection.transaction():
            row = await self._hold(connection, row["id"])
            if row["trashed"] is not None:
                raise InTrash
            if row["workspace"] == workspace and row["folder"] == folder:
                return row
            if folder is not None:
                await library.usable_folder(connection, folder, workspace)
            place = await library.access.move(connection, row["id"], folder or workspace)
            if place.workspace != workspace:
                raise NotFound("There is no such workspace.")
            found = await self._set(connection, row["id"], "workspace = $3, folder = $4", workspace, folder)
            event = events.DocumentMoved(
                document_id=str(row["id"]),
                workspace_before=str(row["workspace"]),
                folder_before=_text(row["folder"]),
                workspace_id=str(workspace),
                folder_id=_text(folder),
            )
            await library.tell(connection, event, row["id"], principal)
        await library.recheck(row["id"])
        return found

    async def purge(self, id: UUID, principal: Principal | None = None) -> bool:
        """Delete for good what is in the trash: room and history, then the row. False when it is not there, or not in
        the trash any more, or somebody else does it just now."""
        library = self._library
        async with library.database.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                "SELECT workspace FROM documents.document WHERE id = $1 AND trashed IS NOT NULL FOR UPDATE SKIP LOCKED",
                id,
            )
            if row is None:
                return False
            await library.rooms.delete(RoomId(str(id)))
            await library.access.remove(connection, id)
            await connection.execute("DELETE FROM documents.document WHERE id = $1", id)
            event = events.DocumentDeleted(document_id=str(id), workspace_id=str(row["workspace"]))
            await library.tell(connection, event, id, principal)
        return True

    async def _hold(self, connection: Any, id: UUID) -> Any:
        row = await connection.fetchrow(
            f"SELECT {DOCUMENT} FROM documents.document WHERE id = $1 FOR UPDATE",  # noqa: S608
            id,
        )
        if row is None:
            raise NotFound("There is no such document.")
        return row

    async def _set(self, connection: Any, id: UUID, what: str, *values: object) -> Any:
        return await connection.fetchrow(
            f"UPDATE documents.document SET {what}, updated = $2, version = version + 1"  # noqa: S608
            f" WHERE id = $1 RETURNING {DOCUMENT}",
            id,
            self._library.now,
            *values,
        )


def _text(id: UUID | None) -> str:
    return "" if id is None else str(id)
