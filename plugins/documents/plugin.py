"""The plugin: what it is made of, and which hooks it answers."""

from collections.abc import Sequence

from api_shim.context import Context
from api_shim.plugin import Plugin
from api_shim.route import Route
from api_shim.services import Access
from plugins.documents.attachments import Attachments
from plugins.documents.contents import Contents
from plugins.documents.doors import Doors
from plugins.documents.edits import Edits
from plugins.documents.folders import Folders
from plugins.documents.library import Library
from plugins.documents.retention import Retention
from plugins.documents.routes import routes
from plugins.documents.settings import DocumentsSettings
from plugins.documents.shelf import Shelf
from relay.grants import Grant
from relay.hooks import JoinAsked, RoomEdited

__all__ = ["Documents"]


class Documents(Plugin):
    """Documents in folders and workspaces. A document's content is in the room that is named by its id."""

    name = "documents"
    settings_type = DocumentsSettings
    requires = (Access,)
    migrations = "plugins.documents.migrations"

    async def start(self, context: Context) -> None:
        settings = self.settings or DocumentsSettings()
        library = self.library = Library(context, context.service(Access), settings)  # type: ignore[type-abstract]
        self.shelf = Shelf(library)
        self.folders = Folders(library)
        self.contents = Contents(library)
        self.attachments = Attachments(library)
        self.edits = Edits(library, settings.edited_every)
        self.retention = Retention(library, self.shelf, self.folders, self.contents.bases, self.attachments)
        self._doors = Doors(library)
        self.retention.start()
        await context.consume("workspaces", ["users"], self.retention.workspace_deleted)

    async def stop(self) -> None:
        if hasattr(self, "retention"):
            await self.retention.close()
            await self.edits.close()

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        return await self._doors.ask_join(ask)

    async def on_room_edited(self, fact: RoomEdited) -> None:
        self.edits.add(fact)

    def routes(self) -> Sequence[Route]:
        return routes(self.library, self.shelf, self.folders, self.contents, self.attachments)
