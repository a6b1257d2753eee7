"""What an orchestrator asks an API process that has a port of its own; beside relays, they answer for the port."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from relay.metrics import CONTENT_TYPE

__all__ = ["add_health"]


def add_health(app: web.Application, ready: Callable[[], Awaitable[str]], registry: CollectorRegistry | None) -> None:
    """Serve `/livez`, `/readyz` and, with a registry, `/metrics`. `ready` says why it is not, or ''."""

    async def livez(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        why = await ready()
        return web.Response(text=(why or "ready") + "\n", status=503 if why else 200)

    async def metrics(request: web.Request) -> web.Response:
        assert registry is not None
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE})

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    if registry is not None:
        app.router.add_get("/metrics", metrics)
