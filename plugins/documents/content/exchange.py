"""Content in and out of a Yjs document, in any format. Pure functions that may take seconds: run them in a process.

A write is an update to send to the room: it turns the content into the body by few operations, and is empty when
nothing changes. A stale body is rebased: what its author changed since the version it was made from is done to that
version, as operations of a client of its own, and so merges with what others have typed meanwhile as any edit does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pycrdt

from plugins.documents.content import formats
from plugins.documents.content.diff import Changes, Conflict, Hunk, change
from plugins.documents.content.since import since
from plugins.documents.content.tree import Node
from plugins.documents.content.yjs import Kind, Opened, find_root, guarded, open_document, recorded
from relay.yjs.update import parse

__all__ = ["Rebased", "Written", "apply", "read", "rebase", "write"]


@dataclass(frozen=True, slots=True)
class Written:
    """update: for the room; empty when nothing changes. hunks: what it does. root: what it does it to."""

    update: bytes
    hunks: Sequence[Hunk]
    root: str


@dataclass(frozen=True, slots=True)
class Rebased(Written):
    """conflicts: where what the body's author did and what others did since could not both be had as they meant it."""

    conflicts: Sequence[Conflict]


@guarded
def read(update: bytes, form: str, root: str | None = None) -> bytes:
    """The content of a root of the document that `update` is, as `json`, `md`, `html`, `text`; `yjs` is the update.

    root: else "default" (Tiptap), "prosemirror", or the first with content. An XML root as JSON is
    {"type": "doc", "content": [...]}; a text root is {"type": "text", "value": string or delta}, and in the other
    formats the text itself. Raises Malformed; ValueError for an unknown format.
    """
    if form == "yjs":
        return update
    return formats.show(open_document(update, root), form)


@guarded
def write(update: bytes, body: bytes, form: str, root: str | None = None) -> Written:
    """Make the document's content what `body` says. Raises BadContent (in `yjs`: Malformed), Malformed, ValueError."""
    if form == "yjs":
        return Written(_checked(update, body), (), root or "")
    opened = _open(update, body, form, root)
    return apply(opened, formats.parse(opened, body, form))


@guarded
def rebase(base: bytes, body: bytes, form: str, live: bytes, root: str | None = None) -> Rebased:
    """Do to `live` what turns `base`, an earlier state of it, into `body`.

    No character that was typed since is lost: in a block that the body deletes, it stays. Raises as `write`, and
    NotABase when `base` holds edits that `live` does not.
    """
    if form == "yjs":
        return Rebased(_checked(live, body), (), root or "", ())
    name, kind = find_root(live, root)
    opened = _open(base, body, form, name, kind)
    happened = since(base, live, opened.name) if base != live else None
    content = formats.parse(opened, body, form)
    update, hunks, conflicts = _apply(opened, content, happened)
    return Rebased(update, hunks, opened.name, conflicts)


def apply(opened: Opened, content: Sequence[Node]) -> Written:
    """Make the opened root hold `content`, in normal form. `opened` is stale afterwards."""
    update, hunks, _ = _apply(opened, content, None)
    return Written(update, hunks, opened.name)


def _apply(
    opened: Opened, content: Sequence[Node], happened: Changes | None
) -> tuple[bytes, list[Hunk], list[Conflict]]:
    with recorded(opened.doc) as updates:
        hunks, conflicts = change(opened, content, happened)
    return updates[0] if updates else b"", hunks, conflicts


def _open(update: bytes, body: bytes, form: str, root: str | None, kind: Kind | None = None) -> Opened:
    """With a body that says so, a root that holds nothing yet becomes a text."""
    return open_document(update, root, kind or formats.kind_of(body, form))


def _checked(update: bytes, body: bytes) -> bytes:
    """A body of Yjs's own is applied as it came, byte for byte, once it is known that it can be."""
    parse(body)
    doc = pycrdt.Doc[Any]()
    try:
        doc.apply_update(update)
        before = doc.get_update()
        doc.apply_update(body)
    except (ValueError, RuntimeError):
        return body  # what yrs can't read (an XmlHook), Yjs may: that its layout is valid is what counts
    return b"" if parse(body).structs == {} and doc.get_update() == before else body
