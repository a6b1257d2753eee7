"""Server-sent events: an answer that goes on.

async def watch(call: Call) -> object:
    async with EventStream(call) as events:
        async for thing in things:
            await events.send(thing, event="thing", id=str(thing.id))
    return events.response
"""

import asyncio
import time
from types import TracebackType

from aiohttp import web
from pydantic import BaseModel
from pydantic_core import to_json

from api_shim.models import dump
from api_shim.route import Call
from relay.tasks import spawn

__all__ = ["STREAMS", "EventStream"]

STREAMS: web.AppKey[set["EventStream"]] = web.AppKey("streams")
"""The open streams of an application, to be ended when it stops."""

KEEP_ALIVE = 15.0


class EventStream:
    """One open stream; its route has `raw=True`, `timeout=0` and produces `text/event-stream`.

    A comment every `keep_alive` seconds keeps proxies from closing it, and finds out that the reader has gone. It ends
    when the principal's token expires (the browser's EventSource then reconnects with `Last-Event-ID`) and when the
    server stops: the body of the `async with` is cancelled.
    """

    def __init__(self, call: Call, *, keep_alive: float = KEEP_ALIVE) -> None:
        self._call = call
        self._every = keep_alive
        self._ended = False
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )

    @property
    def last_id(self) -> str:
        """The `Last-Event-ID` that a reader who was here before has seen; empty for others."""
        return self._call.request.headers.get("Last-Event-ID", "")

    async def send(self, data: object, *, event: str = "", id: str = "") -> None:
        """Send one event: a model, or any value that JSON has. Waits while the reader is slow."""
        body = dump(data) if isinstance(data, BaseModel) else to_json(data)
        head = "".join(f"{name}: {_line(value)}\n" for name, value in (("id", id), ("event", event)) if value)
        await self.response.write(head.encode() + b"data: " + body + b"\n\n")

    def end(self) -> None:
        """Cancel the body of the `async with`, and end the answer as if it had finished."""
        if not self._ended:
            self._ended = True
            self._task.cancel()

    async def __aenter__(self) -> "EventStream":
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        await self.response.prepare(self._call.request)
        self._streams = self._call.request.app[STREAMS]
        self._streams.add(self)
        self._alive = spawn("api event stream", self._keep_alive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._streams.discard(self)
        self._alive.cancel()
        if isinstance(error, asyncio.CancelledError) and self._ended:
            self._task.uncancel()
            return True
        return isinstance(error, ConnectionError)  # the reader has gone, which is how streams end

    async def _keep_alive(self) -> None:
        principal = self._call.principal
        expires = principal.expires if principal is not None and principal.expires is not None else float("inf")
        while (left := expires - time.time()) > 0:
            await asyncio.sleep(min(self._every, left))
            try:
                await self.response.write(b": \n\n")
            except ConnectionError:
                break
        self.end()


def _line(text: str) -> str:
    """Without what would end the line, or (NUL in an id) make readers ignore it."""
    return text.translate({0: None, 10: None, 13: None})
