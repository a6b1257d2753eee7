"""pycrdt-websocket in memory, on uvicorn and uvloop. PORT: where."""

import asyncio
import os

import uvicorn
import uvloop
from pycrdt.websocket import ASGIServer, WebsocketServer


async def main() -> None:
    rooms = WebsocketServer()
    config = uvicorn.Config(
        ASGIServer(rooms), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", lifespan="off"
    )
    async with rooms:
        await uvicorn.Server(config).serve()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
