"""What the port says over plain HTTP: health, metrics and the page."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from relay.metrics import CONTENT_TYPE, Metrics
from relay.server.admin import Admin
from relay.server.context import Context

__all__ = ["make_runner"]

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


def _worth_a_line(record: logging.LogRecord) -> bool:
    """A request that is not HTTP is its sender's mistake, answered with 400; aiohttp logs a traceback for each."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _file(path: Path, request: web.Request) -> web.StreamResponse:
    return web.FileResponse(path)


async def make_runner(
    context: Context,
    ready: Callable[[], Awaitable[str]],
    metrics: Metrics | None,
    page: bool,
    workers: Callable[[str], Awaitable[bytes]] | None = None,
    admin: Admin | None = None,
    *,
    beside: bool = False,
) -> web.AppRunner:
    """An aiohttp application that listens nowhere: the front hands it sockets. `ready` says why we are not, or ''.

    workers: the metrics of the worker with that number, or of all; empty when there is no such worker.
    admin: what only operators may ask; None on a port that is open to others.
    beside: a shim has the other paths of this port.
    """

    async def livez(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        why = "draining" if context.draining else await ready()
        return web.Response(text=(why or "ready") + "\n", status=503 if why else 200)

    async def scrape(request: web.Request) -> web.Response:
        assert metrics is not None
        body = metrics.render() if workers is None else await workers(request.query.get("worker", ""))
        if not body:
            raise web.HTTPNotFound(text="No such worker is here.\n")
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    @web.middleware
    async def secure(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(SECURITY)
            if beside:
                error.force_close()
            raise
        response.headers.update(SECURITY)
        if beside:
            # The next request on this connection may be another process's to answer.
            response.force_close()
        return response

    app = web.Application(middlewares=[secure], client_max_size=1 << 20)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    if metrics is not None:
        app.router.add_get("/metrics", scrape)
    if admin is not None:
        app.router.add_routes(admin.routes())
    if page:
        directory = Path(str(files("relay.server"))) / "page"

        for path, name in (("/", "index.html"), ("/app.js", "app.js"), ("/app.css", "app.css")):
            app.router.add_get(path, partial(_file, directory / name))
    logging.getLogger("aiohttp.server").addFilter(_worth_a_line)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    return runner
