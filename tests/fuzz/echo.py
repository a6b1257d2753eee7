"""An echo server on the relay's own WebSocket connection, for a conformance suite to talk to:

    python tests/fuzz/echo.py 9001 & wstest -m fuzzingclient -s spec.json

The relay takes no text frames (1003); with `--text` this server echoes them like any others, so that the suite's cases
on fragments, compression and sizes, most of which use text, test the same code. What remains out of reach are its
cases on the validity of UTF-8 (section 6 and 7.5.1).
"""

import argparse
import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from websockets.frames import Frame, Opcode

from relay.metrics import Counters
from relay.protocol.frames import Inbox, header
from relay.protocol.handshake import accept, negotiate, parse_request
from relay.server.connection import Connection
from relay.server.context import ConnectionLimits, Context


class Echo:
    """A session that says everything again."""

    name = "echo"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.text = False

    def receive(self, message: bytes) -> None:
        self.connection.write(header(len(message), 0x81 if self.text else 0x82) + message)

    def lost(self) -> None:
        pass

    def tick(self) -> None:
        pass

    def places(self) -> list[Any]:
        return []


class TextInbox(Inbox):
    """Takes text for binary, and tells the session which it was."""

    __slots__ = ("echo",)
    echo: Echo

    def _receive_event(self, event: Frame, messages: list[bytes]) -> None:
        if event.opcode is Opcode.TEXT:
            self.echo.text, event.opcode = True, Opcode.BINARY
        elif event.opcode is Opcode.BINARY:
            self.echo.text = False
        super()._receive_event(event, messages)


class Door(asyncio.Protocol):
    """Reads the request's head, then makes way."""

    def __init__(self, context: Context, text: bool) -> None:
        self._context = context
        self._text = text
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        request = parse_request(head)
        extensions, extension = negotiate(request)
        self._transport.write(accept(request, extensions))
        connection = Connection(self._context, self._transport, "peer", extension)
        connection.session = echo = Echo(connection)
        if self._text:
            connection._inbox = TextInbox(self._context.limits.message, extension)
            connection._inbox.echo = echo
        self._transport.set_protocol(connection)
        if rest:
            connection.data_received(rest)


async def serve(port: int, text: bool) -> None:
    limits = ConnectionLimits(burst_messages=10**9, burst_bytes=10**12, slow_reader=1 << 30)
    stub: Any = SimpleNamespace()
    context = Context(stub, stub, Counters(), limits, authenticated=False)
    make: Callable[[], asyncio.Protocol] = lambda: Door(context, text)  # noqa: E731
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--text", action="store_true", help="echo text frames too")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.text))
