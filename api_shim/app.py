"""Routes become an HTTP API: every convention, once, around the handlers of the plugins.

Around every request: trace, problems, log, figures, the headers that all answers have. `operation` is what is within.
"""

import logging
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import asyncpg
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import TimeoutError as RedisSlow

from api_shim import access_log
from api_shim.cors import Cors
from api_shim.idempotency import Idempotency
from api_shim.jobs import Jobs
from api_shim.limits import ANONYMOUS, KNOWN, Limit, Limits
from api_shim.metrics import ApiMetrics, Served
from api_shim.openapi import describe
from api_shim.operation import EXCHANGE, Exchange, Identify, Operation, Shared, expect
from api_shim.pages import add_pages
from api_shim.problems import BadRequest, Internal, MethodNotAllowed, NotFound, Problem, TryLater, known
from api_shim.reply import Reply
from api_shim.route import Route
from api_shim.sse import STREAMS, EventStream
from api_shim.trace import begin
from relay.errors import Unavailable
from relay.tasks import spawn

__all__ = ["Conventions", "Identify", "make_app"]

log = logging.getLogger("api")

AWAY = (
    Unavailable, OSError, RedisAway, RedisSlow, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError, asyncpg.InterfaceError, asyncpg.QueryCanceledError,
)  # fmt: skip
"""What handlers run into while PostgreSQL or Redis is away."""

PURGE_EVERY = 600.0
CLIENT_LEFT = 499
"""What the log calls the status of a request whose client went away before the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """What an operator chooses.

    public_url: how users reach the API, without a slash at the end; empty writes addresses relative.
    origins: of web pages elsewhere that may use it; `*` matches any text.  keep_keys: seconds of an Idempotency-Key.
    """

    title: str = "Materi Relay"
    version: str = "1"
    public_url: str = ""
    origins: tuple[str, ...] = ()
    limit: Limit = KNOWN
    anonymous_limit: Limit = ANONYMOUS
    keep_keys: float = 86400.0


def make_app(
    routes: Sequence[Route],
    *,
    identify: Identify,
    database: asyncpg.Pool,
    redis: Redis | None,
    secret: bytes,
    conventions: Conventions | None = None,
    metrics: ApiMetrics | None = None,
    jobs: Jobs | None = None,
    address: Callable[[web.Request], str] | None = None,
) -> web.Application:
    """An application that serves `routes`, `/v1/jobs`, `/openapi.json`, `/docs` and `/problems/`; see `runner.Runner`.

    redis: counts rate limits; None = no limits.
    secret: 32 bytes that every process shares; it signs cursors and seals kept answers.
    jobs: those that handlers start; the application closes them when it is cleaned up.
    address: whose request it is, where proxies stand in between; the peer's address without.
    """
    conventions = conventions or Conventions()
    metrics = metrics or ApiMetrics()
    base = conventions.public_url
    jobs = jobs or Jobs(database, metrics, base=base)
    idempotency = Idempotency(database, secret, metrics, keep=conventions.keep_keys)
    limits = Limits(redis, metrics, known=conventions.limit, anonymous=conventions.anonymous_limit)
    shared = Shared(identify=identify, limits=limits, idempotency=idempotency, secret=secret, base=base)
    around = _Around(metrics, Cors(conventions.origins), address or _peer, base)
    app = web.Application(middlewares=[around.serve])
    streams = app[STREAMS] = set[EventStream]()
    app.on_response_prepare.append(around.prepare)
    routes = [*routes, *jobs.routes()]
    _refuse_twins(routes)
    # aiohttp takes the first that matches: fixed paths before `/v1/x/{x}:verb` before `/v1/x/{x}`.
    for route in sorted(routes, key=lambda route: (route.template.count("{"), -len(route.template))):
        operation = Operation(route, shared)
        # A stream without end has no head that could be told without beginning it.
        for method in (route.method, "HEAD") if route.method == "GET" and route.timeout else (route.method,):
            app.router.add_route(method, route.pattern, operation.serve, expect_handler=expect)
    add_pages(app, describe(routes, conventions.title, conventions.version, base), routes)

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        purging = spawn("api purge", _purge(idempotency, jobs))
        yield
        purging.cancel()
        await jobs.close()

    async def end_streams(app: web.Application) -> None:
        for stream in list(streams):
            stream.end()

    app.cleanup_ctx.append(lifetime)
    app.on_shutdown.append(end_streams)
    return app


class _Around:
    """What every request has around it, the ones that no route has too."""

    def __init__(self, metrics: ApiMetrics, cors: Cors, address: Callable[[web.Request], str], base: str) -> None:
        self._metrics = metrics
        self._cors = cors
        self._address = address
        self._base = base
        self._security = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        }
        if base.startswith("https:"):
            self._security["Strict-Transport-Security"] = "max-age=31536000"

    @web.middleware
    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware."""
        started = time.perf_counter()
        trace = begin(request.headers.get("traceparent"), request.headers.get("X-Request-Id"))
        exchange = request[EXCHANGE] = Exchange(trace, self._address(request))
        self._metrics.in_flight += 1
        response: web.StreamResponse | None = None
        try:
            response = await self._answer(request, handler, exchange)
            return response
        finally:
            self._metrics.in_flight -= 1
            self._told(request, exchange, response, time.perf_counter() - started)

    async def _answer(self, request: web.Request, handler: Handler, exchange: Exchange) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            return self._problem(exchange, problem)
        except web.HTTPException as error:
            return self._http_exception(request, exchange, error)
        except web.RequestPayloadError:
            return self._problem(exchange, BadRequest("The body ends early, or is not encoded as its headers say."))
        except AWAY as error:
            log.warning("something is away", extra={"trace_id": exchange.trace.trace, "error": repr(error)})
            return self._problem(exchange, TryLater())
        except Exception as error:
            fields = {"trace_id": exchange.trace.trace, "route": exchange.route}
            log.error("request failed", extra=fields, exc_info=error)
            return self._problem(exchange, Internal())

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """The headers that all answers have, streams too."""
        headers = response.headers
        headers["Server"] = "materi"  # and not which versions of what
        for name, value in self._security.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")
        for name, value in self._cors.headers(request.headers.get("Origin")).items():
            headers[name] = value
        exchange = request.get(EXCHANGE)
        if exchange is None:
            return
        headers["traceparent"] = exchange.trace.parent
        headers["X-Request-Id"] = exchange.trace.request
        if exchange.taken is not None:
            headers["RateLimit-Policy"] = exchange.taken.limit.policy
            headers["RateLimit"] = exchange.taken.header

    def _problem(self, exchange: Exchange, problem: Problem) -> web.Response:
        exchange.problem = problem.code
        self._metrics.problems.add(problem.code)
        return Reply.of_problem(problem, self._base, exchange.trace.trace).response()

    def _http_exception(self, request: web.Request, exchange: Exchange, error: web.HTTPException) -> web.StreamResponse:
        if isinstance(error, web.HTTPMethodNotAllowed):
            methods = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
            if request.method == "OPTIONS":
                preflight = self._cors.preflight(request.headers.get("Origin"), methods)
                return web.Response(status=HTTPStatus.NO_CONTENT, headers={"Allow": methods, **preflight})
            return self._problem(exchange, MethodNotAllowed(headers={"Allow": methods}))
        if error.status < HTTPStatus.BAD_REQUEST:
            return error
        kind = known(error.status)
        return self._problem(exchange, kind("There is nothing at this path.") if kind is NotFound else kind())

    def _told(
        self, request: web.Request, exchange: Exchange, response: web.StreamResponse | None, seconds: float
    ) -> None:
        match = request.match_info
        if not exchange.route and match.http_exception is None and match.route.resource is not None:
            exchange.route = match.route.resource.canonical
        status = CLIENT_LEFT if response is None else response.status
        method = request.method if request.method in hdrs.METH_ALL else "other"
        self._metrics.requests[Served(method, exchange.route, status)] += 1
        self._metrics.request_seconds[exchange.route].observe(seconds)
        access_log.write(
            method=method,
            path=request.path,
            route=exchange.route,
            ids=exchange.ids,
            status=status,
            seconds=seconds,
            size=0 if response is None else response.content_length or 0,
            principal=exchange.principal,
            address=exchange.address,
            trace=exchange.trace,
            problem=exchange.problem,
        )


def _refuse_twins(routes: Sequence[Route]) -> None:
    seen: dict[tuple[str, str], Route] = {}
    for route in routes:
        twin = seen.setdefault((route.method, route.pattern), route)
        if twin is not route:
            raise ValueError(f"two routes are {route.method} {route.path}: {twin.summary!r} and {route.summary!r}")


def _peer(request: web.Request) -> str:
    return request.remote or ""


async def _purge(idempotency: Idempotency, jobs: Jobs) -> None:
    while True:
        await sleep(PURGE_EVERY)
        try:
            await idempotency.purge()
            await jobs.purge()
        except AWAY:
            pass  # next time
