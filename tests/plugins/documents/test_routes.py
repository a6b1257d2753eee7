"""The description of documents is what they do."""

import asyncio
import contextlib
import itertools
import threading
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error, response_schema_conformance, status_code_conformance
from shim import running
from stub_rights import Rights

from plugins.documents.plugin import Documents


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_generated_requests_find_no_surprise(postgres: str, valkey: Any) -> None:
    """What a machine makes up from the description, right and wrong, with ids that are there and ids that are not: no
    500, nothing that is not described."""
    ready, stop = threading.Event(), threading.Event()
    base = ""
    ids: dict[str, list[str]] = {}

    async def main() -> None:
        nonlocal base
        rights = Rights()
        async with running([rights, Documents()], postgres=postgres, redis=valkey.url) as shim:
            workspace = str(await rights.workspace("ada"))
            ids["workspace"] = [workspace]
            for noun, path in (("folder", "/v1/folders"), ("document", "/v1/documents")):
                ids[noun] = []
                for n in range(12):
                    body: dict[str, Any] = {"workspace": workspace}
                    body |= {"name": f"f{n}"} if noun == "folder" else {"content": {"format": "md", "value": "# Hi"}}
                    ids[noun].append((await shim.call("POST", path, body, token="ada"))[1]["id"])
            # One attachment for each document, under the document's own place in the cycle.
            ids["attachment"] = [
                (
                    await shim.call(
                        "POST", f"/v1/documents/{id}/attachments?name=x", b"x", token="ada",
                        Content_Type="application/octet-stream",
                    )
                )[1]["id"]
                for id in ids["document"]
            ]  # fmt: skip
            base = shim.base
            ready.set()
            await asyncio.to_thread(stop.wait)

    server = threading.Thread(target=lambda: asyncio.run(main()))
    server.start()
    try:
        assert ready.wait(20)
        schema = schemathesis.openapi.from_url(f"{base}/openapi.json").include(
            path_regex="^/v1/(documents|folders|workspaces)"
        )
        quick = settings(
            max_examples=25, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck), derandomize=True,
        )  # fmt: skip
        tried, succeeded = 0, set()
        turns = itertools.count()
        operations = list(schema.get_all_operations())
        # What deletes comes last.
        operations.sort(key=lambda one: (one.ok().method == "delete", one.ok().path.endswith("purge")))
        for operation in operations:
            for mode in schemathesis.GenerationMode:

                @quick
                @given(case=operation.ok().as_strategy(generation_mode=mode))
                def run(case: Any) -> None:
                    nonlocal tried
                    tried += 1
                    turn = next(turns)
                    if turn % 4:
                        for name in case.path_parameters or {}:
                            case.path_parameters[name] = ids[name][turn % len(ids[name])]
                        if isinstance(case.body, dict) and "workspace" in case.body:
                            case.body["workspace"] = ids["workspace"][0]
                    answer = case.call(headers={"Authorization": "Bearer ada"})
                    if answer.status_code < 400:
                        succeeded.add(case.operation.label)
                    if answer.status_code == 501:  # as described: nobody signs tokens or keeps versions here
                        return
                    checks = (not_a_server_error, status_code_conformance, response_schema_conformance)
                    case.validate_response(answer, checks=checks)

                # Of an operation that takes anything, nothing is wrong.
                with contextlib.suppress(Unsatisfiable):
                    run()
        print(f"{tried} requests, {len(succeeded)} of {len(operations)} operations succeeded:", sorted(succeeded))
        assert tried > 500
    finally:
        stop.set()
        server.join(10)
