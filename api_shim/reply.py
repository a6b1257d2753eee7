"""An answer in the form that it is sent, and stored for a replay: status, headers, bytes."""

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic_core import to_json

from api_shim.etags import matches, quote
from api_shim.models import dump
from api_shim.problems import MEDIA_TYPE, Problem
from api_shim.route import JSON, Answer, Route

__all__ = ["Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, route: Route, value: object) -> "Reply":
        """What a handler returned, as the route says it is sent."""
        answer = value if isinstance(value, Answer) else Answer(value)
        status = answer.status or (204 if answer.value is None and route.status == 200 else route.status)
        headers = dict(answer.headers)
        if answer.etag:
            headers["ETag"] = quote(answer.etag)
        body = b""
        if answer.value is not None:
            body = _encode(answer.value)
            headers["Content-Type"] = answer.media_type or (route.produces[0] if route.produces else JSON)
        return cls(status, headers, body)

    @classmethod
    def of_problem(cls, problem: Problem, base: str, trace_id: str) -> "Reply":
        """A problem, as RFC 9457 has it."""
        return cls(problem.status, problem.headers | {"Content-Type": MEDIA_TYPE}, problem.body(base, trace_id))

    def unless_known(self, if_none_match: str | None) -> "Reply":
        """304 without the body, if the client says that it has this version already."""
        tag = self.headers.get("ETag")
        if if_none_match is None or tag is None or self.status != 200:
            return self
        if not matches(if_none_match, tag, weak=True):
            return self
        return Reply(304, {name: value for name, value in self.headers.items() if name != "Content-Type"}, b"")

    def response(self) -> web.Response:
        """For aiohttp."""
        return web.Response(status=self.status, headers=self.headers, body=self.body or None)

    def pack(self) -> bytes:
        """For storing."""
        return orjson.dumps([self.status, self.headers]) + b"\n" + self.body

    @classmethod
    def unpack(cls, packed: bytes) -> "Reply":
        """The inverse of `pack`."""
        head, _, body = packed.partition(b"\n")
        status, headers = orjson.loads(head)
        return cls(status, headers, body)


def _encode(value: Any) -> bytes:
    if isinstance(value, BaseModel):
        return dump(value)
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return to_json(value)
