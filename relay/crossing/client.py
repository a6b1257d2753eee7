"""The relay's end of the crossing: a plugin like any other, whose answers come from the shim.

While the shim is away every ask that it would decide is refused at once, with the advice to come back: asks fail
closed. The connection is made again in the background.
"""

import asyncio
import logging
import socket
from itertools import count
from typing import Any, cast

from relay.crossing.wire import MAX_FRAME, VERSION, Answer, frame, receive, value
from relay.errors import Malformed, StartError, Unavailable
from relay.grants import Grant, Principal
from relay.hooks import Ask, ConnectAsked, JoinAsked, Plugin
from relay.tasks import end, spawn
from relay.types import NodeId

__all__ = ["Crossing", "dial"]

log = logging.getLogger("relay.crossing")
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between tries to reach the shim."""
PATIENCE = 30.0
"""Seconds for the shim to be there when a relay starts."""
HELLO = 5.0


async def dial(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `unix:PATH` (a leading @ for the abstract namespace) or `tcp://host:port`. Raises OSError."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.setblocking(False)
            # uvloop has no abstract names; a Unix socket connects at once or not at all.
            connected.connect("\0" + path[1:] if path.startswith("@") else path)
            return await asyncio.open_unix_connection(sock=connected, limit=MAX_FRAME)
        except BaseException:
            connected.close()
            raise
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port), limit=MAX_FRAME)


class Crossing(Plugin):
    """Asks the shim at `address`; `secret` is what both know when it is reached over TCP."""

    name = "shim"

    def __init__(self, address: str, node: NodeId, secret: str = "") -> None:
        self.asks: frozenset[str] = frozenset()
        self._address = address
        self._node = node
        self._secret = secret
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns once the shim has said what it decides. Raises StartError."""
        connected = asyncio.Event()
        self._keeping = spawn("keep the way to the shim", self._keep(connected))
        try:
            async with asyncio.timeout(PATIENCE):
                await connected.wait()
        except TimeoutError:
            await self.close()
            raise StartError(f"the API process at {self._address} does not answer; is it started?") from None

    async def close(self) -> None:
        """Hang up."""
        await end(self._keeping)

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        return cast(Principal | None, await self._ask("ask_connect", ask))

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        return cast(Grant | None, await self._ask("ask_join", ask))

    async def _ask(self, hook: str, ask: Ask) -> Answer:
        if hook not in self.asks:
            return None
        if self._writer is None:
            raise Unavailable("the plugins can't be asked at the moment")
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(frame([number, hook, ask]))
            answer: Answer = await future
            return answer
        finally:
            self._waiting.pop(number, None)

    async def _keep(self, connected: asyncio.Event) -> None:
        pause = FIRST_PAUSE
        while True:
            writer = None
            try:
                reader, writer = await dial(self._address)
                async with asyncio.timeout(HELLO):
                    writer.write(frame(["hello", VERSION, self._secret, self._node]))
                    self.asks = frozenset(_hooks(await receive(reader)))
                self._writer = writer
                if connected.is_set():
                    log.info("the plugins can be asked again")
                connected.set()
                pause = FIRST_PAUSE
                await self._listen(reader)
            except (OSError, EOFError, TimeoutError, Malformed) as error:
                if self._writer is not None:
                    log.warning("the plugins can't be asked: nobody new is let in", extra={"error": repr(error)})
            finally:
                self._writer = None
                for future in self._waiting.values():
                    if not future.done():
                        future.set_exception(Unavailable("the plugins went away before they answered"))
                if writer is not None:
                    writer.transport.abort()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            message = await receive(reader)
            if not isinstance(message, list) or len(message) != 3:
                raise Malformed("an answer of another shape")
            number, kind, said = message
            future = self._waiting.get(number)
            if future is None or future.done():
                continue
            try:
                future.set_result(value(kind, said))
            except Exception as error:
                future.set_exception(error)


def _hooks(hello: Any) -> list[str]:
    if not isinstance(hello, list) or len(hello) != 2 or hello[0] != "hello":
        raise Malformed("no hello: another version, or another secret")
    return [str(hook) for hook in hello[1]]
