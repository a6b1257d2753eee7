"""What is deleted for good when its time has come: the trash, kept contents, files that nobody has attached."""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from api_shim.problems import Problem
from plugins.documents.attachments import Attachments
from plugins.documents.bases import Bases
from plugins.documents.folders import Folders
from plugins.documents.library import Library
from plugins.documents.shelf import Shelf
from relay.contracts import Event
from relay.contracts.materi.v1.users_pb2 import WorkspaceDeleted
from relay.errors import RelayError
from relay.tasks import end, spawn

__all__ = ["Retention"]

log = logging.getLogger("plugins.documents")
AT_ONCE = 100
FIRST = UUID(int=0)


class Retention:
    """Looks every so often, in every process: a row is locked by whoever deletes it."""

    def __init__(
        self, library: Library, shelf: Shelf, folders: Folders, bases: Bases, attachments: Attachments
    ) -> None:
        self._library = library
        self._shelf = shelf
        self._folders = folders
        self._bases = bases
        self._attachments = attachments
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._looking = spawn("purge documents", self._look())

    async def close(self) -> None:
        """Look no more."""
        await end(self._looking)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._library.settings.purge_every)
            try:
                await self.purge()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, RelayError, TimeoutError) as error:
                log.warning("the trash can't be emptied for now", extra={"error": repr(error)})
            except Exception:
                log.exception("emptying the trash failed")

    async def purge(self) -> int:
        """Delete what is due; how many documents that was."""
        library = self._library
        due = library.now - timedelta(seconds=library.settings.retention)
        count = 0
        last = FIRST
        while found := await self._due("document", due, last):
            last = found[-1]
            for id in found:
                try:
                    count += await self._shelf.purge(id)
                except (Problem, RelayError) as error:
                    log.warning("a document can't be deleted", extra={"document": str(id), "error": repr(error)})
        # From the leaves up: a folder goes when nothing is in it any more.
        while any([await self._folders.purge(id) for id in await self._due("folder", due)]):
            pass
        await self._bases.purge()
        await self._attachments.blobs.sweep()
        if count:
            log.info("the trash was emptied", extra={"documents": count})
        return count

    async def _due(self, table: str, due: datetime, after: UUID = FIRST) -> list[UUID]:
        leaf = (
            " AND NOT EXISTS (SELECT FROM documents.folder WHERE parent = t.id)"
            " AND NOT EXISTS (SELECT FROM documents.document WHERE folder = t.id)"
        )
        rows = await self._library.database.fetch(
            f"SELECT id FROM documents.{table} t WHERE trashed <= $1 AND id > $2"  # noqa: S608
            f"{leaf if table == 'folder' else ''} ORDER BY id LIMIT {AT_ONCE}",
            due,
            after,
        )
        return [row["id"] for row in rows]

    async def workspace_deleted(self, connection: Any, event: Event) -> None:
        """Its documents are due at once; rooms that are open close when they are deleted."""
        if not isinstance(event.payload, WorkspaceDeleted):
            return
        workspace = UUID(event.payload.workspace_id)
        due = self._library.now - timedelta(seconds=self._library.settings.retention + 1)
        for table in ("folder", "document"):
            await connection.execute(
                f"UPDATE documents.{table} SET trashed = $2, trashed_with = $1, version = version + 1"  # noqa: S608
                " WHERE workspace = $1",
                workspace,
                due,
            )
