"""What the port says over plain HTTP."""

from typing import Any

import pytest

Serve = Any


async def test_health(serve: Serve) -> None:
    """Alive while it runs; ready while its services answer."""
    server = await serve()
    assert b" 200 OK" in await server.request("/livez")
    assert b" 200 OK" in await server.request("/readyz")
    server.ready = "the journal does not answer"
    answer = await server.request("/readyz")
    assert b" 503 " in answer
    assert b"the journal does not answer" in answer
    assert b" 200 OK" in await server.request("/livez")


async def test_metrics(serve: Serve) -> None:
    """What Prometheus reads."""
    server = await serve()
    assert b"relay_edits_in_total" in await server.request("/metrics")


@pytest.mark.parametrize("path", ["/", "/app.js", "/app.css"])
async def test_page(serve: Serve, path: str) -> None:
    """The page is there, under a policy that lets it load nothing from elsewhere."""
    server = await serve()
    answer = await server.request(path)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Security-Policy: default-src 'none'" in answer
    assert b"nosniff" in answer


async def test_nothing_there(serve: Serve) -> None:
    """Anything else is not found, under the same policy."""
    server = await serve()
    answer = await server.request("/../pyproject.toml")
    assert b"404" in answer.split(b"\r\n")[0]
    assert b"nosniff" in answer
