"""Pages for people: the API's description at `/docs`, and what each kind of problem means."""

import hashlib
import html
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web

from api_shim import problems
from api_shim.etags import matches
from api_shim.openapi import problems_of
from api_shim.problems import NotFound, Problem
from api_shim.route import Route

__all__ = ["add_pages", "problem_kinds"]

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/docs/docs.css": ("docs.css", "text/css; charset=utf-8"),
}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="stylesheet" href="/docs/docs.css"><main class="problem">
<p class="code">{status} <code>{code}</code></p><h1>{title}</h1>{text}<p><a href="/docs">The API</a></p></main></html>
"""


def add_pages(app: web.Application, description: Mapping[str, Any], routes: Sequence[Route]) -> None:
    """Serve `/openapi.json`, `/docs` and `/problems/{code}`."""
    document = orjson.dumps(description)
    _get(app, "/openapi.json", _fixed(document, "application/json"))
    for path, (name, media_type) in _FILES.items():
        body = files("api_shim").joinpath("static", name).read_bytes()
        _get(app, path, _fixed(body, media_type))
    kinds = problem_kinds(routes)

    async def problem(request: web.Request) -> web.StreamResponse:
        kind = kinds.get(request.match_info["code"])
        if kind is None:
            raise NotFound("There is no such kind of problem.")
        text = inspect.getdoc(kind) or ""
        if "text/html" in request.headers.get("Accept", ""):
            paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n\n"))
            page = _PAGE.format(title=html.escape(kind.title), status=kind.status, code=kind.code, text=paragraphs)
            headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _POLICY}
            return web.Response(text=page, headers=headers)
        told = {"code": kind.code, "status": kind.status, "title": kind.title, "description": text}
        return web.Response(body=orjson.dumps(told), content_type="application/json")

    _get(app, "/problems/{code}", problem)


def problem_kinds(routes: Sequence[Route]) -> dict[str, type[Problem]]:
    """Every kind of problem by its code: the general ones, and those of the routes."""
    general = [kind for kind in vars(problems).values() if isinstance(kind, type) and issubclass(kind, Problem)]
    brought = [kind for route in routes for kind in problems_of(route)]
    kinds: list[type[Problem]] = [*brought, *general]
    return {kind.code: kind for kind in kinds if kind is not Problem}


def _get(app: web.Application, path: str, serve: Serve) -> None:
    for method in ("GET", "HEAD"):
        app.router.add_route(method, path, serve)


def _fixed(body: bytes, media_type: str) -> Serve:
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Content-Type": media_type, "Cache-Control": "no-cache", "Content-Security-Policy": _POLICY}

    async def serve(request: web.Request) -> web.StreamResponse:
        if matches(request.headers.get("If-None-Match", ""), tag, weak=True):
            return web.Response(status=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
        return web.Response(body=body, headers=headers)

    return serve
