"""What the API says and takes of documents, folders and attachments."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from api_shim.models import Model, Query
from api_shim.paging import PageQuery
from api_shim.services import Role
from plugins.documents.content import Format

__all__ = [
    "Attachment", "AttachmentQuery", "Attachments", "Batch", "BatchResult", "BatchResults", "ChangedDocument",
    "ChangedFolder", "CollabToken", "ConflictOut", "ContentQuery", "ContentWritten", "Document", "Documents",
    "Duplicate", "Folder", "Folders", "HunkOut", "Move", "MoveFolder", "NewContent", "NewDocument", "NewFolder",
    "PatchQuery", "PutQuery", "Restore", "TokenWanted", "Tree", "TreeFolder", "UpdatesQuery",
]  # fmt: skip

Title = Annotated[str, Field(max_length=500, description="May be empty.")]
Name = Annotated[str, Field(min_length=1, max_length=255)]
State = Literal["active", "archived", "trashed"]
Root = Annotated[
    str | None,
    Field(
        max_length=255,
        description="Name of the Yjs type that holds the content; unset: `default` (Tiptap), `prosemirror`, or the "
        "first that holds anything.",
    ),
]


class Document(Model):
    """A document, without its content."""

    id: UUID
    workspace: UUID
    folder: UUID | None = Field(description="The folder it is in; null at the top of its workspace.")
    title: str
    state: State
    locked: bool = Field(description="Nobody may change its content.")
    created: datetime
    created_by: str
    updated: datetime = Field(description="When its title, place or state last changed.")
    edited: datetime = Field(description="When its content last changed; told some seconds late.")
    edited_by: str
    trashed: datetime | None
    deleted_after: datetime | None = Field(description="When it is deleted for good, once it is in the trash.")
    role: Role | None = Field(default=None, description="What you are to it; not told in lists.")


class NewContent(Model):
    """A content to begin with: `json` as an object, `yjs` in base64, other formats as text."""

    format: Format
    value: dict[str, Any] | str

    @model_validator(mode="after")
    def _fits(self) -> "NewContent":
        if isinstance(self.value, str) == (self.format == "json"):
            raise ValueError("`value` must be an object for `json`, and text for every other format")
        return self


class NewDocument(Model):
    """A document to make."""

    workspace: UUID
    folder: UUID | None = None
    title: Title = ""
    content: NewContent | None = None


class ChangedDocument(Model):
    """What is left out stays."""

    title: Title | None = None
    locked: bool | None = Field(default=None, description="Needs the permission `manage`.")


class Documents(PageQuery):
    """Documents that you may see."""

    sort: Literal["edited", "-edited", "created", "-created", "title", "-title"] = "-edited"
    workspace: UUID | None = Field(default=None, alias="filter[workspace]")
    folder: UUID | Literal["none"] | None = Field(
        default=None, alias="filter[folder]", description="A folder, without those in it; `none`: the top."
    )
    state: State = Field(
        default="active", alias="filter[state]", description="Of the trash you see what you may delete."
    )
    created_by: str | None = Field(default=None, alias="filter[created_by]", max_length=256)
    title: str | None = Field(
        default=None, alias="filter[title]", min_length=1, max_length=500, description="Is in the title, in any case."
    )


class Move(Model):
    """Where to: a folder, or with null the top of a workspace; without `workspace` it stays in its own."""

    workspace: UUID | None = None
    folder: UUID | None


class Restore(Model):
    """Where to, when it is not to go back to where it was: a folder, or null for the top of the workspace."""

    folder: UUID | None = None


class Duplicate(Model):
    """Where the copy goes and what it is called; else beside the original, which must then be writable."""

    title: Title | None = None
    workspace: UUID | None = None
    folder: UUID | None = None


class BatchOperation(Model):
    """One change to one document."""

    op: Literal["trash", "restore", "archive", "unarchive", "move"]
    document: UUID
    folder: UUID | None = Field(default=None, description="For `move`; null is the top of its workspace.")


class Batch(Model):
    """Changes that are made one after the other; one that fails does not stop the others."""

    operations: list[BatchOperation] = Field(min_length=1, max_length=100)


class BatchResult(Model):
    """What became of one operation, in the order they were sent."""

    document: UUID
    status: int
    problem: dict[str, Any] | None = None


class BatchResults(Model):
    """What became of a batch."""

    results: list[BatchResult]


class Folder(Model):
    """A folder."""

    id: UUID
    workspace: UUID
    parent: UUID | None = Field(description="The folder it is in; null at the top of its workspace.")
    name: str
    created: datetime
    created_by: str
    updated: datetime
    trashed: datetime | None
    role: Role | None = Field(default=None, description="What you are to it; not told in lists.")


class NewFolder(Model):
    """A folder to make."""

    workspace: UUID
    parent: UUID | None = None
    name: Name


class ChangedFolder(Model):
    """A folder's new name."""

    name: Name


class MoveFolder(Model):
    """Where to: a folder of the same workspace, or null for its top."""

    parent: UUID | None


class Folders(PageQuery):
    """Folders that you may see."""

    sort: Literal["name", "-name"] = "name"
    workspace: UUID | None = Field(default=None, alias="filter[workspace]")
    parent: UUID | Literal["none"] | None = Field(default=None, alias="filter[parent]")
    state: Literal["active", "trashed"] = Field(default="active", alias="filter[state]")


class TreeFolder(Model):
    """A folder in a tree. `parent` is null too where you may not see what it is in."""

    id: UUID
    parent: UUID | None
    name: str
    documents: int = Field(description="How many of the documents in it you may see.")


class Tree(Model):
    """All folders of a workspace that you may see, by name."""

    workspace: UUID
    folders: list[TreeFolder]
    documents: int = Field(description="How many documents you may see at the top.")
    truncated: bool = Field(description="There are more than 5,000; list them instead.")


class ContentQuery(Query):
    """In which form."""

    format: Format | None = Field(default=None, description="Else the first of `Accept` that there is; else `json`.")
    root: Root = None
    at: str | None = Field(default=None, max_length=100, description="A position in the document's history.")


class PutQuery(Query):
    """What of the document is meant."""

    root: Root = None


class PatchQuery(PutQuery):
    """And whether it is only tried."""

    dry_run: bool = Field(default=False, description="Say what would be done, and do nothing.")


class UpdatesQuery(Query):
    """From where on."""

    since: str | None = Field(
        default=None, max_length=1 << 20, description="A state vector of Yjs in base64; only what it lacks is sent."
    )


class HunkOut(Model):
    """One thing that changed, as the content was before: `path` leads to a block by indices, `offset` is in its text,
    in UTF-16 units, or null for the block as a whole; texts are cut after 400 characters."""

    kind: Literal["insert", "delete", "replace", "format", "attributes"]
    path: list[int]
    offset: int | None = None
    type: str = ""
    before: str = ""
    after: str = ""


class ConflictOut(Model):
    """Where the body and people disagreed. `kept`: the body deleted a block that someone had typed into, what they
    typed stays; `gone`: the body changed a block that someone had deleted."""

    kind: Literal["kept", "gone"]
    path: list[int]
    text: str = ""


class ContentWritten(Model):
    """What was done. `etag` (also the header) is the version that your body is: the base of your next one."""

    etag: str
    changed: bool
    rebased: bool = Field(description="Others had changed the content since the version of `If-Match`.")
    applied: bool = Field(description="False for a `dry_run`.")
    hunks: list[HunkOut]
    conflicts: list[ConflictOut]


class TokenWanted(Model):
    """What the token is to be good for."""

    lifetime: int = Field(default=600, ge=10, le=3600, description="Seconds.")
    readonly: bool = False


class CollabToken(Model):
    """A token that opens one document's room, and nothing else."""

    token: str
    room: str = Field(description="The room's name.")
    url: str = Field(description="Where y-websocket connects; `/ws` without the room for Hocuspocus.")
    readonly: bool
    expires: datetime


class Attachment(Model):
    """A file that belongs to a document."""

    id: UUID
    document: UUID
    name: str
    media_type: str
    size: int
    sha256: str
    created: datetime
    created_by: str
    url: str = Field(description="Where it is, below the public address.")


class Attachments(PageQuery):
    """A document's attachments."""

    sort: Literal["created", "-created"] = "created"


class AttachmentQuery(Query):
    """What the file is called."""

    name: str = Field(min_length=1, max_length=255)
