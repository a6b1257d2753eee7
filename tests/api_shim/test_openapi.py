"""The description is what the API does."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import jsonschema_rs
import pytest
import sample_api
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from sample_api import Sample, running
from schemathesis.checks import not_a_server_error, response_schema_conformance, status_code_conformance

from api_shim.openapi import describe
from api_shim.route import Route


@pytest.fixture
async def sample(postgres: str) -> AsyncIterator[Sample]:
    pool = await sample_api.prepare(postgres)
    async with running(pool) as sample:
        yield sample
    await pool.close()


async def described(sample: Sample) -> dict[str, Any]:
    async with sample.client.get("/openapi.json") as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def test_every_route_is_described(sample: Sample) -> None:
    """With its summary, text, parameters, body, answers and security; each under a name of its own."""
    document = await described(sample)
    assert document["openapi"] == "3.1.0"
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    routes = [*sample.things.routes(), *sample.jobs.routes()]
    assert len(operations) == len(routes) == len({operation["operationId"] for operation in operations})
    make = document["paths"]["/v1/things"]["post"]
    assert make["security"] == [{"token": ["things:write"]}]
    assert make["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/NewThing"}
    assert {"201", "401", "409", "422", "429"} <= make["responses"].keys()
    assert "`full`" in make["responses"]["409"]["description"]
    assert "Idempotency-Key" in [parameter["name"] for parameter in make["parameters"]]
    listing = document["paths"]["/v1/things"]["get"]
    parameters = {parameter["name"]: parameter for parameter in listing["parameters"]}
    assert parameters["limit"]["schema"]["maximum"] == 200
    assert parameters["sort"]["schema"]["enum"] == ["created", "-created", "title", "-title"]
    assert parameters["filter[kind]"]["schema"]["type"] == "string"
    assert listing["description"] == "Things, in pages."
    assert document["paths"]["/v1/flags"]["get"]["security"][-1] == {}
    assert "If-Match" in str(document["paths"]["/v1/things/{thing}"]["put"]["parameters"])


async def test_references_resolve_and_schemas_are_schemas(sample: Sample) -> None:
    """Every `$ref` leads somewhere, nothing is described that nobody refers to, and JSON Schema accepts each."""
    document = await described(sample)

    def references(at: Any) -> Iterator[str]:
        if isinstance(at, dict):
            for key, value in at.items():
                if key == "$ref":
                    yield value
                yield from references(value)
        elif isinstance(at, list):
            for value in at:
                yield from references(value)

    found = set(references(document))
    for reference in found:
        at: Any = document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
    for name, schema in document["components"]["schemas"].items():
        assert f"#/components/schemas/{name}" in found
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


async def test_problems_are_explained(sample: Sample) -> None:
    """Every code that a route may answer with is in the list."""
    codes = {one["code"]: one for one in (await described(sample))["x-problems"]}
    assert codes["full"]["description"] == "There are too many things. Delete some."
    assert {"invalid", "idempotency_key_reused", "precondition_failed", "bad_cursor"} <= codes.keys()


def test_document_is_the_same_every_time() -> None:
    """So that its ETag is, and a difference is a change of the API."""

    async def nothing(call: object) -> None: ...

    routes = [Route(method="GET", path=f"/v1/{name}", handler=nothing, summary=name) for name in "abcdef"]
    assert json.dumps(describe(routes, "t", "1", "")) == json.dumps(describe(routes, "t", "1", ""))


def test_generated_requests_find_no_surprise(postgres: str) -> None:
    """What a machine makes up from the description, right and wrong: no 500, nothing that is not described."""
    ready, stop = threading.Event(), threading.Event()
    port = 0

    def serve() -> None:
        async def main() -> None:
            nonlocal port
            pool = await sample_api.prepare(postgres)
            async with running(pool) as sample:
                port = sample.port
                sample.things.hold.set()
                ready.set()
                await asyncio.to_thread(stop.wait)
            await pool.close()

        asyncio.run(main())

    server = threading.Thread(target=serve)
    server.start()
    try:
        assert ready.wait(10)
        schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
        # What fails or waits on purpose, and what never ends.
        schema = schema.exclude(path_regex="broken|away|slow|events")
        quick = settings(
            max_examples=12, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck), derandomize=True,
        )  # fmt: skip
        tried = 0
        for operation in schema.get_all_operations():
            for mode in schemathesis.GenerationMode:

                @quick
                @given(case=operation.ok().as_strategy(generation_mode=mode))
                def run(case: Any) -> None:
                    nonlocal tried
                    tried += 1
                    answer = case.call(headers={"Authorization": "Bearer alice"})
                    checks = (not_a_server_error, status_code_conformance, response_schema_conformance)
                    case.validate_response(answer, checks=checks)

                # Of an operation that takes anything, nothing is wrong.
                with contextlib.suppress(Unsatisfiable):
                    run()
        assert tried > 100
    finally:
        stop.set()
        server.join(10)


def test_names_are_those_of_paths() -> None:
    """An operation's name, and the group it is shown in, come from its path."""

    async def nothing(call: object) -> None: ...

    route = Route(method="POST", path="/v1/documents/{document:uuid}/comments:batch", handler=nothing, summary="s")
    operation = describe([route], "t", "1", "")["paths"]["/v1/documents/{document}/comments:batch"]["post"]
    assert operation["operationId"] == "post_documents_document_comments_batch"
    assert operation["tags"] == ["documents"]
