"""For authors of plugins: the API process within a test, on real PostgreSQL and Valkey, its API on a loopback port.

    async with running([Greeter()]) as shim:
        status, body, headers = await shim.call("GET", "/v1/greeting", token="ada")

Rooms and hooks alone need no services: see `relay.testing`.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from api_shim.context import Context
from api_shim.plugin import Plugin
from api_shim.shim import Shim
from relay import embedded
from relay.settings import Settings

__all__ = ["Running", "running"]


class Running:
    """A started shim, and a client of its API."""

    def __init__(self, shim: Shim, client: aiohttp.ClientSession, base: str) -> None:
        self.shim = shim
        self.client = client
        self.base = base

    def context(self, plugin: str) -> Context:
        """What that plugin was given."""
        return self.shim.contexts[plugin]

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, decoded body (JSON, else bytes; None when empty) and headers; `If_Match="x"` is a header."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        options: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        if body is None:
            options = {}
        async with self.client.request(method, path, headers=sent, **options) as answer:
            raw = await answer.read()
            content: Any = raw or None
            if raw and "json" in answer.content_type:
                content = await answer.json(content_type=None)
            return answer.status, content, dict(answer.headers)


@contextlib.asynccontextmanager
async def running(
    plugins: Sequence[Plugin] | Sequence[str],
    *,
    postgres: str = "",
    redis: str = "",
    clock: Callable[[], float] = time.time,
    settings: dict[str, dict[str, object]] | None = None,
    **more: Any,
) -> AsyncIterator[Running]:
    """A shim with these plugins: instances, or names of installed ones with their `settings` by name.

        async with running(["auth"], postgres=postgres, redis=valkey.url, settings={"auth": {...}}) as shim:
            status, body, headers = await shim.call("GET", "/v1/me", token=token)

    postgres, redis: URLs of services; left out, embedded ones are started and thrown away.  clock: what plugins are
    told the time is.  more: further settings of the relay (`public_url=...`).
    """
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sh")))
        if not (postgres and redis):
            own = await embedded.start(directory / "data", postgres=not postgres, valkey=not redis)
            stack.push_async_callback(own.stop)
            postgres, redis = postgres or own.database_url, redis or own.redis_url
        by_name = tuple(plugin for plugin in plugins if isinstance(plugin, str))
        given = [plugin for plugin in plugins if isinstance(plugin, Plugin)]
        made = Settings(
            database_url=postgres,
            redis_url=redis,
            plugins=by_name,
            plugin_settings=settings or {},
            shim=f"unix:{directory}/s",
            **more,
        )
        shim = Shim(made, None, given or None)
        shim.clock = clock
        stack.push_async_callback(shim.stop)
        await shim.start()
        server = await asyncio.get_running_loop().create_server(shim.server, "127.0.0.1", 0)
        stack.callback(server.close)
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield Running(shim, await stack.enter_async_context(aiohttp.ClientSession(base)), base)
