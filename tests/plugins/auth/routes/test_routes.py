"""The API as a whole: what it says of itself holds for any input."""

import asyncio
import contextlib
import random
from typing import Any

import pytest
import schemathesis
from auth_people import PASSWORD, People, auth_server
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error, response_schema_conformance, status_code_conformance

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.slow
async def test_any_input(postgres_server, valkey) -> None:
    """Whatever is sent, as nobody or as the owner, there is no server error, and every answer is as described."""
    async with auth_server(postgres_server.create_database(), valkey.url) as people:
        await attacked(people)


async def attacked(people: People) -> None:
    schema = await asyncio.to_thread(schemathesis.openapi.from_url, f"{people.server.base}/openapi.json")
    quick = settings(
        max_examples=15, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck), derandomize=True,
    )  # fmt: skip
    tried: list[int] = []

    def attack(operation: Any, mode: Any, token: str) -> None:
        @quick
        @given(case=operation.as_strategy(generation_mode=mode))
        def run(case: Any) -> None:
            headers = {"X-Forwarded-For": f"10.{random.randrange(256)}.{random.randrange(256)}.1"}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            answer = case.call(headers=headers)
            tried.append(answer.status_code)
            checks = (not_a_server_error, status_code_conformance, response_schema_conformance)
            case.validate_response(answer, checks=checks)

        with contextlib.suppress(Unsatisfiable):
            run()

    for found in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:
            for known in (True, False):
                # A login of its own: some operations end it.
                login = await people.login("owner@example.com", PASSWORD) if known else (0, {"access_token": ""})
                await asyncio.to_thread(attack, found.ok(), mode, login[1]["access_token"])
    assert len(tried) > 500
    assert {200, 401, 404, 422} <= set(tried)


async def test_every_route_is_scoped(people: People) -> None:
    """What a token that is narrowed to something else may not do has a scope."""
    routes = people.server.shim.plugins[0].routes()
    assert [route.path for route in routes if not route.public and not route.scope] == []
    assert {route.scope for route in routes if route.scope} == {
        "account:read",
        "account:write",
        "accounts:manage",
        "keys:manage",
        "tokens:introspect",
    }
