"""What the routes of documents and folders do with a request; contents and attachments have their own."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api_shim.problems import NotImplementedHere, PreconditionFailed, Problem, TryLater
from api_shim.route import Answer, Call
from api_shim.services import Permission, Role, Tokens, may
from plugins.documents.contents import Contents
from plugins.documents.folders import Folders
from plugins.documents.library import WRITE, Library, require_version, uuid, version_tag
from plugins.documents.models import BatchResult, BatchResults, CollabToken, Document, Folder, Tree
from plugins.documents.problems import InTrash
from plugins.documents.shelf import Shelf
from relay.errors import Unavailable
from relay.grants import Access as RoomAccess
from relay.grants import Principal

__all__ = ["Calls"]

_NEEDED: dict[str, Permission] = {
    "trash": "delete", "restore": "delete", "archive": "manage", "unarchive": "manage", "move": "manage",
}  # fmt: skip


class Calls:
    """The handlers."""

    def __init__(self, library: Library, shelf: Shelf, folders: Folders, contents: Contents) -> None:
        self._library = library
        self._shelf = shelf
        self._folders = folders
        self._contents = contents

    # -- documents --

    async def make(self, call: Call) -> Answer:
        """It is in the room of its id from then on: editors that may, can open it."""
        body = call.body
        update = await self._contents.begin(body.content)
        row = await self._shelf.make(call.who, body.workspace, body.folder, body.title, update)
        return self._made(row)

    async def document(self, call: Call) -> Answer:
        """What is in the trash is only there for those who may delete it."""
        row, role = await self._library.document(call.who, call.path["document"], "read")
        return self._document(row, role)

    async def change(self, call: Call) -> Answer:
        """`locked` needs the permission `manage`, a title `write`."""
        needed: Permission = "write" if call.body.locked is None else "manage"
        row, role = await self._library.document(call.who, call.path["document"], needed)
        require_version(call, row)
        if row["trashed"] is not None:
            raise InTrash
        found = await self._shelf.change(call.who, row, call.body.title, call.body.locked)
        if found is None:
            raise PreconditionFailed
        return self._document(found, role)

    async def trash(self, call: Call) -> None:
        """It can be restored until its time in the trash is over. Whoever has it open is told that it is deleted."""
        row, _ = await self._library.document(call.who, call.path["document"], "delete")
        require_version(call, row, needed=False)
        await self._shelf.trash(call.who, row)

    async def restore(self, call: Call) -> Answer:
        """To where it was, or to `folder`."""
        row, role = await self._library.document(call.who, call.path["document"], "delete")
        elsewhere = "folder" in call.body.model_fields_set
        return self._document(await self._shelf.restore(call.who, row, elsewhere, call.body.folder), role)

    async def purge(self, call: Call) -> None:
        """Deletes at once what is in the trash: content, history, attachments. There is no way back."""
        row, _ = await self._library.document(call.who, call.path["document"], "delete")
        if row["trashed"] is None:
            raise InTrash("It is not in the trash: delete it first.")
        if not await self._shelf.purge(row["id"], call.who):
            raise TryLater("Somebody else deletes or restores it just now.")

    async def archive(self, call: Call) -> Answer:
        """It can be read and found, and is neither listed nor changed."""
        return await self._archive(call, True)

    async def unarchive(self, call: Call) -> Answer:
        """It is in use again."""
        return await self._archive(call, False)

    async def move(self, call: Call) -> Answer:
        """What it inherits from its folder and workspace changes with that, for those who have it open too."""
        row, _ = await self._library.document(call.who, call.path["document"], "manage")
        found = await self._shelf.move(call.who, row, call.body.workspace, call.body.folder)
        return self._document(found, await self._library.access.role(call.who, row["id"]))

    async def duplicate(self, call: Call) -> Answer:
        """A document with the same content, without attachments and history."""
        body = call.body
        row, _ = await self._library.document(call.who, call.path["document"], "read")
        if row["trashed"] is not None:
            raise InTrash
        beside = body.workspace is None and body.folder is None
        workspace = body.workspace or uuid(row["workspace"])
        folder = uuid(row["folder"]) if beside else body.folder
        title = row["title"] if body.title is None else body.title
        update = await self._contents.copy(row["id"])
        made = await self._shelf.make(call.who, workspace, folder, title, update, copied_from=row["id"])
        return self._made(made)

    async def batch(self, call: Call) -> BatchResults:
        """Each operation is done by itself, in order, and has a result of its own: the status that it would have been
        answered with, and the problem if there was one."""
        results = []
        for one in call.body.operations:
            status, problem = 200, None
            try:
                await self._one(call.who, one)
            except Problem as error:
                status, problem = error.status, error.details(self._library.context.public_url, call.trace_id)
            except Unavailable:
                away = TryLater()
                status, problem = away.status, away.details(self._library.context.public_url, call.trace_id)
            results.append(BatchResult.model_construct(document=one.document, status=status, problem=problem))
        return BatchResults.model_construct(results=results)

    async def _one(self, principal: Principal, one: Any) -> None:
        shelf = self._shelf
        row, _ = await self._library.document(principal, one.document, _NEEDED[one.op])
        work: dict[str, Callable[[], Awaitable[Any]]] = {
            "trash": lambda: shelf.trash(principal, row),
            "restore": lambda: shelf.restore(principal, row),
            "archive": lambda: shelf.archive(principal, row, True),
            "unarchive": lambda: shelf.archive(principal, row, False),
            "move": lambda: shelf.move(principal, row, None, one.folder),
        }
        await work[one.op]()

    async def collab_token(self, call: Call) -> CollabToken:
        """For an editor that shall not hold the token that you have: it opens this document, for as long, and nothing
        else. What you may do there is asked again whenever it is used."""
        library = self._library
        row, role = await library.document(call.who, call.path["document"], "read")
        if row["trashed"] is not None:
            raise InTrash
        try:
            tokens = library.context.service(Tokens)  # type: ignore[type-abstract]
        except LookupError:
            raise NotImplementedHere("No enabled plugin signs tokens: add auth to --plugins.") from None
        scopes = call.who.scopes
        writes = may(role, "write") and (scopes is None or WRITE in scopes) and not call.body.readonly
        access: RoomAccess = "read-write" if writes else "readonly"
        room = str(row["id"])
        token = await tokens.mint(call.who, {room: access}, call.body.lifetime)
        base = library.context.public_url
        return CollabToken.model_construct(
            token=token,
            room=room,
            url=f"ws{base.removeprefix('http')}/ws/{room}",
            readonly=not writes,
            expires=datetime.fromtimestamp(library.context.clock() + call.body.lifetime, UTC),
        )

    async def _archive(self, call: Call, archived: bool) -> Answer:
        row, role = await self._library.document(call.who, call.path["document"], "manage")
        return self._document(await self._shelf.archive(call.who, row, archived), role)

    def _document(self, row: Any, role: Role | None) -> Answer:
        return Answer(self._shelf.model(row, role), etag=version_tag(row))

    def _made(self, row: Any) -> Answer:
        location = f"/v1/documents/{row['id']}"
        made: Document = self._shelf.model(row, "owner")
        return Answer(made, status=201, etag=version_tag(row), headers={"Location": location})

    # -- folders --

    async def make_folder(self, call: Call) -> Answer:
        """Up to 32 levels deep."""
        body = call.body
        row = await self._folders.make(call.who, body.workspace, body.parent, body.name)
        made: Folder = self._folders.model(row, "owner")
        return Answer(made, status=201, etag=version_tag(row), headers={"Location": f"/v1/folders/{row['id']}"})

    async def folder(self, call: Call) -> Answer:
        """What is in the trash is only there for those who may delete it."""
        row, role = await self._library.folder(call.who, call.path["folder"], "read")
        return self._folder(row, role)

    async def rename_folder(self, call: Call) -> Answer:
        """Names need not differ."""
        row, role = await self._library.folder(call.who, call.path["folder"], "write")
        require_version(call, row)
        if row["trashed"] is not None:
            raise InTrash
        found = await self._folders.rename(call.who, row, call.body.name)
        if found is None:
            raise PreconditionFailed
        return self._folder(found, role)

    async def trash_folder(self, call: Call) -> None:
        """With all that is in it."""
        row, _ = await self._library.folder(call.who, call.path["folder"], "delete")
        require_version(call, row, needed=False)
        await self._folders.trash(call.who, row)

    async def restore_folder(self, call: Call) -> Answer:
        """With all that went to the trash with it, to where it was or to `folder`."""
        row, role = await self._library.folder(call.who, call.path["folder"], "delete")
        elsewhere = "folder" in call.body.model_fields_set
        return self._folder(await self._folders.restore(call.who, row, elsewhere, call.body.folder), role)

    async def move_folder(self, call: Call) -> Answer:
        """With all that is in it, within its workspace."""
        row, _ = await self._library.folder(call.who, call.path["folder"], "manage")
        found = await self._folders.move(call.who, row, call.body.parent)
        return self._folder(found, await self._library.access.role(call.who, row["id"]))

    async def tree(self, call: Call) -> Tree:
        """Everything that you may see of it, at once."""
        workspace: UUID = call.path["workspace"]
        return await self._folders.tree(call.who, workspace)

    def _folder(self, row: Any, role: Role | None) -> Answer:
        return Answer(self._folders.model(row, role), etag=version_tag(row))
