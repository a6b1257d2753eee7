"""Whose connection it is behind a proxy."""

from typing import Any

import pytest

from relay.errors import StartError
from relay.protocol.handshake import Request
from relay.server.proxy import client_address, networks, public_host, trusts

TRUSTED = networks(["10.0.0.0/8", "192.168.1.5", "fd00::/8"])


def request(**headers: str) -> Request:
    return Request("GET", "/ws", {}, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, rubbish, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("local", "198.51.100.1", "local"),
    ],
)
def test_client_address(peer: str, forwarded: str, client: str) -> None:
    """The rightmost address that is no trusted proxy, said by trusted proxies alone."""
    assert client_address(peer, forwarded, TRUSTED) == client


def test_nobody_is_trusted() -> None:
    """Without proxies the header means nothing."""
    assert client_address("10.0.0.1", "198.51.100.1", ()) == "10.0.0.1"
    assert not trusts("10.0.0.1", ())


def test_public_host() -> None:
    """What the browser asked for, as a trusted proxy says, else as the request does."""
    asked = request(host="relay.internal:8080", x_forwarded_host="made.up, relay.example")
    assert public_host("10.0.0.1", asked, TRUSTED) == "relay.example"
    assert public_host("203.0.113.9", asked, TRUSTED) == "relay.internal:8080"
    assert public_host("10.0.0.1", request(host="relay.example"), TRUSTED) == "relay.example"


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy.internal", ""])
def test_networks_wrong(wrong: str) -> None:
    """A network that is none stops the start."""
    with pytest.raises(StartError, match="trusted_proxies"):
        networks([wrong])


async def test_behind_a_proxy(serve: Any) -> None:
    """A connection counts for the client's address; pages of the public host may connect; a draining relay says 503."""
    server = await serve(limits={"per_address": 1})
    server.context.proxies = networks(["127.0.0.1"])
    headers = "X-Forwarded-For: 6.6.6.6, {}\r\nOrigin: https://relay.example\r\nX-Forwarded-Host: relay.example\r\n"
    first = await server.connect(headers=headers.format("198.51.100.1"))
    await server.connect(headers=headers.format("198.51.100.2"))
    assert server.context.addresses == {"198.51.100.1": 1, "198.51.100.2": 1}
    again = await server.connect(headers=headers.format("198.51.100.1"))
    assert (await again.closed())[0] == 4529
    first.leave()
    server.context.draining = True
    upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    assert (await server.request("/ws/room", upgrade)).startswith(b"HTTP/1.1 503 ")
