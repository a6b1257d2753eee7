"""The page to browse the API, and pages about problems."""

import re
from collections.abc import AsyncIterator
from importlib.resources import files

import aiohttp
import pytest
from aiohttp import web

from api_shim.pages import add_pages, problem_kinds
from api_shim.runner import Runner


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application()
    add_pages(app, {"openapi": "3.1.0"}, [])
    runner = Runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        yield client
    await runner.cleanup()


@pytest.mark.parametrize("path", ["/docs", "/docs/docs.js", "/docs/docs.css", "/openapi.json"])
async def test_pages_are_served_and_cached(client: aiohttp.ClientSession, path: str) -> None:
    """From this server alone, and not again to who has them."""
    async with client.get(path) as answer:
        assert answer.status == 200
        assert "'unsafe" not in answer.headers["Content-Security-Policy"]
        tag = answer.headers["ETag"]
        assert await answer.read()
    async with client.get(path, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with client.head(path) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


def test_page_asks_nobody_else() -> None:
    """No address of another server, no inline script or style, and never markup from data."""
    for name in ("docs.html", "docs.js", "docs.css"):
        text = files("api_shim").joinpath("static", name).read_text("utf-8")
        assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.M).replace("/~1/g", "")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=|onclick=\"", text)
    assert not re.search(r"<script(?![^>]*src=)", files("api_shim").joinpath("static", "docs.html").read_text("utf-8"))


def test_every_problem_explains_itself() -> None:
    """A code of its own, a title, and a text that says more."""
    kinds = problem_kinds([])
    assert len(kinds) > 25
    for code, kind in kinds.items():
        assert re.fullmatch(r"[a-z_]+", code)
        assert kind.__doc__
        assert len(kind.__doc__) > len(kind.title) / 2
        assert 400 <= kind.status < 600
