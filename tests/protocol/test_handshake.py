"""The request head, and the answer to it."""

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.protocol.handshake import Request, accept, negotiate, parse_request, refuse

HEAD = b"GET /ws/caf%C3%A9?token=t&ack=1 HTTP/1.1\r\nHost: h\r\nUPGRADE: WebSocket\r\nX-A: 1\r\nx-a: 2"
HANDSHAKE = {
    "upgrade": "websocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_request() -> None:
    """Method, decoded path, query, headers in lower case, repeated ones joined."""
    request = parse_request(HEAD)
    assert request == Request(
        "GET", "/ws/café", {"token": "t", "ack": "1"}, {"host": "h", "upgrade": "WebSocket", "x-a": "1, 2"}
    )
    assert request.websocket


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET /",
        b"GET / HTTP/2",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET /%FF HTTP/1.1",
        b"GET /?" + b"a=1&" * 100 + b" HTTP/1.1",
    ],
)
def test_malformed(head: bytes) -> None:
    """What is no HTTP/1 request, or no UTF-8."""
    with pytest.raises(Malformed):
        parse_request(head)


@given(st.text("ab=&+%41;é", max_size=20))
def test_query(query: str) -> None:
    """Fields are read as the standard library reads them; of several with one name the last counts."""
    expected = {name: values[-1] for name, values in parse_qs(query.encode().decode("latin-1")).items()}
    assert parse_request(b"GET /?" + query.encode() + b" HTTP/1.1").query == expected


@given(st.binary(max_size=60))
def test_any_bytes(head: bytes) -> None:
    """Any bytes are a request or Malformed, nothing else."""
    try:
        parse_request(head)
    except Malformed:
        pass


@pytest.mark.parametrize(
    ("query", "headers", "token"),
    [
        ({"token": "q"}, {"authorization": "Bearer h"}, "q"),
        ({}, {"authorization": "bearer  h "}, "h"),
        ({}, {"authorization": "Basic h"}, ""),
        ({}, {"sec-websocket-protocol": "chat, token.s"}, "s"),
        ({}, {}, ""),
    ],
)
def test_token(query: dict[str, str], headers: dict[str, str], token: str) -> None:
    """A token in the query, in a header, or as a subprotocol, in this order."""
    assert Request("GET", "/", query, headers).token == token


def test_accept() -> None:
    """The response of RFC 6455's example; the subprotocol that carries a token is echoed."""
    response = accept(Request("GET", "/", {}, {**HANDSHAKE, "sec-websocket-protocol": "token.s"}), "x-ext")
    assert response.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response
    assert b"Sec-WebSocket-Protocol: token.s\r\n" in response
    assert b"Sec-WebSocket-Extensions: x-ext\r\n" in response
    assert response.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "wrong",
    [
        {"connection": "close"},
        {"sec-websocket-version": "8"},
        {"sec-websocket-key": ""},
        {"sec-websocket-key": "AAAA"},
        {"sec-websocket-key": "%%%"},
    ],
)
def test_no_handshake(wrong: dict[str, str]) -> None:
    """A request that only looks like a handshake."""
    with pytest.raises(Malformed):
        accept(Request("GET", "/", {}, {**HANDSHAKE, **wrong}))
    with pytest.raises(Malformed):
        accept(Request("POST", "/", {}, HANDSHAKE))


def offered(offers: str) -> Request:
    return Request("GET", "/", {}, {"sec-websocket-extensions": offers})


@pytest.mark.parametrize(
    "offers", ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-other, permessage-deflate"]
)
def test_compression(offers: str) -> None:
    """permessage-deflate without context takeover, whatever else is offered."""
    agreed, extension = negotiate(offered(offers))
    assert "server_no_context_takeover" in agreed
    assert "client_no_context_takeover" in agreed
    assert extension is not None


@pytest.mark.parametrize("offers", ["", "x-other", "permessage-deflate; nonsense=1", "permessage-deflate; ; ="])
def test_no_compression(offers: str) -> None:
    """Nothing that we know was offered."""
    assert negotiate(offered(offers)) == ("", None)


def test_smaller_window() -> None:
    """A client with a smaller window can't read frames that are compressed once for all: it gets them as they are, or
    by its second offer."""
    assert negotiate(offered("permessage-deflate; server_max_window_bits=9")) == ("", None)
    _, extension = negotiate(offered("permessage-deflate; server_max_window_bits=9, permessage-deflate"))
    assert extension is not None


def test_refuse() -> None:
    """A whole response that ends the connection."""
    response = refuse("400 Bad Request", "née")
    head, _, body = response.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Connection: close" in head
    assert body.decode() == "née\n"
