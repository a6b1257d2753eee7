"""What do the REST conventions cost a request, beside bare aiohttp?

    python benchmarks/api_overhead.py [--requests 20000] [--redis unix:///path]

Calls the application in process, without a socket: the request's head is parsed by aiohttp, and its answer is written
to nothing; so is its line in the log. CPU time a request, the best of several rounds, of a handler that returns the
same small JSON. With Redis, every tenth request asks it, as for whoever asks often.
"""

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import asyncpg
import uvloop
from aiohttp import web
from redis.asyncio import Redis

from api_shim.app import Conventions, make_app
from api_shim.limits import Limit
from api_shim.models import Model
from api_shim.route import Call, Route
from api_shim.runner import Runner
from relay.grants import Principal
from relay.hooks import ConnectAsked
from relay.log import configure
from relay.types import Actor

HEAD = b"Host: localhost\r\nAuthorization: Bearer token\r\nAccept: */*\r\n"
ALICE = Principal(Actor("alice"), "Alice", None)


class Thing(Model):
    id: int
    title: str


class NewThing(Model):
    title: str


async def identify(ask: ConnectAsked) -> Principal:
    return ALICE


async def get(call: Call) -> Thing:
    return Thing(id=1, title="thing")


async def post(call: Call) -> Thing:
    return Thing(id=2, title=call.body.title)


async def bare_get(request: web.Request) -> web.Response:
    return web.Response(body=b'{"id":1,"title":"thing"}', content_type="application/json")


async def bare_post(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b'{"id":2,"title":"thing"}', content_type="application/json")


class Nowhere(asyncio.Transport):
    """A connection whose other end swallows everything, and tells when an answer has been written."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()

    def write(self, data: Any) -> None:
        self.answered.set()

    def writelines(self, parts: Any) -> None:
        self.answered.set()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def measure(runner: web.AppRunner, request: bytes, requests: int) -> float:
    """Microseconds of CPU a request."""
    server = runner.server
    assert server is not None
    protocol, transport = server(), Nowhere()
    protocol.connection_made(transport)
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(requests // 5):
            transport.answered.clear()
            protocol.data_received(request)
            await transport.answered.wait()
        best = min(best, (time.process_time() - started) / (requests // 5))
    protocol.connection_lost(None)
    return best * 1e6


async def main(requests: int, redis_url: str | None) -> None:
    bare = web.Application()
    bare.router.add_get("/v1/things/{thing}", bare_get)
    bare.router.add_post("/v1/things", bare_post)
    routes = [
        Route(method="GET", path="/v1/things/{thing}", handler=get, summary="get", answer=Thing),
        Route(method="POST", path="/v1/things", handler=post, summary="post", body=NewThing, answer=Thing),
    ]
    redis = Redis.from_url(redis_url) if redis_url else None
    often = Conventions(limit=Limit("default", rate=1e6, burst=500))
    app = make_app(
        routes, conventions=often, identify=identify, database=cast(asyncpg.Pool, Mock()), redis=redis, secret=b"s" * 32
    )
    body = b'{"title": "thing"}'
    kinds = {
        "GET": b"GET /v1/things/1 HTTP/1.1\r\n" + HEAD + b"\r\n",
        "POST": b"POST /v1/things HTTP/1.1\r\n" + HEAD
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
    }  # fmt: skip
    plain, full = web.AppRunner(bare, access_log=None), Runner(app)
    await plain.setup()
    await full.setup()
    print(f"{'':6}{'bare':>10}{'conventions':>14}{'overhead':>12}  µs of CPU a request")
    for name, request in kinds.items():
        one, other = await measure(plain, request, requests), await measure(full, request, requests)
        print(f"{name:6}{one:10.0f}{other:14.0f}{other - one:12.0f}")
    if redis is not None:
        await redis.aclose()
    await full.cleanup()
    await plain.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--redis", help="URL of a Redis to count the rate limit in; without it there is none")
    chosen = parser.parse_args()
    with Path(os.devnull).open("w") as nothing:
        configure("json", "info", nothing)
        uvloop.run(main(chosen.requests, chosen.redis))
