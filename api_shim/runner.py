"""Serving an application: aiohttp's runner, with its own errors answered as problems too."""

import logging
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api_shim.problems import BadRequest, Problem, known
from api_shim.reply import Reply
from api_shim.trace import begin

__all__ = ["Runner"]

log = logging.getLogger("api.http")


class _Protocol(web.RequestHandler):
    """A connection. What aiohttp answers before the application is asked, or after it failed, is text; here a problem.

    `handle_error` gets requests that are no HTTP; `finish_response` sees the rest, like an `Expect` nobody knows.
    """

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        trace = begin(None, None)
        if isinstance(exc, HttpProcessingError):
            problem: Problem = BadRequest("This is not HTTP that can be read.")
        else:
            log.error("request failed", extra={"trace_id": trace.trace}, exc_info=exc)
            problem = known(status)()
        response = Reply.of_problem(problem, "", trace.trace).response()
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException) and resp.status >= HTTPStatus.BAD_REQUEST:
            resp = Reply.of_problem(known(resp.status)(), "", begin(None, None).trace).response()
        return await super().finish_response(request, resp, start_time)


class _Server(web.Server):
    def __init__(self, made: web.Server, options: dict[str, Any]) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, **options)
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    """`Runner(app)`; after `setup()`, `runner.server` makes a protocol for each socket handed over.

    head: seconds in which a connection must have sent the head of a request, the first or the next.
    linger: seconds that a body nobody reads is still taken in, so that its sender sees the answer.
    drain: seconds that what is in flight may take once `cleanup()` was called.
    """

    def __init__(self, app: web.Application, *, head: float = 60.0, linger: float = 2.0, drain: float = 30.0) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=drain)
        self._options: dict[str, Any] = {
            "keepalive_timeout": head, "lingering_time": linger, "access_log": None, "logger": log
        }  # fmt: skip

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._options)
