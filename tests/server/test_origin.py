"""Which pages may connect."""

import pytest

from relay.protocol.handshake import Request
from relay.server.origin import origin_allowed


def request(origin: str, host: str = "relay.example") -> Request:
    return Request("GET", "/ws", {}, {"host": host, "origin": origin} if origin else {"host": host})


@pytest.mark.parametrize("authenticated", [False, True])
def test_no_page(authenticated: bool) -> None:
    """Programs that are no browser say nothing, and may."""
    assert origin_allowed(request(""), (), authenticated)
    assert origin_allowed(request(""), ("https://a.example",), authenticated)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://relay.example", True),
        ("http://localhost:3000", True),
        ("http://127.0.0.1:3000", True),
        ("http://[::1]:3000", True),
        ("https://evil.example", False),
        ("https://relay.example.evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_open_server(origin: str, allowed: bool) -> None:
    """Without tokens only pages of this host or this machine may connect."""
    assert origin_allowed(request(origin), (), False) is allowed


def test_tokens() -> None:
    """With tokens any page may, since it has to bring one."""
    assert origin_allowed(request("https://elsewhere.example"), (), True)


@pytest.mark.parametrize("authenticated", [False, True])
def test_patterns(authenticated: bool) -> None:
    """Patterns decide when there are any."""
    patterns = ("https://*.example", "http://localhost:3000")
    assert origin_allowed(request("https://app.example"), patterns, authenticated)
    assert origin_allowed(request("http://localhost:3000"), patterns, authenticated)
    assert not origin_allowed(request("http://localhost:4000"), patterns, authenticated)
