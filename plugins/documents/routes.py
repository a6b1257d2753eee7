"""The REST API of documents, folders, contents and attachments."""

from collections.abc import Sequence
from functools import partial

from api_shim.paging import Page
from api_shim.problems import (
    Conflict,
    Gone,
    NotImplementedHere,
    PreconditionFailed,
    PreconditionRequired,
)
from api_shim.route import Route
from plugins.documents import models as m
from plugins.documents.attachments import Attachments
from plugins.documents.bodies import BODIES
from plugins.documents.calls import Calls
from plugins.documents.content import Patch
from plugins.documents.contents import Contents
from plugins.documents.folders import Folders
from plugins.documents.library import READ, WRITE, Library
from plugins.documents.problems import (
    BaseUnknown,
    InTrash,
    NoSuchRange,
    QuotaExceeded,
    ReadOnly,
    Unreadable,
    WrongPlace,
)
from plugins.documents.shelf import Shelf

__all__ = ["routes"]

DOCUMENTS = "/v1/documents"
DOCUMENT = f"{DOCUMENTS}/{{document:uuid}}"
FOLDERS = "/v1/folders"
FOLDER = f"{FOLDERS}/{{folder:uuid}}"
ATTACHMENTS = f"{DOCUMENT}/attachments"
BYTES = "application/octet-stream"
PARSED = 2 << 20
"""Bytes of a JSON body that the loop may have to read; larger contents are put, and read in a process of the pool."""

_get = partial(Route, method="GET", scope=READ)
_post = partial(Route, method="POST", scope=WRITE)
_put = partial(Route, method="PUT", scope=WRITE)
_patch = partial(Route, method="PATCH", scope=WRITE)
_delete = partial(Route, method="DELETE", scope=WRITE)


def routes(
    library: Library, shelf: Shelf, folders: Folders, contents: Contents, attachments: Attachments
) -> Sequence[Route]:
    """All of them."""
    calls = Calls(library, shelf, folders, contents)
    body = library.settings.max_content
    writing = (Conflict, Gone, InTrash, ReadOnly, Unreadable, BaseUnknown)
    return (
        # -- documents --
        _get(path=DOCUMENTS, handler=shelf.list, summary="List documents", query=m.Documents, answer=Page[m.Document]),
        _post(path=DOCUMENTS, handler=calls.make, summary="Make a document", body=m.NewDocument, answer=m.Document,
              status=201, max_body=min(body, PARSED), problems=(InTrash, Unreadable)),
        _post(path=f"{DOCUMENTS}:batch", handler=calls.batch, summary="Change several documents", body=m.Batch,
              answer=m.BatchResults, cost=10),
        _get(path=DOCUMENT, handler=calls.document, summary="Read a document's properties", answer=m.Document),
        _patch(path=DOCUMENT, handler=calls.change, summary="Change a document's properties", body=m.ChangedDocument,
               answer=m.Document, problems=(PreconditionRequired, PreconditionFailed, InTrash)),
        _delete(path=DOCUMENT, handler=calls.trash, summary="Put a document into the trash",
                problems=(PreconditionFailed,)),
        _post(path=f"{DOCUMENT}:restore", handler=calls.restore, summary="Take a document out of the trash",
              body=m.Restore, answer=m.Document, problems=(InTrash,)),
        _post(path=f"{DOCUMENT}:purge", handler=calls.purge, summary="Delete a document for good",
              problems=(InTrash,)),
        _post(path=f"{DOCUMENT}:archive", handler=calls.archive, summary="Archive a document", answer=m.Document,
              problems=(InTrash,)),
        _post(path=f"{DOCUMENT}:unarchive", handler=calls.unarchive, summary="Use an archived document again",
              answer=m.Document, problems=(InTrash,)),
        _post(path=f"{DOCUMENT}:move", handler=calls.move, summary="Move a document", body=m.Move, answer=m.Document,
              problems=(InTrash, WrongPlace)),
        _post(path=f"{DOCUMENT}:duplicate", handler=calls.duplicate, summary="Copy a document", body=m.Duplicate,
              answer=m.Document, status=201, problems=(InTrash, Unreadable)),
        Route(method="POST", path=f"{DOCUMENT}/collab-token", handler=calls.collab_token, scope=READ,
              summary="Make a token for an editor", body=m.TokenWanted, answer=m.CollabToken,
              problems=(InTrash, NotImplementedHere)),
        # -- contents --
        _get(path=f"{DOCUMENT}/content", handler=contents.read, summary="Read a document's content",
             query=m.ContentQuery, produces=BODIES, problems=(Unreadable, Gone)),
        _put(path=f"{DOCUMENT}/content", handler=contents.put, summary="Write a document's content", query=m.PutQuery,
             answer=m.ContentWritten, raw=True, consumes=BODIES, max_body=body,
             problems=(PreconditionRequired, *writing)),
        _patch(path=f"{DOCUMENT}/content", handler=contents.patch, summary="Change parts of a document's content",
               query=m.PatchQuery, body=Patch, answer=m.ContentWritten, max_body=min(body, PARSED), problems=writing),
        _get(path=f"{DOCUMENT}/updates", handler=contents.updates, summary="Read a document as a Yjs update",
             query=m.UpdatesQuery, produces=(BYTES,), problems=(Unreadable,)),
        _post(path=f"{DOCUMENT}/updates", handler=contents.add, summary="Put a Yjs update into a document", raw=True,
              consumes=(BYTES,), max_body=body, status=204, problems=writing),
        # -- attachments --
        _get(path=ATTACHMENTS, handler=attachments.list, summary="List a document's attachments",
             query=m.Attachments, answer=Page[m.Attachment]),
        _post(path=ATTACHMENTS, handler=attachments.add, summary="Attach a file", query=m.AttachmentQuery,
              answer=m.Attachment, status=201, raw=True, consumes=("*/*",), timeout=600.0,
              max_body=library.settings.attachment_size, problems=(InTrash, QuotaExceeded)),
        _get(path=f"{ATTACHMENTS}/{{attachment:uuid}}", handler=attachments.send, summary="Read an attached file",
             raw=True, produces=("*/*",), timeout=600.0, problems=(NoSuchRange,)),
        _delete(path=f"{ATTACHMENTS}/{{attachment:uuid}}", handler=attachments.remove,
                summary="Remove an attached file"),
        # -- folders --
        _get(path=FOLDERS, handler=folders.list, summary="List folders", query=m.Folders, answer=Page[m.Folder]),
        _post(path=FOLDERS, handler=calls.make_folder, summary="Make a folder", body=m.NewFolder, answer=m.Folder,
              status=201, problems=(InTrash, WrongPlace)),
        _get(path=FOLDER, handler=calls.folder, summary="Read a folder's properties", answer=m.Folder),
        _patch(path=FOLDER, handler=calls.rename_folder, summary="Rename a folder", body=m.ChangedFolder,
               answer=m.Folder, problems=(PreconditionRequired, PreconditionFailed, InTrash)),
        _delete(path=FOLDER, handler=calls.trash_folder, summary="Put a folder into the trash",
                problems=(PreconditionFailed,)),
        _post(path=f"{FOLDER}:restore", handler=calls.restore_folder, summary="Take a folder out of the trash",
              body=m.Restore, answer=m.Folder, problems=(InTrash, WrongPlace)),
        _post(path=f"{FOLDER}:move", handler=calls.move_folder, summary="Move a folder", body=m.MoveFolder,
              answer=m.Folder, problems=(InTrash, WrongPlace)),
        _get(path="/v1/workspaces/{workspace:uuid}/tree", handler=calls.tree, summary="Read a workspace's folders",
             answer=m.Tree, tag="folders"),
    )  # fmt: skip
