"""A shim in this process for tests of plugins: real PostgreSQL and Valkey, the API on a loopback port."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from api_shim.context import Context
from api_shim.plugin import Plugin
from api_shim.shim import Shim
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
    postgres: str,
    redis: str,
    settings: dict[str, dict[str, object]] | None = None,
    **more: Any,
) -> AsyncIterator[Running]:
    """A shim with these plugins: instances, or names of installed ones with their `settings` by name.

        async with running(["auth"], postgres=postgres, redis=valkey.url, settings={"auth": {...}}) as shim:
            status, body, headers = await shim.call("GET", "/v1/me", token=token)

    more: further settings of the relay (`public_url=...`).
    """
    by_name = [plugin for plugin in plugins if isinstance(plugin, str)]
    given = [plugin for plugin in plugins if isinstance(plugin, Plugin)]
    address = f"unix:{tempfile.mkdtemp(prefix='sh')}/s"
    made = Settings(
        database_url=postgres,
        redis_url=redis,
        plugins=tuple(by_name),
        plugin_settings=settings or {},
        shim=address,
        **more,
    )
    shim = Shim(made, None, given or None)
    try:
        await shim.start()
        server = await asyncio.get_running_loop().create_server(shim.server, "127.0.0.1", 0)
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with aiohttp.ClientSession(base) as client:
            try:
                yield Running(shim, client, base)
            finally:
                server.close()
    finally:
        await asyncio.shield(shim.stop())
        path = Path(address.removeprefix("unix:"))
        path.unlink(missing_ok=True)
        path.parent.rmdir()
