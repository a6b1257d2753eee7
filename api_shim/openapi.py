"""The description of the API (OpenAPI 3.1), made from the routes and models that serve it."""

import inspect
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter

from api_shim.paging import PageQuery
from api_shim.problems import (
    MEDIA_TYPE,
    BadCursor,
    BadJson,
    KeyInFlight,
    KeyReused,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    ProblemDetails,
    ScopeMissing,
    UnexpectedBody,
    everywhere,
)  # fmt: skip
from api_shim.route import Route

__all__ = ["describe", "problems_of"]

Schemas = dict[tuple[Any, Literal["validation", "serialization"]], dict[str, Any]]
Mode = Literal["validation", "serialization"]

INTRODUCTION = """\
Errors are `application/problem+json` (RFC 9457) with a `code` for programs, and every mistake located in `errors`.
Lists are pages: `limit`, then `cursor` with the `next_cursor` of the page before; `Link` names the next.
A POST with an `Idempotency-Key` is done once however often it is sent, for a day.
What has an `ETag` is changed by sending it as `If-Match`. Slow work answers 202 with a job to follow."""

_HEADERS: dict[str, tuple[str, str]] = {
    "ETag": ("string", "The version sent."),
    "Link": ("string", 'Where the next page is, `rel="next"`; absent on the last.'),
    "Location": ("string", "Where the thing made, or the job, is."),
    "RateLimit": ("string", "What is left of the rate limit: `r` tokens, all back in `t` seconds."),
    "RateLimit-Policy": ("string", "The rate limit: `q` tokens in `w` seconds."),
    "Retry-After": ("integer", "Seconds to wait before asking again."),
    "Idempotent-Replayed": ("string", "`true` when this answer was given before and nothing was done now."),
    "WWW-Authenticate": ("string", "How to say who you are."),
    "X-Request-Id": ("string", "Finds this request in logs and traces."),
}


def describe(routes: Sequence[Route], title: str, version: str, url: str) -> dict[str, Any]:
    """The whole document."""
    schemas, definitions = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, schemas, definitions)
    for query in {route.query for route in routes if route.query is not None}:
        definitions.pop(_name(schemas[query, "validation"]), None)
    kinds = {kind for route in routes for kind in problems_of(route)}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": INTRODUCTION},
        "servers": [{"url": url or "/"}],
        "paths": paths,
        "tags": [{"name": tag} for tag in sorted({_tag(route) for route in routes})],
        "components": {
            "schemas": dict(sorted(definitions.items())),
            "headers": {
                name: {"description": help, "schema": {"type": kind}} for name, (kind, help) in _HEADERS.items()
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "A token or an API key."}},
        },
        "x-problems": [
            {"code": kind.code, "status": kind.status, "title": kind.title, "description": inspect.getdoc(kind)}
            for kind in sorted(kinds, key=lambda kind: (kind.status, kind.code))
        ],
    }


def problems_of(route: Route) -> tuple[type[Problem], ...]:
    """What a route may answer with instead of its answer."""
    found = [*everywhere, *route.problems, UnexpectedBody if route.body is None else BadJson]
    if route.scope:
        found.append(ScopeMissing)
    if route.query is not None and issubclass(route.query, PageQuery):
        found.append(BadCursor)
    if route.method == "POST" and not route.raw:
        found += [KeyInFlight, KeyReused]
    if PreconditionRequired in route.problems:
        found.append(PreconditionFailed)
    return tuple(dict.fromkeys(found))


def _schemas(routes: Sequence[Route]) -> tuple[Schemas, dict[str, Any]]:
    wanted: dict[tuple[Any, Mode], TypeAdapter[Any]] = {}
    for route in routes:
        kinds: tuple[tuple[Any, Mode], ...] = (
            (route.body, "validation"), (route.query, "validation"), (route.answer, "serialization"),
        )  # fmt: skip
        for kind, mode in kinds:
            if kind is not None:
                wanted[kind, mode] = TypeAdapter(kind)
    wanted[ProblemDetails, "serialization"] = TypeAdapter(ProblemDetails)
    found, shared = TypeAdapter.json_schemas(
        [(kind, mode, adapter) for (kind, mode), adapter in wanted.items()],
        ref_template="#/components/schemas/{model}",
    )
    return found, shared.get("$defs", {})


def _operation(route: Route, schemas: Schemas, definitions: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _id(route),
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": _parameters(route, schemas, definitions),
        "responses": _responses(route, schemas),
        "security": [{"token": [route.scope] if route.scope else []}, *([{}] if route.public else [])],
    }
    if text := inspect.getdoc(route.handler):
        operation["description"] = text
    if route.body is not None:
        schema = schemas[route.body, "validation"]
        needed = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {
            "required": needed, "content": {kind: {"schema": schema} for kind in route.consumes}
        }  # fmt: skip
    elif route.raw and route.method in ("POST", "PUT", "PATCH"):
        operation["requestBody"] = {"required": True, "content": {kind: {} for kind in route.consumes}}
    return operation


def _parameters(route: Route, schemas: Schemas, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for parameter in route.parameters:
        schema = {"type": "string", "format": "uuid"} if parameter.kind == "uuid" else {"type": "string"}
        found.append({"name": parameter.name, "in": "path", "required": True, "schema": schema})
    if route.query is not None:
        model = definitions[_name(schemas[route.query, "validation"])]
        for name, schema in model.get("properties", {}).items():
            schema = _without_null(schema)
            one: dict[str, Any] = {"name": name, "in": "query", "schema": schema}
            if help := schema.pop("description", None):
                one["description"] = help
            if name in model.get("required", ()):
                one["required"] = True
            found.append(one)
    if route.method == "POST" and not route.raw:
        found.append(_header("Idempotency-Key", "Up to 255 characters of your choice, like a UUID."))
    if PreconditionRequired in route.problems:
        found.append(_header("If-Match", "The `ETag` of the version that you mean to change."))
    if route.method == "GET" and not route.raw:
        found.append(_header("If-None-Match", "The `ETag` that you have; 304 if it is still that."))
    return found


def _header(name: str, help: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": help, "schema": {"type": "string"}}


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    status = 204 if route.answer is None and route.status == 200 and not _streams(route) else route.status
    headers = ["RateLimit", "RateLimit-Policy", "X-Request-Id"]
    if route.query is not None and issubclass(route.query, PageQuery):
        headers.append("Link")
    if route.method in ("GET", "PUT", "PATCH") and not route.raw:
        headers.append("ETag")
    if status in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
        headers.append("Location")
    if route.method == "POST" and not route.raw:
        headers.append("Idempotent-Replayed")
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase, "headers": _refer(headers)}
    if route.answer is not None:
        answer["content"] = {kind: {"schema": schemas[route.answer, "serialization"]} for kind in route.produces}
    elif _streams(route):
        answer["content"] = {kind: {} for kind in route.produces}
    found: dict[str, Any] = {str(status): answer}
    if route.method == "GET" and not route.raw:
        found["304"] = {"description": "Not Modified", "headers": _refer(["ETag", "X-Request-Id"])}
    problems: dict[int, list[type[Problem]]] = {}
    for kind in problems_of(route):
        problems.setdefault(kind.status, []).append(kind)
    for code, kinds in sorted(problems.items()):
        more = {401: ["WWW-Authenticate"], 409: ["Retry-After"], 412: ["ETag"], 428: ["ETag"], 429: ["Retry-After"],
                503: ["Retry-After"]}.get(code, [])  # fmt: skip
        found[str(code)] = {
            "description": " / ".join(f"{kind.title} (`{kind.code}`)" for kind in kinds),
            "headers": _refer(["X-Request-Id", *more]),
            "content": {MEDIA_TYPE: {"schema": schemas[ProblemDetails, "serialization"]}},
        }
    return found


def _refer(headers: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


def _streams(route: Route) -> bool:
    return route.answer is None and (route.raw or route.produces != ("application/json",)) and route.method == "GET"


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is not one that may be null."""
    schema = dict(schema)
    if schema.get("default", 0) is None:
        del schema["default"]
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema = kinds[0] | schema
    elif kinds:
        schema["anyOf"] = kinds
    return schema


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _tag(route: Route) -> str:
    if route.tag:
        return route.tag
    nouns = [part for part in route.path.split("/") if part and part != "v1" and "{" not in part]
    return nouns[0].partition(":")[0] if nouns else "other"


def _id(route: Route) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", route.template.removeprefix("/v1").lower()).strip("_")
    return f"{route.method.lower()}_{words}"
