"""What a plugin says of one operation, what its handler is given, and what it answers with."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from api_shim.etags import require_match
from api_shim.paging import Paging
from api_shim.problems import Problem, TooLarge, Unauthorized
from relay.grants import Principal

__all__ = ["JSON", "Answer", "Call", "Handler", "Parameter", "Route"]

JSON = "application/json"
Handler = Callable[["Call"], Awaitable[object]]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)(?::([a-z]+))?\}")
_PATTERNS = {"uuid": "[^/:]+", "str": "[^/]+", "path": ".+"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{name:kind}` of a path; kinds: uuid, str (no slash; the default), path (slashes too)."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. The handler's docstring is its description.

    path: `/v1/documents/{document:uuid}:move`. An id that is no UUID is answered 404, like one that is not there.
    body: a JSON body, needed unless every field of it has a default; None takes no body.
    query: parameters; one with `limit` and `cursor` is a list (see `paging.PageQuery`).
    answer: a model, `Page[Model]`, another type that pydantic knows, or None for an empty answer (then 204).
    public: served without a principal too; `call.principal` is then None.
    scope: what a narrowed token must hold.
    problems: what it may answer beyond `problems.everywhere`.
    raw: the handler reads the body itself, by `call.chunks()`; `consumes` still holds. No Idempotency-Key.
    max_body: bytes.  timeout: seconds, 0 for a stream without end.  cost: tokens of the rate limit.
    tag: the group it is shown in; empty takes the path's first noun.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: Any = None
    status: int = 200
    public: bool = False
    scope: str = ""
    problems: tuple[type[Problem], ...] = ()
    raw: bool = False
    consumes: tuple[str, ...] = (JSON,)
    produces: tuple[str, ...] = (JSON,)
    max_body: int = 1 << 20
    timeout: float = 30.0
    cost: int = 1
    tag: str = ""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"{self.method} {self.path}: the method must be one of {', '.join(METHODS)}")
        HTTPStatus(self.status)
        unknown = [one.kind for one in self.parameters if one.kind not in _PATTERNS]
        if not self.path.startswith("/") or unknown or set("{}") & set(_PARAMETER.sub("", self.path)):
            raise ValueError(f"{self.method} {self.path}: write paths as /v1/things/{{thing:uuid}}, {{name}} is text")
        if self.method == "GET" and self.body is not None:
            raise ValueError(f"{self.method} {self.path}: GET has no body")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The path's parameters in order."""
        return tuple(Parameter(found[1], found[2] or "str") for found in _PARAMETER.finditer(self.path))

    @property
    def template(self) -> str:
        """The path without kinds: `/v1/documents/{document}:move`; OpenAPI and metrics name routes so."""
        return _PARAMETER.sub(r"{\1}", self.path)

    @property
    def pattern(self) -> str:
        """The path as aiohttp's router writes it."""
        return _PARAMETER.sub(lambda found: f"{{{found[1]}:{_PATTERNS[found[2] or 'str']}}}", self.path)


@dataclass(frozen=True, slots=True)
class Answer:
    """A handler's answer with more to it than a value.

    value: a model, or bytes or text with a `media_type` of their own; None is an empty body.
    status: None takes the route's.
    etag: the version sent, quoted or not; a GET whose `If-None-Match` names it is answered 304.
    """

    value: object = None
    status: int | None = None
    etag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = ""


@dataclass(slots=True)
class Call:
    """One request, read and checked."""

    request: web.Request
    route: Route
    principal: Principal | None
    address: str
    trace_id: str
    path: dict[str, Any] = field(default_factory=dict)
    query: Any = None
    body: Any = None
    page: Paging = field(default_factory=Paging)

    @property
    def who(self) -> Principal:
        """The principal; raises Unauthorized (401) where a public route needs one after all."""
        if self.principal is None:
            raise Unauthorized
        return self.principal

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of a raw route as it comes, of whatever length; raises TooLarge (413) past `max_body`."""
        size = 0
        while chunk := await self.request.content.readany():
            size += len(chunk)
            if size > self.route.max_body:
                raise TooLarge(limit=self.route.max_body)
            yield chunk

    def require_match(self, etag: str) -> None:
        """Go on only if the caller has seen version `etag`; raises 428 without If-Match, 412 on another version."""
        require_match(self.request.headers.get("If-Match"), etag)
