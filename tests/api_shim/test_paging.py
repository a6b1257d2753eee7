"""Pages by keyset."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import sample_api
from hypothesis import given
from hypothesis import strategies as st

from api_shim.ids import uuid7
from api_shim.paging import Paging
from api_shim.problems import BadCursor

NOW = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
async def pool(postgres: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await sample_api.prepare(postgres)
    yield pool
    await pool.close()


def paging(**changes: Any) -> Paging:
    return Paging(**{"limit": 2, "secret": b"s", "scope": "list"} | changes)


@pytest.mark.parametrize("value", ["text", 1, 1.5, None, True, NOW, uuid7(), Decimal("1.10")])
def test_cursor_brings_values_back(value: object) -> None:
    """Of every type that a column sorts by."""
    cursor = paging().next(value, "id")
    found = paging(cursor=cursor).after
    assert found == (value, "id")
    assert type(found[0]) is type(value)


def test_cursor_is_of_one_list() -> None:
    """Another list, sort or secret: 400."""
    cursor = paging().next("a", "b")
    for changes in ({"scope": "other"}, {"secret": b"t"}):
        with pytest.raises(BadCursor):
            _ = paging(cursor=cursor, **changes).after


def test_changed_cursor_is_refused() -> None:
    """Whatever character of it is changed."""
    cursor = paging().next("a", uuid7())
    for n in range(len(cursor) - 1):
        changed = cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :]
        with pytest.raises(BadCursor):
            _ = paging(cursor=changed).after


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_made_up_cursor_is_refused(cursor: str) -> None:
    """Never anything but 400."""
    with pytest.raises(BadCursor):
        _ = paging(cursor=cursor).after


@pytest.mark.parametrize("sort", ["title", "-title", "id", "-id"])
async def test_pages_cover_a_list_that_changes(pool: asyncpg.Pool, sort: str) -> None:
    """Equal keys and rows added behind or removed meanwhile: each that stays is seen once, in order."""
    await pool.execute("TRUNCATE thing")
    rows = [(uuid7(), f"t{n % 3}") for n in range(11)]
    await pool.executemany("INSERT INTO thing VALUES ($1, $2)", rows)
    seen: list[tuple[str, UUID]] = []
    cursor = None
    for step in range(20):
        keys = paging(limit=3, cursor=cursor, sort=sort).keyset({"title": "title", "id": "id"}, id="id")
        found = await pool.fetch(
            f"SELECT *, {keys.select} FROM thing WHERE {keys.where} ORDER BY {keys.order} LIMIT {keys.limit}",
            *keys.arguments,
        )
        page = keys.page(found, lambda row: (row["title"], UUID(int=row["id"].int)))
        assert len(page.data) <= 3
        seen += page.data
        if step == 0:
            await pool.execute("DELETE FROM thing WHERE id = $1", seen[-1][1])
        cursor = page.next_cursor
        if cursor is None:
            break
    expected = [(title, id) for id, title in rows]
    order = sorted(expected, key=lambda one: (one[0] if "title" in sort else one[1], one[1]))
    assert seen == (order[::-1] if sort.startswith("-") else order)
