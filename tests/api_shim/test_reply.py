"""Answers as they are sent."""

from typing import Any

import pytest

from api_shim.models import Model
from api_shim.paging import Page
from api_shim.reply import Reply
from api_shim.route import Answer, Call, Route


class Thing(Model):
    a: int


async def nothing(call: Call) -> None: ...


def reply(value: object, **changes: Any) -> Reply:
    return Reply.of(Route(**{"method": "GET", "path": "/", "handler": nothing, "summary": ""} | changes), value)


@pytest.mark.parametrize(
    ("value", "status", "body"),
    [
        (Thing(a=1), 200, b'{"a":1}'), (None, 204, b""),
        (Page(data=[Thing(a=1)]), 200, b'{"data":[{"a":1}],"next_cursor":null}'),
        (Answer(Thing(a=1), status=201), 201, b'{"a":1}'), (Answer(b"x", media_type="text/plain"), 200, b"x"),
        ([Thing(a=1)], 200, b'[{"a":1}]'), ({"a": None}, 200, b'{"a":null}'), ("text", 200, b"text"),
    ],
)  # fmt: skip
def test_values_are_encoded(value: object, status: int, body: bytes) -> None:
    """Models, pages, bytes, text, anything that JSON has; nothing is 204."""
    found = reply(value)
    assert (found.status, found.body) == (status, body)
    assert ("Content-Type" in found.headers) == bool(body)


def test_version_known_is_not_sent() -> None:
    """304 keeps the tag and drops the body; other statuses are sent whole."""
    found = reply(Answer(Thing(a=1), etag="3"))
    assert (found.unless_known('W/"3"').status, found.unless_known('W/"3"').body) == (304, b"")
    assert found.unless_known('"4"') is found
    assert found.unless_known(None) is found
    made = reply(Answer(Thing(a=1), etag="3", status=201))
    assert made.unless_known("*") is made


def test_stored_is_sent_again_the_same() -> None:
    """With bytes of any kind."""
    found = Reply(201, {"Location": "/x"}, b"\n\x00\xff\n")
    assert Reply.unpack(found.pack()) == found
