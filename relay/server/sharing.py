"""The port of one worker among several: a WebSocket goes to the worker that has its room, whoever accepted it.

y-websocket names the room in the request head, so such a client is passed on before anything was said to it. Hocuspocus
names it in its first message, which only comes after the handshake: the worker that accepted it answers that, waits
for the message, and passes on both. What such a socket opens later is served where its first document is.
"""

import asyncio
from functools import partial
from typing import cast

from websockets.extensions import Extension

from relay.errors import Deny, Malformed
from relay.protocol.frames import Inbox
from relay.protocol.handshake import Request, negotiate, parse_request
from relay.protocol.hocuspocus import room_of
from relay.protocol.messages import read_string
from relay.server.channel import room_id
from relay.server.context import Context
from relay.server.front import Front, HttpHandler
from relay.shard.handoff import MAX_BYTES, Handoff, Passed
from relay.tasks import spawn
from relay.types import RoomId

__all__ = ["SharingFront", "adopt"]

FIRST_MESSAGE_TIMEOUT = 1.0
"""Seconds after which a Hocuspocus client that has not named a document is served where it is."""


class SharingFront(Front):
    """A connection of which we do not know yet whose it is."""

    __slots__ = ("_extension", "_handoff", "_request", "_rest")

    def __init__(self, context: Context, http: HttpHandler, handoff: Handoff) -> None:
        super().__init__(context, http)
        self._handoff = handoff
        self._request: Request | None = None  # once its handshake is answered
        self._extension: Extension | None = None
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        if self._request is None or self._refused:
            super().data_received(data)
            return
        self._rest += data
        self._look(self._request)

    def eof_received(self) -> None:
        if self._request is not None:
            self._serve_here()

    def _upgrade(self, request: Request, rest: bytes) -> None:
        try:
            room = self._room(request.path) or self._first_document(request, rest)
        except (Deny, Malformed):
            super()._upgrade(request, rest)
            return
        if room is not None:
            if not self._pass_on(room, self._head, answered=False):
                super()._upgrade(request, rest)
            return
        answer = self._answer(request)
        if answer is None:
            return
        response, self._extension = answer
        self._transport.write(response)
        self._request, self._rest = request, rest
        self._timeout = self._context.loop.call_later(FIRST_MESSAGE_TIMEOUT, self._serve_here)

    def _look(self, request: Request) -> None:
        try:
            room = self._first_document(request, self._rest)
        except (Deny, Malformed):
            self._serve_here()
            return
        if room is None and len(self._rest) <= MAX_BYTES:
            return
        head = self._head[: self._head.index(b"\r\n\r\n") + 4]
        # What we have yet to write would come after what the other worker writes.
        written = not self._transport.get_write_buffer_size()
        if room is None or not written or not self._pass_on(room, head + self._rest, answered=True):
            self._serve_here()

    def _first_document(self, request: Request, data: bytes) -> RoomId | None:
        """The document that the first message among these frames is about; None while there is none. Raises Malformed
        and Deny for a client that says something else first: it wants an answer, and gets it here."""
        inbox = Inbox(MAX_BYTES, negotiate(request)[1] if self._context.limits.compression else None)
        for message in inbox.receive(data):
            return room_id(room_of(read_string(message, 0)[0]))
        if inbox.reply or inbox.ended is not None:
            raise Malformed("no document")
        return None

    def _pass_on(self, room: RoomId, data: bytes, *, answered: bool) -> bool:
        descriptor = self._transport.get_extra_info("socket").fileno()
        if not self._handoff.pass_on(room, descriptor, data, answered=answered):
            return False
        self._timeout.cancel()
        # Closes our descriptor; the connection lives on in the other's.
        self._transport.abort()
        return True

    def _serve_here(self) -> None:
        assert self._request is not None
        self._timeout.cancel()
        request, rest, self._request, self._rest = self._request, self._rest, None, b""
        self._serve(request, self._extension, rest)


class _AdoptedFront(Front):
    """A client that another worker passed on: it begins with what that one read."""

    __slots__ = ("_passed",)

    def __init__(self, context: Context, http: HttpHandler, passed: Passed) -> None:
        super().__init__(context, http)
        self._passed = passed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _, data, answered = self._passed
        # At once, before anything more is read.
        if not answered:
            self.data_received(data)
            return
        self._timeout.cancel()
        head, _, rest = data.partition(b"\r\n\r\n")
        request = parse_request(head)
        answer = self._answer(request)
        if answer is not None:
            self._serve(request, answer[1], rest)


def adopt(context: Context, http: HttpHandler, passed: Passed) -> None:
    """Serve a client that another worker passed on."""
    spawn("adopt a client", _adopt(context, http, passed), expected=(OSError,))


async def _adopt(context: Context, http: HttpHandler, passed: Passed) -> None:
    make = cast("type[asyncio.Protocol]", partial(_AdoptedFront, context, http, passed))
    await context.loop.connect_accepted_socket(make, passed.socket)
