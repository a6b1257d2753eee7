"""Which pages may connect."""

import pytest

from relay.protocol.handshake import Request
from relay.server.origin import origin_allowed

HOST = "relay.example"


def request(origin: str) -> Request:
    return Request("GET", "/ws", {}, {"origin": origin} if origin else {})


@pytest.mark.parametrize("authenticated", [False, True])
def test_no_page(authenticated: bool) -> None:
    """Programs that are no browser say nothing, and may."""
    assert origin_allowed(request(""), (), authenticated, HOST)
    assert origin_allowed(request(""), ("https://a.example",), authenticated, HOST)


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
    assert origin_allowed(request(origin), (), False, HOST) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://relay.example", "relay.example:443", True),
        ("https://relay.example:443", "Relay.Example", True),
        ("http://relay.example", "relay.example:80", True),
        ("https://relay.example:8443", "relay.example:8443", True),
        ("https://relay.example:8443", "relay.example", False),
        ("https://relay.example", "relay.example:8443", False),
        ("https://relay.example", "relay.example:http", False),
        ("https://relay.example", "", False),
    ],
)
def test_ports(origin: str, host: str, allowed: bool) -> None:
    """A scheme's own port may be written or left out: a proxy that ends TLS does either."""
    assert origin_allowed(request(origin), (), False, host) is allowed


def test_tokens() -> None:
    """With tokens any page may, since it has to bring one."""
    assert origin_allowed(request("https://elsewhere.example"), (), True, HOST)


@pytest.mark.parametrize("authenticated", [False, True])
def test_patterns(authenticated: bool) -> None:
    """Patterns decide when there are any."""
    patterns = ("https://*.example", "http://localhost:3000")
    assert origin_allowed(request("https://app.example"), patterns, authenticated, HOST)
    assert origin_allowed(request("http://localhost:3000"), patterns, authenticated, HOST)
    assert not origin_allowed(request("http://localhost:4000"), patterns, authenticated, HOST)
