"""The request head, read once, so that the front can tell a WebSocket from plain HTTP (RFC 9112; RFC 6455, 4)."""

import base64
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from websockets.utils import accept_key

from relay.errors import Malformed

__all__ = ["Request", "accept", "negotiate", "parse_request", "refuse"]

MAX_FIELDS = 100
SHARED_WINDOW_BITS = 15
DEFLATE = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)


class Request(NamedTuple):
    """A request head. Header names are lower case; repeated headers are joined by commas."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def websocket(self) -> bool:
        """True for a request to speak WebSocket, well-formed or not."""
        return "websocket" in self.headers.get("upgrade", "").lower()

    @property
    def token(self) -> str:
        """The bearer token: `?token=`, `Authorization: Bearer`, or a subprotocol `token.<jwt>`; empty without one."""
        if token := self.query.get("token"):
            return token
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return value.strip()
        return self.token_protocol.removeprefix("token.")

    @property
    def token_protocol(self) -> str:
        """The offered subprotocol that carries a token; a browser closes unless it is echoed."""
        offered = self.headers.get("sec-websocket-protocol", "")
        return next((p for p in map(str.strip, offered.split(",")) if p.startswith("token.")), "") if offered else ""


def parse_request(head: bytes) -> Request:
    """A request head up to its blank line. Raises Malformed."""
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = lines[0].split(" ")
    except ValueError:
        raise Malformed("not an HTTP request line") from None
    if not version.startswith("HTTP/1."):
        raise Malformed("not an HTTP/1 request")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed("not an HTTP header line")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = target.partition("?")
    try:
        path = unquote(path, errors="strict")
    except ValueError:
        raise Malformed("the request target is not UTF-8") from None
    return Request(method, path, _fields(query) if query else {}, headers)


def _fields(query: str) -> dict[str, str]:
    """As `urllib.parse.parse_qs` reads them, without its lists: the last of a name counts, empty ones do not."""
    pairs = query.split("&", MAX_FIELDS)
    if len(pairs) > MAX_FIELDS:
        raise Malformed("the request target has too many fields")
    fields: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if value:
            fields[unquote_plus(name)] = unquote_plus(value)
    return fields


def negotiate(request: Request) -> tuple[str, Extension | None]:
    """permessage-deflate without context takeover (RFC 7692), when offered: (response header value, extension)."""
    offers = request.headers.get("sec-websocket-extensions")
    if not offers:
        return "", None
    try:
        for name, parameters in parse_extension(offers):
            if name == DEFLATE.name:
                agreed, extension = DEFLATE.process_request_params(parameters, [])
                if extension.local_max_window_bits != SHARED_WINDOW_BITS:
                    continue  # frames are compressed once for everybody; this one asks for a smaller window
                return build_extension([(name, agreed)]), extension
    except (InvalidHeader, NegotiationError):
        pass
    return "", None


def accept(request: Request, extensions: str = "") -> bytes:
    """The 101 response. Raises Malformed when the request is no proper WebSocket handshake."""
    headers = request.headers
    key = headers.get("sec-websocket-key", "")
    if request.method != "GET" or "upgrade" not in headers.get("connection", "").lower():
        raise Malformed("not a WebSocket handshake")
    if headers.get("sec-websocket-version") != "13":
        raise Malformed("WebSocket version 13 is needed")
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise Malformed("Sec-WebSocket-Key is not 16 bytes")
    except ValueError:  # not ASCII, or not base64
        raise Malformed("Sec-WebSocket-Key is not base64") from None
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
    ]
    if extensions:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    if protocol := request.token_protocol:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def refuse(status: str, text: str) -> bytes:
    """A complete plain-text response that closes the connection; `status` as in `400 Bad Request`."""
    body = (text + "\n").encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return (head + "Connection: close\r\n\r\n").encode() + body
