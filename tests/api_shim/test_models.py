"""Bodies and queries: strict, and every mistake located."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from api_shim.models import Model, Query, dump, read_body, read_query
from api_shim.problems import BadJson, Invalid, Problem


class Part(Model):
    name: str
    count: int = 0


class Body(Model):
    title: str
    part: Part | list[Part] | None = None
    id: UUID | None = None
    extra: dict[str, Any] = Field(default={})


class Filter(Query):
    limit: int = Field(default=5, ge=1)
    kind: list[str] = Field(default=[], alias="filter[kind]")
    flag: bool | None = None


def wrong(raw: bytes) -> dict[str | None, Any]:
    with pytest.raises(Invalid) as caught:
        read_body(Body, raw)
    return {error.pointer: error for error in caught.value.errors}


def test_every_mistake_is_told_and_located() -> None:
    """All of them at once, as JSON pointers; a misspelt name with the one that was meant."""
    found = wrong(b'{"titel": 1, "part": [{"name": "a"}, {"name": 5, "coun": 1}], "id": "x"}')
    assert set(found) >= {"/title", "/titel", "/part/1/name", "/part/1/coun", "/id"}
    assert found["/title"].code == "missing"
    assert found["/titel"].did_you_mean == "title"
    assert found["/part/1/coun"].did_you_mean == "count"


def test_types_are_strict() -> None:
    """Text is no number; JSON's own forms of UUIDs are read."""
    assert "/title" in wrong(b'{"title": 1}')
    assert "/part/count" in wrong(b'{"title": "", "part": {"name": "", "count": "1"}}')
    id = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert read_body(Body, json.dumps({"title": "t", "id": id}).encode()).id == UUID(id)


def test_pointer_is_escaped() -> None:
    """Names with ~ and / (RFC 6901)."""
    assert "/a~1b~0" in wrong(b'{"title": "", "a/b~": 1}')


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"", {"line": 1, "column": 1}),
        (b"[1,\n ]", {"line": 2, "column": 2}),
        (b'{"title": "a"} x', {"line": 1, "column": 16}),
        (b'{"title": "\xff"}', {"byte": 11}),
        (b'{"title": "\\ud800"}', {"line": 1}),
        (b'{"title": "a", "title": "b"}', {}),
        (b'{"title": "a", "extra": {"x": 1, "x": 1}}', {}),
        (b'{"title": NaN}', {}),
        (b'{"title": Infinity}', {}),
        (b"[" * 100_000, {}),
        (b'{"title": "", "extra": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}", {}),
        (b'{"title": 1' + b"0" * 10_000 + b"}", {}),
        (b'\xef\xbb\xbf{"title": "a"}', {}),
    ],
)
def test_what_is_not_json_is_refused(raw: bytes, where: dict[str, int]) -> None:
    """400, with where it went wrong."""
    with pytest.raises(BadJson) as caught:
        read_body(Body, raw)
    assert where.items() <= caught.value.more.items()
    assert caught.value.detail


def test_nul_is_refused_where_it_is() -> None:
    """PostgreSQL's text has no NUL; an escaped backslash before u0000 is none."""
    assert wrong(b'{"title": "a\\u0000"}')["/title"].code == "nul"
    assert "/extra/a/0" in wrong(b'{"title": "", "extra": {"a": ["\\u0000"]}}')
    assert "/extra" in wrong(b'{"title": "", "extra": {"\\u0000": 1}}')
    assert read_body(Body, b'{"title": "\\\\u0000"}').title == "\\u0000"


def test_number_of_mistakes_is_bounded() -> None:
    """An answer is never much larger than a page."""
    raw = json.dumps({f"x{n}": 1 for n in range(10_000)}).encode()
    assert len(wrong(raw)) <= 100


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.text() | st.integers() | st.floats(), lambda inner:
       st.lists(inner) | st.dictionaries(st.sampled_from(["title", "part", "name", "x"]), inner)).map(
       lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_read_or_a_problem(raw: bytes) -> None:
    """Nothing else is ever raised, and what is read is written back the same."""
    try:
        body = read_body(Body, raw)
    except Problem as caught:
        problem = caught
    else:
        assert read_body(Body, dump(body)) == body
        return
    assert json.loads(problem.body("", "t"))["status"] in (400, 422)


def test_query_is_read_leniently_and_checked() -> None:
    """Numbers and booleans from text; lists by repeating."""
    query = read_query(Filter, [("limit", "3"), ("filter[kind]", "a"), ("filter[kind]", "b"), ("flag", "true")])
    assert (query.limit, query.kind, query.flag) == (3, ["a", "b"], True)


def test_query_mistakes_are_all_told() -> None:
    """Unknown, repeated, wrong and NUL parameters, each by name."""
    pairs = [("limit", "0"), ("flag", "true"), ("flag", "false"), ("limt", "1"), ("filter[kind]", "\0")]
    with pytest.raises(Invalid) as caught:
        read_query(Filter, pairs)
    found = {error.parameter: error for error in caught.value.errors}
    assert found["limit"].code == "greater_than_equal"
    assert found["flag"].code == "repeated"
    assert found["filter[kind]"].code == "nul"
    assert found["limt"].did_you_mean == "limit"
