"""Lists in pages: by keyset, never by offset, so that what is added or removed meanwhile shifts nothing.

class DocumentsQuery(PageQuery):
    sort: Literal["created", "-created", "title", "-title"] = "-created"
    kind: str | None = Field(default=None, alias="filter[kind]")

async def documents(call: Call) -> Page[Document]:
    keys = call.page.keyset({"created": "d.created", "title": "d.title"}, id="d.id", parameter=2)
    rows = await database.fetch(
        f"SELECT d.*, {keys.select} FROM documents.document d"
        f" WHERE d.workspace = $1 AND {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
        workspace, *keys.arguments,
    )
    return keys.page(rows, document_of)
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from pydantic import Field

from api_shim.models import Model, Query
from api_shim.problems import BadCursor

__all__ = ["Keyset", "Page", "PageQuery", "Paging"]

T = TypeVar("T")
MOST = 200
USUAL = 50
_CHECK = 12
_LONGEST = 4096


class PageQuery(Query):
    """What every list takes. A list that can be sorted adds `sort: Literal["name", "-name"] = ...`."""

    limit: int = Field(default=USUAL, ge=1, le=MOST, description="How many at most.")
    cursor: str | None = Field(default=None, max_length=_LONGEST, description="`next_cursor` of the page before.")


class Page(Model, Generic[T]):
    """A part of a list, and where the next one begins; without `next_cursor` it is the last."""

    data: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list a request asks for.

    sort: the query's `sort`, or empty.
    secret, scope: a cursor is good for the list, sort and filters that it came with; nobody can make one up.
    """

    limit: int = USUAL
    cursor: str | None = None
    sort: str = ""
    secret: bytes = field(default=b"", repr=False)
    scope: str = ""

    @property
    def after(self) -> tuple[Any, ...] | None:
        """The values that the page before ended with; raises BadCursor (400)."""
        return None if self.cursor is None else self._open(self.cursor)

    def next(self, *values: Any) -> str:
        """A cursor for whatever comes after `values` (text, numbers, UUIDs, times, None)."""
        body = orjson.dumps([_pack(value) for value in values])
        return base64.urlsafe_b64encode(self._check(body) + body).rstrip(b"=").decode()

    def keyset(self, columns: Mapping[str, str], *, id: str, parameter: int = 1, sort: str = "") -> "Keyset":
        """The SQL of this page.

        columns: SQL expressions by the names that `sort` uses; none may be NULL (wrap those that are in coalesce).
        id: the expression that tells equal ones apart.  parameter: number of the first free `$n`.
        sort: order to use for a query without one; `-` before the name turns it round.
        """
        name = self.sort or sort
        descending = name.startswith("-")
        key = columns[name.removeprefix("-")] if name else id
        after = self.after
        if after is not None and len(after) != 2:
            raise BadCursor
        direction = "DESC" if descending else "ASC"
        where = "true"
        if after is not None:
            where = f"({key}, {id}) {'<' if descending else '>'} (${parameter}, ${parameter + 1})"
        order = f"{key} {direction}, {id} {direction}"
        return Keyset(self, where, order, f"{key} AS cursor_key, {id} AS cursor_id", list(after or ()), self.limit + 1)

    def _check(self, body: bytes) -> bytes:
        return hmac.digest(self.secret, b"cursor\0" + self.scope.encode() + b"\0" + body, "sha256")[:_CHECK]

    def _open(self, cursor: str) -> tuple[Any, ...]:
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise BadCursor from None
        if not hmac.compare_digest(raw[:_CHECK], self._check(raw[_CHECK:])):
            raise BadCursor
        return tuple(_unpack(value) for value in orjson.loads(raw[_CHECK:]))


@dataclass(frozen=True, slots=True)
class Keyset:
    """Pieces of a SELECT, and the page that its rows make. `limit` is one more than asked for: is there a next?"""

    paging: Paging
    where: str
    order: str
    select: str
    arguments: list[Any]
    limit: int

    def page(self, rows: Sequence[Mapping[str, Any]], make: Callable[[Any], T]) -> Page[T]:
        """The page of the rows found; each has the columns of `select`."""
        shown = rows[: self.paging.limit]
        more = len(rows) > len(shown)
        cursor = self.paging.next(shown[-1]["cursor_key"], shown[-1]["cursor_id"]) if more else None
        return Page[T](data=[make(row) for row in shown], next_cursor=cursor)


def scope_of(path: str, pairs: Sequence[tuple[str, str]]) -> str:
    """What a cursor is bound to: the list's path and every parameter but the page's own."""
    kept = sorted(pair for pair in pairs if pair[0] not in ("limit", "cursor"))
    return hashlib.sha256(orjson.dumps([path, kept])).hexdigest()


def _pack(value: Any) -> Any:
    match value:
        case UUID():
            return {"u": str(value)}
        case datetime():
            return {"t": value.isoformat()}
        case Decimal():
            return {"d": str(value)}
        case _:
            return value


def _unpack(value: Any) -> Any:
    match value:
        case {"u": text}:
            return UUID(text)
        case {"t": text}:
            return datetime.fromisoformat(text)
        case {"d": text}:
            return Decimal(text)
        case _:
            return value
