"""Folders: a tree in each workspace. Changes of how it hangs together exclude each other, so that two moves at once
can't make a circle."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from api_shim.ids import uuid7
from api_shim.paging import Page
from api_shim.problems import NotFound
from api_shim.route import Call
from api_shim.services import Permission, Role
from plugins.documents.library import FOLDER, Library, uuid
from plugins.documents.models import Folder, Tree, TreeFolder
from plugins.documents.problems import InTrash, WrongPlace
from relay.bus.outbox import made
from relay.contracts.materi.v1 import documents_pb2 as events
from relay.grants import Principal

__all__ = ["DEEPEST", "Folders"]

DEEPEST = 32
"""Folders inside each other."""
SHOWN = 5000
"""Folders in a tree at most."""

_SORTS = {"name": "lower(name)"}
_ABOVE = """
WITH RECURSIVE above AS (
    SELECT id, parent FROM documents.folder WHERE id = $1
    UNION ALL
    SELECT f.id, f.parent FROM documents.folder f JOIN above a ON f.id = a.parent
) SELECT id FROM above
"""
_BELOW = """
WITH RECURSIVE below AS (
    SELECT id, 1 AS depth FROM documents.folder WHERE id = $1
    UNION ALL
    SELECT f.id, b.depth + 1 FROM documents.folder f JOIN below b ON f.parent = b.id
) SELECT id, depth FROM below
"""


class Folders:
    """What the routes do. Every change is one transaction with its events."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def model(self, row: Any, role: Role | None = None) -> Folder:
        """A row as the API tells it."""
        return Folder.model_construct(
            id=uuid(row["id"]),
            workspace=uuid(row["workspace"]),
            parent=uuid(row["parent"]),
            name=row["name"],
            created=row["created"],
            created_by=row["created_by"],
            updated=row["updated"],
            trashed=row["trashed"],
            role=role,
        )

    async def list(self, call: Call) -> Page[Folder]:
        """Those that may be seen, filtered in SQL by rights and query."""
        library, query = self._library, call.query
        where = ["trashed IS NULL" if query.state == "active" else "trashed IS NOT NULL"]
        values: list[Any] = []
        if query.workspace is not None:
            values.append(query.workspace)
            where.append(f"workspace = ${len(values)}")
        if query.parent == "none":
            where.append("parent IS NULL")
        elif query.parent is not None:
            values.append(query.parent)
            where.append(f"parent = ${len(values)}")
        needed: Permission = "delete" if query.state == "trashed" else "read"
        return await library.page(
            call, "documents.folder", FOLDER, {"name": "lower(name)"}, where, values, needed, self.model
        )

    async def tree(self, principal: Principal, workspace: UUID) -> Tree:
        """All that may be seen of a workspace; raises NotFound when that is nothing."""
        library = self._library
        visible, more = library.access.visible(principal, 2, "read", workspace)
        rows = await library.database.fetch(
            f"SELECT id, parent, name FROM documents.folder WHERE workspace = $1 AND trashed IS NULL AND {visible}"  # noqa: S608
            f" ORDER BY lower(name), id LIMIT {SHOWN + 1}",
            workspace,
            *more,
        )
        counts = await library.database.fetch(
            "SELECT folder, count(*) AS documents FROM documents.document"  # noqa: S608
            f" WHERE workspace = $1 AND trashed IS NULL AND archived IS NULL AND {visible} GROUP BY folder",
            workspace,
            *more,
        )
        if not rows and not counts:
            # Whoever sees nothing in it may still see that it is there.
            await library.access.require(principal, "read", workspace)
        documents = {row["folder"]: row["documents"] for row in counts}
        shown = rows[:SHOWN]
        seen = {row["id"] for row in shown}
        return Tree.model_construct(
            workspace=workspace,
            folders=[
                TreeFolder.model_construct(
                    id=uuid(row["id"]),
                    parent=uuid(row["parent"]) if row["parent"] in seen else None,
                    name=row["name"],
                    documents=documents.get(row["id"], 0),
                )
                for row in shown
            ],
            documents=documents.get(None, 0),
            truncated=len(rows) > SHOWN,
        )

    async def make(self, principal: Principal, workspace: UUID, parent: UUID | None, name: str) -> Any:
        """Raises NotFound, Forbidden, InTrash, WrongPlace."""
        library = self._library
        await library.writable_place(principal, workspace, parent)
        id = uuid7()
        async with library.database.acquire() as connection, connection.transaction():
            if parent is not None:
                await library.lock_tree(connection, workspace)
                await library.usable_folder(connection, parent, workspace)
                if len(await connection.fetch(_ABOVE, parent)) >= DEEPEST:
                    raise WrongPlace(f"Folders may be {DEEPEST} levels deep.")
            place = await library.access.place(connection, id, "folder", parent or workspace, principal.actor)
            if place.workspace != workspace:
                raise NotFound("There is no such workspace.")
            row = await connection.fetchrow(
                f"""INSERT INTO documents.folder (id, workspace, parent, name, created, created_by, updated)
                   VALUES ($1, $2, $3, $4, $5, $6, $5) RETURNING {FOLDER}""",  # noqa: S608
                id, workspace, parent, name, library.now, principal.actor,
            )  # fmt: skip
            event = events.FolderCreated(
                folder_id=str(id), workspace_id=str(workspace), parent_id=str(parent or ""), name=name
            )
            await library.tell(connection, event, id, principal)
        return row

    async def rename(self, principal: Principal, row: Any, name: str) -> Any:
        """The row as it is then; None when it has changed since it was read."""
        library = self._library
        async with library.database.acquire() as connection, connection.transaction():
            found = await connection.fetchrow(
                f"""UPDATE documents.folder SET name = $2, updated = $3, version = version + 1
                   WHERE id = $1 AND version = $4 RETURNING {FOLDER}""",  # noqa: S608
                row["id"], name, library.now, row["version"],
            )  # fmt: skip
            if found is not None:
                event = events.FolderUpdated(
                    folder_id=str(row["id"]), workspace_id=str(row["workspace"]), name=found["name"]
                )
                await library.tell(connection, event, row["id"], principal)
        return found

    async def move(self, principal: Principal, row: Any, parent: UUID | None) -> Any:
        """Put it elsewhere in its workspace, with all that is in it.

        Raises NotFound, Forbidden, InTrash, WrongPlace.
        """
        library = self._library
        workspace = uuid(row["workspace"])
        await library.writable_place(principal, workspace, parent)
        async with library.database.acquire() as connection, connection.transaction():
            await library.lock_tree(connection, workspace)
            row = await self._hold(connection, row["id"])
            if row["trashed"] is not None:
                raise InTrash
            if row["parent"] == parent:
                return row
            await self._fits(connection, row, parent)
            found = await self._put(connection, row, parent)
            event = events.FolderMoved(
                folder_id=str(row["id"]),
                workspace_id=str(workspace),
                parent_before=str(row["parent"] or ""),
                parent_id=str(parent or ""),
            )
            await library.tell(connection, event, row["id"], principal)
            documents = await self._documents(connection, row["id"])
        await library.recheck(*documents)
        return found

    async def trash(self, principal: Principal, row: Any) -> Any:
        """Put it into the trash with all that is in it and is not there yet."""
        library = self._library
        async with library.database.acquire() as connection, connection.transaction():
            await library.lock_tree(connection, row["workspace"])
            row = await self._hold(connection, row["id"])
            if row["trashed"] is not None:
                return row
            below = [one["id"] for one in await connection.fetch(_BELOW, row["id"])]
            await connection.execute(
                """UPDATE documents.folder SET trashed = $2, trashed_with = $3, updated = $2, version = version + 1
                   WHERE id = ANY($1) AND trashed IS NULL""",
                below, library.now, row["id"],
            )  # fmt: skip
            documents = await connection.fetch(
                """UPDATE documents.document
                   SET trashed = $2, trashed_with = $3, trashed_by = $4, updated = $2, version = version + 1
                   WHERE folder = ANY($1) AND trashed IS NULL RETURNING id, workspace""",
                below, library.now, row["id"], principal.actor,
            )  # fmt: skip
            told = [
                made(
                    events.DocumentTrashed(document_id=str(one["id"]), workspace_id=str(one["workspace"])),
                    subject=str(one["id"]),
                    actor=principal.actor,
                )
                for one in documents
            ]
            await library.outbox.add_many(connection, told)
            event = events.FolderTrashed(folder_id=str(row["id"]), workspace_id=str(row["workspace"]))
            await library.tell(connection, event, row["id"], principal)
            found = await self._hold(connection, row["id"])
        await library.recheck(*(one["id"] for one in documents))
        return found

    async def restore(self, principal: Principal, row: Any, elsewhere: bool = False, parent: UUID | None = None) -> Any:
        """Take it out of the trash with all that went there with it. Raises InTrash when the folder it was in, or one
        that it went there with, is there still."""
        library = self._library
        if elsewhere:
            await library.writable_place(principal, row["workspace"], parent)
        async with library.database.acquire() as connection, connection.transaction():
            await library.lock_tree(connection, row["workspace"])
            row = await self._hold(connection, row["id"])
            if row["trashed"] is None:
                return row
            if row["trashed_with"] != row["id"]:
                raise InTrash(
                    "It was put into the trash with a folder that it is in: restore that.",
                    folder=str(row["trashed_with"]),
                )
            if elsewhere and parent != row["parent"]:
                await self._fits(connection, row, parent)
                await self._put(connection, row, parent)
            elif row["parent"] is not None:
                await library.usable_folder(connection, row["parent"], row["workspace"])
            await connection.execute(
                """UPDATE documents.folder SET trashed = NULL, trashed_with = NULL, updated = $2, version = version + 1
                   WHERE trashed_with = $1""",
                row["id"], library.now,
            )  # fmt: skip
            documents = await connection.fetch(
                """UPDATE documents.document
                   SET trashed = NULL, trashed_with = NULL, trashed_by = NULL, updated = $2, version = version + 1
                   WHERE trashed_with = $1 RETURNING id, workspace, folder""",
                row["id"], library.now,
            )  # fmt: skip
            told = [
                made(
                    events.DocumentRestored(
                        document_id=str(one["id"]), workspace_id=str(one["workspace"]), folder_id=str(one["folder"])
                    ),
                    subject=str(one["id"]),
                    actor=principal.actor,
                )
                for one in documents
            ]
            await library.outbox.add_many(connection, told)
            found = await self._hold(connection, row["id"])
            event = events.FolderRestored(
                folder_id=str(row["id"]), workspace_id=str(row["workspace"]), parent_id=str(found["parent"] or "")
            )
            await library.tell(connection, event, row["id"], principal)
        await library.recheck(*(one["id"] for one in documents))
        return found

    async def purge(self, id: UUID) -> bool:
        """Delete for good a folder in the trash that nothing is in any more."""
        library = self._library
        async with library.database.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                """SELECT workspace FROM documents.folder f WHERE id = $1 AND trashed IS NOT NULL
                     AND NOT EXISTS (SELECT FROM documents.folder WHERE parent = f.id)
                     AND NOT EXISTS (SELECT FROM documents.document WHERE folder = f.id)
                   FOR UPDATE SKIP LOCKED""",
                id,
            )
            if row is None:
                return False
            await library.access.remove(connection, id)
            await connection.execute("DELETE FROM documents.folder WHERE id = $1", id)
            event = events.FolderDeleted(folder_id=str(id), workspace_id=str(row["workspace"]))
            await library.tell(connection, event, id)
        return True

    async def _hold(self, connection: Any, id: UUID) -> Any:
        row = await connection.fetchrow(
            f"SELECT {FOLDER} FROM documents.folder WHERE id = $1 FOR UPDATE",  # noqa: S608
            id,
        )
        if row is None:
            raise NotFound("There is no such folder.")
        return row

    async def _fits(self, connection: Any, row: Any, parent: UUID | None) -> None:
        """Raises unless the folder can be put below `parent`. The tree is locked."""
        if parent is None:
            return
        await self._library.usable_folder(connection, parent, row["workspace"])
        above = [one["id"] for one in await connection.fetch(_ABOVE, parent)]
        if row["id"] in above:
            raise WrongPlace("A folder can't be put into itself, or below itself.")
        below = await connection.fetch(_BELOW, row["id"])
        if len(above) + max(one["depth"] for one in below) > DEEPEST:
            raise WrongPlace(f"Folders may be {DEEPEST} levels deep.")

    async def _put(self, connection: Any, row: Any, parent: UUID | None) -> Any:
        await self._library.access.move(connection, row["id"], parent or row["workspace"])
        return await connection.fetchrow(
            f"""UPDATE documents.folder SET parent = $2, updated = $3, version = version + 1
               WHERE id = $1 RETURNING {FOLDER}""",  # noqa: S608
            row["id"], parent, self._library.now,
        )  # fmt: skip

    async def _documents(self, connection: Any, folder: UUID) -> Sequence[UUID]:
        below = [one["id"] for one in await connection.fetch(_BELOW, folder)]
        rows = await connection.fetch(
            "SELECT id FROM documents.document WHERE folder = ANY($1) AND trashed IS NULL", below
        )
        return [row["id"] for row in rows]
