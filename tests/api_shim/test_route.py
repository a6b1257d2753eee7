"""What may be declared."""

from typing import Any

import pytest

from api_shim.models import Model
from api_shim.problems import Unauthorized
from api_shim.route import Call, Route


async def nothing(call: Call) -> None: ...


class Body(Model):
    x: int


def route(**changes: Any) -> Route:
    return Route(**{"method": "GET", "path": "/v1/x", "handler": nothing, "summary": "x"} | changes)


def test_path_is_written_for_everybody() -> None:
    """For people and OpenAPI, and for the router."""
    one = route(path="/v1/documents/{document:uuid}/files/{name}:move", method="POST")
    assert one.template == "/v1/documents/{document}/files/{name}:move"
    assert one.pattern == "/v1/documents/{document:[^/:]+}/files/{name:[^/]+}:move"
    assert [(each.name, each.kind) for each in one.parameters] == [("document", "uuid"), ("name", "str")]


@pytest.mark.parametrize(
    "changes",
    [{"method": "get"}, {"method": "HEAD"}, {"path": "v1"}, {"path": "/{x:int}"}, {"path": "/{X}"}, {"path": "/{x"},
     {"body": Body}, {"status": 99}],
)  # fmt: skip
def test_mistakes_are_told_at_once(changes: dict[str, Any]) -> None:
    """Not when the first request comes."""
    with pytest.raises(ValueError):
        route(**changes)


def test_who_is_somebody() -> None:
    """A public route that needs somebody after all."""
    with pytest.raises(Unauthorized):
        _ = Call(None, route(), None, "", "").who  # type: ignore[arg-type]
