"""What is in documents, read and written while people have them open.

A write is an update that the room takes as it takes a keystroke: nothing that people type meanwhile is overwritten. A
body that was made from an older content is compared with that, and only what its author changed is done.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import orjson

from api_shim.media import essence
from api_shim.problems import FieldError, Gone, Invalid, PreconditionRequired
from api_shim.route import Answer, Call
from api_shim.services import Role, may
from plugins.documents import states
from plugins.documents.bases import Bases
from plugins.documents.bodies import form_of, receive, tags_of, wanted
from plugins.documents.content import MEDIA_TYPES
from plugins.documents.library import WRITE, Library
from plugins.documents.models import ConflictOut, ContentWritten, HunkOut, NewContent
from plugins.documents.problems import BaseUnknown, InTrash, ReadOnly, content_problems
from relay.errors import Malformed
from relay.grants import Principal
from relay.types import Position, RoomId
from relay.yjs.update import EMPTY
from relay.yjs.vector import decode_vector

__all__ = ["Contents"]

Work = Callable[[bytes, bytes | None, frozenset[str] | None], Awaitable[states.Change | None]]


class Contents:
    """What the routes do."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._bases = Bases(library)
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @property
    def bases(self) -> Bases:
        return self._bases

    # -- read --

    async def read(self, call: Call) -> Answer:
        """The content. `ETag` names what is in the document, deleted things too; send it as `If-Match` with `PUT`.
        `Position` is where its history has come to; `at` takes one, and shows the content as it was then."""
        library, query = self._library, call.query
        id: UUID = call.path["document"]
        form = query.format or wanted(call.request.headers.get("Accept"))
        _, role = await library.document(call.who, id, "read")
        keep = _writes(call.who, role) and query.at is None
        with content_problems():
            if query.at is None:
                state = await library.rooms.state(RoomId(str(id)))
            else:
                try:
                    state = await library.rooms.past(RoomId(str(id)), _position(query.at))
                except LookupError as error:
                    raise Gone(f"{str(error).capitalize()}.") from None
            shown = await library.context.work(states.show, state.update, form, query.root, keep)
        if keep:
            await self._bases.keep(id, shown.tag, shown.packed)
        headers = {"Vary": "Accept", "Position": str(state.position or "")}
        return Answer(shown.body, etag=f"{shown.tag}.{form}", media_type=MEDIA_TYPES[form], headers=headers)

    async def updates(self, call: Call) -> Answer:
        """One Yjs v1 update with everything, or what `since` lacks of it."""
        library, since = self._library, call.query.since
        id: UUID = call.path["document"]
        await library.document(call.who, id, "read")
        with content_problems():
            update = (await library.rooms.state(RoomId(str(id)))).update
        if since is not None:
            vector = _vector(since)
            with content_problems():
                update = await library.context.work(states.lacking, update, vector)
        return Answer(update, media_type=MEDIA_TYPES["yjs"])

    async def begin(self, content: NewContent | None) -> bytes:
        """The update that a document with this content begins with. Raises Invalid."""
        if content is None:
            return b""
        value = content.value
        if content.format == "yjs":
            body = _base64(str(value), FieldError(pointer="/content/value", code="base64", detail="Is no base64."))
        else:
            body = value.encode() if isinstance(value, str) else orjson.dumps(value)
        library = self._library
        with content_problems(theirs=content.format == "yjs"):
            if content.format == "yjs":
                await library.rooms.check(body)
                return body if body != EMPTY else b""
            return await library.context.work(states.begin, body, content.format)

    async def copy(self, id: UUID) -> bytes:
        """Everything in a document, for another to begin with."""
        with content_problems():
            update = (await self._library.rooms.state(RoomId(str(id)))).update
        return update if update != EMPTY else b""

    # -- write --

    async def put(self, call: Call) -> Answer:
        """Make the content what the body says. `If-Match` names the version that the body was made from; when others
        have changed the content since, only what the body's author changed is done, and nothing of theirs is lost.
        `*` replaces whatever is there."""
        id: UUID = call.path["document"]
        row, _ = await self._library.document(call.who, id, "write")
        _writable(row)
        if_match = call.request.headers.get("If-Match")
        if if_match is None:
            raise PreconditionRequired
        form = form_of(essence(call.request.headers.get("Content-Type")))
        body = await receive(call.request, self._library.settings.max_content)
        work = self._library.context.work
        root = call.query.root
        if form == "yjs":
            with content_problems(theirs=True):
                await self._library.rooms.check(body)

        async def done(live: bytes, base: bytes | None, tags: frozenset[str] | None) -> states.Change | None:
            return await work(states.put, live, base, tags, body, form, root)

        return await self._write(call, id, tags_of(if_match), done, form)

    async def patch(self, call: Call) -> Answer:
        """Change parts of the content. With `If-Match`, places in the operations are those of that version, and what
        others did since stays; without, those of the content as it is."""
        id: UUID = call.path["document"]
        row, _ = await self._library.document(call.who, id, "write")
        _writable(row)
        if_match = call.request.headers.get("If-Match")
        work = self._library.context.work
        operations, root = call.body.operations, call.query.root

        async def done(live: bytes, base: bytes | None, tags: frozenset[str] | None) -> states.Change | None:
            return await work(states.patched, live, base, tags, operations, root)

        tags = None if if_match is None else tags_of(if_match)
        return await self._write(call, id, tags, done, "json", dry=call.query.dry_run)

    async def add(self, call: Call) -> None:
        """Put a Yjs v1 update into the document, as an editor would. Sent twice, it is there once."""
        library = self._library
        id: UUID = call.path["document"]
        row, _ = await library.document(call.who, id, "write")
        _writable(row)
        update = await receive(call.request, library.settings.max_content)
        with content_problems(theirs=True):
            await library.rooms.check(update)
            if update != EMPTY:
                await library.rooms.edit(RoomId(str(id)), update, call.who.actor)

    async def _write(
        self, call: Call, id: UUID, tags: frozenset[str] | None, work: Work, form: str, *, dry: bool = False
    ) -> Answer:
        library = self._library
        room = RoomId(str(id))
        async with self._alone(id):
            base = None if not tags else await self._bases.find(id, tags)
            with content_problems():
                live = (await library.rooms.state(room)).update
                change = await work(live, base, tags)
                if change is None:
                    raise BaseUnknown("Read the content again, and apply your change to what you find.")
                if change.update and not dry:
                    await library.rooms.edit(room, change.update, call.who.actor)
        if not dry:
            await self._bases.keep(id, change.tag, change.packed)
        etag = f'"{change.tag}.{form}"'
        written = ContentWritten.model_construct(
            etag=etag,
            changed=bool(change.update),
            rebased=change.rebased,
            applied=not dry,
            hunks=[
                HunkOut.model_construct(
                    kind=one.kind,
                    path=list(one.path),
                    offset=one.offset,
                    type=one.type,
                    before=one.before,
                    after=one.after,
                )
                for one in change.hunks
            ],
            conflicts=[
                ConflictOut.model_construct(kind=one.kind, path=list(one.path), text=one.text)
                for one in change.conflicts
            ],
        )
        return Answer(written, etag="" if dry else etag)

    @asynccontextmanager
    async def _alone(self, id: UUID) -> Any:
        """One write to a document after the other, so that the second knows what the first did."""
        lock = self._locks.get(id)
        if lock is None:
            lock = self._locks[id] = asyncio.Lock()
        async with lock:
            yield


def _writes(principal: Principal, role: Role) -> bool:
    return may(role, "write") and (principal.scopes is None or WRITE in principal.scopes)


def _writable(row: Any) -> None:
    if row["trashed"] is not None:
        raise InTrash
    if row["archived"] is not None or row["locked"]:
        raise ReadOnly


def _position(text: str) -> Position:
    try:
        return Position.parse(text)
    except ValueError:
        raise Invalid(errors=[FieldError(parameter="at", code="position", detail="Is no position.")]) from None


def _vector(text: str) -> bytes:
    wrong = FieldError(parameter="since", code="state_vector", detail="Is no state vector of Yjs in base64.")
    vector = _base64(text, wrong)
    try:
        decode_vector(vector)
    except Malformed:
        raise Invalid(errors=[wrong]) from None
    return vector


def _base64(text: str, wrong: FieldError) -> bytes:
    """Either alphabet, padded or not; a `+` that came as a space too."""
    plain = text.replace("-", "+").replace("_", "/").replace(" ", "+").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(errors=[wrong]) from None
