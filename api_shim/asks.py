"""The shim's end of the crossing: relays connect, ask, and are answered by the plugins."""

import asyncio
import hmac
import logging
import os
import socket
import struct
from typing import Any

from relay.crossing.wire import MAX_FRAME, VERSION, answer, argument, frame, receive
from relay.dispatch import Dispatch
from relay.errors import Deny, Malformed, RelayError, StartError
from relay.hooks import ASKS, JoinAsked, heard
from relay.tasks import spawn

__all__ = ["Asks"]

log = logging.getLogger("api_shim.asks")
HELLO = 5.0
"""Seconds for a relay to say who it is."""


class Asks:
    """Answers relays at `address` (`unix:...` of the same user, or `tcp://host:port` for those who know `secret`)."""

    def __init__(self, dispatch: Dispatch, secret: str = "") -> None:
        self._dispatch = dispatch
        self._secret = secret
        hooks = {hook for plugin in dispatch.plugins for hook in heard(plugin)}
        self._hooks = [hook for hook in ASKS if hook in hooks]
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self, address: str) -> None:
        """Take relays at `address` from now on. Raises StartError."""
        try:
            if address.startswith("unix:"):
                path = address.removeprefix("unix:")
                path = "\0" + path[1:] if path.startswith("@") else path
                server = await asyncio.start_unix_server(self._serve, path, limit=MAX_FRAME)
            else:
                host, _, port = address.removeprefix("tcp://").rpartition(":")
                server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=MAX_FRAME)
        except OSError as error:
            raise StartError(f"can't listen for relays at {address}: {error.strerror}") from None
        self._servers.append(server)

    @property
    def ports(self) -> list[int]:
        """The TCP ports it listens on."""
        named = [listening.getsockname() for server in self._servers for listening in server.sockets]
        return [name[1] for name in named if isinstance(name, tuple)]

    async def close(self) -> None:
        """Answer nobody any more."""
        for server in self._servers:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            async with asyncio.timeout(HELLO):
                node = self._greet(await receive(reader), writer.get_extra_info("socket"))
            writer.write(frame(["hello", self._hooks]))
            log.info("a relay asks from now on", extra={"node": node})
            while True:
                number, hook, said = await receive(reader)
                spawn(f"answer {hook}", self._answer(writer, number, hook, said))
        except (OSError, EOFError, TimeoutError):
            pass
        except (Malformed, ValueError, TypeError) as error:
            log.warning("a relay was sent away", extra={"error": str(error)})
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _greet(self, hello: Any, connected: socket.socket) -> str:
        if not isinstance(hello, list) or len(hello) != 4 or hello[0] != "hello":
            raise Malformed("no hello")
        _, version, secret, node = hello
        if version != VERSION:
            raise Malformed(f"a relay of another version asks: {version}, not {VERSION}")
        if connected.family == socket.AF_UNIX:
            # An abstract name has no file whose rights would keep others out.
            credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", credentials)[1] != os.geteuid():
                raise Malformed("a process of another user")
        elif not self._secret or not hmac.compare_digest(str(secret).encode(), self._secret.encode()):
            raise Malformed("a wrong secret")
        return str(node)

    async def _answer(self, writer: asyncio.StreamWriter, number: int, hook: str, said: object) -> None:
        try:
            ask = argument(hook, said)
            if isinstance(ask, JoinAsked):
                found = answer(await self._dispatch.join_opinion(ask))
            else:
                found = answer(await self._dispatch.connect_opinion(ask))
        except Deny as denied:
            found = answer(denied)
        except RelayError as error:
            found = answer(error)
        if not writer.transport.is_closing():
            writer.write(frame([number, *found]))
