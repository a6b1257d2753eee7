"""The content of documents: read, written, rebased and patched, as JSON, Markdown, HTML, text and Yjs.

    read(update, "md")                             bytes
    write(update, body, "html")                    Written(update, hunks, root)
    rebase(base, body, "json", live)               Rebased(update, hunks, root, conflicts)
    patch(update, operations)                      Written(update, hunks, root)
    mint(update, points), resolve(update, anchors) relative positions, as Yjs has them

Pure functions on whole documents as Yjs v1 updates. They take milliseconds to seconds and hold the GIL, so callers run
them in a process pool. What they raise can be pickled: BadContent, NotABase, relay.errors.Malformed, ValueError.
"""

from plugins.documents.content.anchors import Anchor, Place, Point, mint, resolve
from plugins.documents.content.diff import Conflict, Hunk
from plugins.documents.content.exchange import Rebased, Written, read, rebase, write
from plugins.documents.content.formats import FORMATS, MEDIA_TYPES, Format
from plugins.documents.content.operations import Operation, Patch, patch
from plugins.documents.content.since import NotABase
from plugins.documents.content.tree import BadContent, Fault

__all__ = [
    "FORMATS",
    "MEDIA_TYPES",
    "Anchor",
    "BadContent",
    "Conflict",
    "Fault",
    "Format",
    "Hunk",
    "NotABase",
    "Operation",
    "Patch",
    "Place",
    "Point",
    "Rebased",
    "Written",
    "mint",
    "patch",
    "read",
    "rebase",
    "resolve",
    "write",
]
