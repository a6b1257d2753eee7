"""One port: reads a request's head, then hands the socket to who serves it: WebSocket here, the rest to aiohttp."""

import asyncio
from collections.abc import Callable, Collection
from typing import cast

from websockets.extensions import Extension

from relay import closing
from relay.closing import Closing
from relay.errors import Deny, Malformed
from relay.hooks import ConnectAsked
from relay.protocol.frames import close_frame
from relay.protocol.handshake import Request, accept, negotiate, parse_request, refuse
from relay.server.channel import room_id
from relay.server.connection import CLOSE_TIMEOUT, Connection
from relay.server.context import Context
from relay.server.hocuspocus import HocuspocusSession
from relay.server.origin import origin_allowed
from relay.server.proxy import client_address, public_host, trusts
from relay.server.ywebsocket import YWebsocketSession
from relay.types import RoomId

__all__ = ["Front", "HttpHandler"]

MAX_HEAD = 16384
HEAD_TIMEOUT = 10.0


class HttpHandler:
    """Who serves a socket that speaks plain HTTP; filled in once that is set up.

    make: aiohttp's protocol of this process.
    give: hands the socket and what was read from it to the shim, which serves all but `ours`; None where there is none.
    ours: the paths that a relay answers itself, also beside a shim.
    """

    ours: Collection[str] = ()

    make: "Callable[[], asyncio.Protocol] | None" = None
    give: "Callable[[int, bytes], bool] | None" = None


class Front(asyncio.Protocol):
    """A connection of which we do not know yet what it wants."""

    __slots__ = ("_context", "_head", "_http", "_refused", "_timeout", "_transport")

    def __init__(self, context: Context, http: HttpHandler) -> None:
        self._context = context
        self._http = http
        self._head = b""
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timeout = self._context.loop.call_later(HEAD_TIMEOUT, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timeout.cancel()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        head = self._head = self._head + data if self._head else data
        end = head.find(b"\r\n\r\n")
        if end < 0:
            if len(head) > MAX_HEAD:
                self._refuse("431 Request Header Fields Too Large", "The request head is too long.")
            return
        self._timeout.cancel()
        try:
            request = parse_request(head[:end])
        except Malformed as error:
            self._refuse("400 Bad Request", str(error))
            return
        if request.websocket:
            self._upgrade(request, head[end + 4 :])
        else:
            self._hand_over(request, head)

    def _hand_over(self, request: Request, head: bytes) -> None:
        if self._http.give is not None and request.path not in self._http.ours:
            if self._http.give(self._transport.get_extra_info("socket").fileno(), head):
                self._transport.abort()  # closes our descriptor; the connection lives on in the shim's
            else:
                self._refuse("503 Service Unavailable", "The API is not there at the moment, try again.")
            return
        if self._http.make is None:
            self._refuse("503 Service Unavailable", "Not ready yet.")
            return
        handler = self._http.make()
        self._transport.set_protocol(handler)
        handler.connection_made(self._transport)
        handler.data_received(head)

    def _upgrade(self, request: Request, rest: bytes) -> None:
        answer = self._answer(request)
        if answer is not None:
            response, extension = answer
            self._transport.write(response)
            self._serve(request, extension, rest)

    def _answer(self, request: Request) -> tuple[bytes, Extension | None] | None:
        """The response to a handshake and what it agrees to; None when it was refused."""
        context = self._context
        peer = self._peer()
        if context.draining and trusts(peer, context.proxies):
            self._refuse("503 Service Unavailable", "Draining.")  # the proxy asks another relay
            return None
        try:
            extensions, extension = negotiate(request) if context.limits.compression else ("", None)
            response = accept(request, extensions)
        except Malformed as error:
            self._refuse("400 Bad Request", str(error))
            return None
        host = public_host(peer, request, context.proxies)
        if not origin_allowed(request, context.origins, context.authenticated, host):
            context.counters.denied.add("origin")
            self._refuse("403 Forbidden", "Pages of this origin may not connect; see the setting `origins`.")
            return None
        return response, extension

    def _serve(self, request: Request, extension: Extension | None, rest: bytes) -> None:
        """The handshake is answered: make the connection, or say why not."""
        context = self._context
        address = client_address(self._peer(), request.headers.get("x-forwarded-for", ""), context.proxies)
        count = context.addresses.get(address, 0)
        if (why := self._overloaded(count)) is not None:
            self._farewell(why.code, why.reason)
            return
        try:
            room = self._room(request.path)
        except Deny as error:
            self._farewell(error.code, error.reason)
            return
        context.addresses[address] = count + 1
        connection = Connection(context, self._transport, address, extension)
        self._transport.set_protocol(connection)
        origin = request.headers.get("origin", "")
        if room is None:
            connection.session = HocuspocusSession(context, connection, origin)
        else:
            ask = ConnectAsked(request.token, address, origin)
            acknowledge = request.query.get("ack") == "1"
            connection.session = YWebsocketSession(context, connection, room, ask, acknowledge)
        context.counters.connections.add(connection.session.name)
        context.counters.connects.add(connection.session.name)
        if rest:
            connection.data_received(rest)

    def _peer(self) -> str:
        """The address at the other end of the socket, a proxy's perhaps."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else "local"

    def _room(self, path: str) -> RoomId | None:
        """The room of a y-websocket path; None for the Hocuspocus endpoint. Raises Deny for anything else."""
        if path in ("/ws", "/ws/"):
            return None
        if path.startswith("/ws/"):
            return room_id(path.removeprefix("/ws/"))
        raise Deny("connect to /ws/<document> (y-websocket) or /ws (Hocuspocus)", closing.NOT_FOUND.code)

    def _overloaded(self, from_address: int) -> Closing | None:
        context = self._context
        if context.draining:
            return closing.DRAINING
        if len(context.connections) >= context.limits.connections:
            return closing.OVERLOADED
        if context.limits.per_address and from_address >= context.limits.per_address:
            return closing.RATE_LIMITED
        return None

    def _farewell(self, code: int, reason: str) -> None:
        """Close a WebSocket that never had a session; what the client has sent by now is read and dropped, since
        unread bytes would reset the connection and take our reason from the client."""
        self._context.counters.closes.add(str(code))
        self._transport.write(close_frame(code, reason))
        self._refused = True
        self._timeout = self._context.loop.call_later(CLOSE_TIMEOUT, self._transport.close)

    def _refuse(self, status: str, text: str) -> None:
        self._timeout.cancel()
        self._transport.write(refuse(status, text))
        self._transport.close()
