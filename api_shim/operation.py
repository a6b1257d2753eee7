"""One operation: from a request to the handler's call, and from what it returns to the answer.

In order: who asks, rate limit, scope, what they accept, path, query, body, idempotency; then the handler.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import hdrs, web

from api_shim.idempotency import Idempotency
from api_shim.ids import read_uuid
from api_shim.limits import Limits, Taken
from api_shim.media import accepts, reads
from api_shim.models import read_body, read_query
from api_shim.paging import Page, PageQuery, Paging, scope_of
from api_shim.problems import (
    BadRequest,
    FieldError,
    Forbidden,
    Invalid,
    MediaType,
    NotAcceptable,
    NotFound,
    Problem,
    ScopeMissing,
    TimedOut,
    TooLarge,
    TooMany,
    TooSlow,
    TryLater,
    Unauthorized,
    UnexpectedBody,
)  # fmt: skip
from api_shim.reply import Reply
from api_shim.route import Call, Route
from api_shim.trace import Trace
from relay.closing import INTERNAL, OVERLOADED, UNAUTHORIZED
from relay.errors import Deny
from relay.grants import Principal
from relay.hooks import ConnectAsked

__all__ = ["EXCHANGE", "Exchange", "Identify", "Operation", "Shared", "expect"]

Identify = Callable[[ConnectAsked], Awaitable[Principal]]
"""Who holds this token (empty: nobody gave one); raises Deny."""

SMALL = 1024
"""Bytes of a body that nobody asked for that are read, to see whether it says anything."""


@dataclass(slots=True)
class Exchange:
    """One request on its way: what its log line, its figures and its answer's headers need to know."""

    trace: Trace
    address: str
    route: str = ""
    ids: dict[str, object] | None = None
    principal: Principal | None = None
    taken: Taken | None = None
    problem: str = ""
    reading: bool = False


EXCHANGE: web.RequestKey[Exchange] = web.RequestKey("exchange", Exchange)
"""Where a request keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all operations use. `base`: the public address, without a slash at the end."""

    identify: Identify
    limits: Limits
    idempotency: Idempotency
    secret: bytes
    base: str


class Operation:
    """Serves one route."""

    def __init__(self, route: Route, shared: Shared) -> None:
        self._route = route
        self._shared = shared
        self._template = route.template
        self._parameters = route.parameters
        self._paged = route.query is not None and issubclass(route.query, PageQuery)
        self._needs_body = route.body is not None and any(
            field.is_required() for field in route.body.model_fields.values()
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """What aiohttp calls; raises Problem."""
        exchange = request[EXCHANGE]
        exchange.route = self._template
        try:
            async with asyncio.timeout(self._route.timeout or None) as deadline:
                return await self._serve(request, exchange)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise (TooSlow if exchange.reading else TimedOut)() from None

    async def _serve(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        route = self._route
        principal = exchange.principal = await self._who(request, exchange)
        await self._take(exchange, route.cost)
        scopes = None if principal is None else principal.scopes
        if route.scope and scopes is not None and route.scope not in scopes:
            raise ScopeMissing(f"This needs the scope {route.scope}.", needs=route.scope)
        if not accepts(request.headers.get("Accept"), route.produces):
            raise NotAcceptable(available=list(route.produces))
        call = Call(request, route, principal, exchange.address, exchange.trace.trace)
        if self._parameters:
            call.path = exchange.ids = self._path(request)
        pairs = list(request.query.items())
        if route.query is not None:
            call.query = read_query(route.query, pairs)
            if self._paged:
                scope = scope_of(request.path, pairs)
                call.page = Paging(
                    call.query.limit, call.query.cursor, getattr(call.query, "sort", ""), self._shared.secret, scope
                )
        elif pairs:
            raise Invalid(errors=[
                FieldError(parameter=name, code="extra_forbidden", detail="There is no such parameter.")
                for name, _ in pairs
            ])  # fmt: skip
        raw = b""
        if route.raw:
            bodied = route.method in ("POST", "PUT", "PATCH")
            if bodied and not reads(request.headers.get("Content-Type"), route.consumes):
                raise MediaType(available=list(route.consumes))
            if (length := request.content_length) is not None and length > route.max_body:
                raise TooLarge(limit=route.max_body)
            await _go_on(request)
        else:
            raw = await self._body(request, exchange)
            if route.body is not None:
                call.body = read_body(route.body, raw or b"{}")
        if route.method == "POST" and not route.raw and (key := request.headers.get("Idempotency-Key")) is not None:
            reply = await self._once(key, call, raw)
        else:
            value = await route.handler(call)
            if isinstance(value, web.StreamResponse):
                return value
            reply = self._reply(call, value)
        if route.method == "GET":
            reply = reply.unless_known(request.headers.get("If-None-Match"))
        return reply.response()

    async def _once(self, key: str, call: Call, raw: bytes) -> Reply:
        async def work() -> Reply:
            try:
                return self._reply(call, await call.route.handler(call))
            except Problem as problem:
                call.request[EXCHANGE].problem = problem.code
                return Reply.of_problem(problem, self._shared.base, call.trace_id)

        principal = call.principal
        owner = f"a:{principal.actor}" if principal is not None and principal.actor else f"i:{call.address}"
        return await self._shared.idempotency.once(
            key,
            owner=owner,
            operation=f"{call.request.method} {call.request.path_qs}",
            body=raw,
            timeout=call.route.timeout,
            work=work,
        )

    def _reply(self, call: Call, value: object) -> Reply:
        reply = Reply.of(call.route, value)
        if isinstance(value, Page) and value.next_cursor is not None:
            request = call.request
            query = [pair for pair in request.query.items() if pair[0] != "cursor"]
            link = f"{self._shared.base}{request.rel_url.raw_path}?{urlencode([*query, ('cursor', value.next_cursor)])}"
            reply.headers["Link"] = f'<{link}>; rel="next"'
        return reply

    async def _who(self, request: web.Request, exchange: Exchange) -> Principal | None:
        public = self._route.public
        header = request.headers.get("Authorization", "")
        scheme, _, token = header.partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        if public and not token:
            return None
        try:
            if header and not token:
                raise Deny("the header Authorization is read as `Bearer <token>`", UNAUTHORIZED.code)
            return await self._shared.identify(ConnectAsked(token, exchange.address, request.headers.get("Origin", "")))
        except Deny as deny:
            if deny.code in (OVERLOADED.code, INTERNAL.code):
                raise TryLater(_sentence(deny.reason)) from None
            if public:
                return None
            # Guessing tokens is counted against the address it comes from.
            await self._take(exchange, 1)
            if deny.code != UNAUTHORIZED.code:
                raise Forbidden(_sentence(deny.reason)) from None
            error = ', error="invalid_token"' if token else ""
            raise Unauthorized(
                _sentence(deny.reason), headers={"WWW-Authenticate": f'Bearer realm="materi"{error}'}
            ) from None

    async def _take(self, exchange: Exchange, cost: int) -> None:
        taken = exchange.taken = await self._shared.limits.take(exchange.principal, exchange.address, cost)
        if taken is not None and not taken.allowed:
            raise TooMany(retry_after=taken.wait)

    async def _body(self, request: web.Request, exchange: Exchange) -> bytes:
        route = self._route
        if not request.body_exists:
            if route.body is not None and self._needs_body:
                raise BadRequest("A body is needed, of type application/json.")
            return b""
        most = route.max_body if route.body is not None else SMALL
        length = request.content_length
        if length is not None and length > most:
            raise TooLarge(limit=most) if route.body is not None else UnexpectedBody()
        if route.body is not None and length != 0 and not reads(request.headers.get("Content-Type"), route.consumes):
            raise MediaType(available=list(route.consumes))
        await _go_on(request)
        exchange.reading = True
        chunks, size = [], 0
        while chunk := await request.content.readany():
            size += len(chunk)
            if size > most:
                raise TooLarge(limit=most) if route.body is not None else UnexpectedBody()
            chunks.append(chunk)
        exchange.reading = False
        raw = b"".join(chunks)
        if route.body is None and raw.strip() not in (b"", b"{}"):
            raise UnexpectedBody
        if not raw and self._needs_body:
            raise BadRequest("A body is needed, of type application/json.")
        return raw

    def _path(self, request: web.Request) -> dict[str, object]:
        found: dict[str, object] = {}
        for parameter in self._parameters:
            text = request.match_info[parameter.name]
            value = read_uuid(text) if parameter.kind == "uuid" else text
            if value is None:
                raise NotFound(f"There is no such {parameter.name}: its id is not a UUID.")
            if "\0" in text:
                raise NotFound(f"There is no such {parameter.name}.")
            found[parameter.name] = value
        return found


async def expect(request: web.Request) -> None:
    """`Expect: 100-continue` is answered when the body is wanted: a no comes before it was sent."""
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        raise web.HTTPExpectationFailed


async def _go_on(request: web.Request) -> None:
    if request.headers.get(hdrs.EXPECT):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _sentence(reason: str) -> str:
    reason = reason[:1].upper() + reason[1:]
    return reason if reason.endswith(".") else f"{reason}."
