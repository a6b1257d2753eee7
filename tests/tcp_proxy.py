"""A network between a relay and a service, to be cut: connections are accepted here and passed on, or not."""

import asyncio
import contextlib
import socket
import struct
from pathlib import Path
from typing import Self

CHUNK = 65536
RST = struct.pack("ii", 1, 0)


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.heard = b""
        """The beginning of what the client said."""

    def reset(self) -> None:
        """End both sides at once, without the farewell that a closed connection has."""
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            writer.transport.abort()


class Proxy:
    """Listens on a loopback port for a service on a unix socket.

    refusing: nobody is let in. silent: nothing passes in any direction, and nobody is told; connections are taken and
    stay open. up, down: whether what clients, or the service, say is passed on. delay: seconds that everything takes.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.port = 0
        self.delay = 0.0
        self.refusing = False
        self.links: list[_Link] = []
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.passes()

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what the network does --

    def passes(self, *, up: bool = True, down: bool = True) -> None:
        """Everything passes, or nothing does in a direction and nobody is told: what is said there waits."""
        self.refusing = False
        for event, passing in ((self._up, up), (self._down, down)):
            event.set() if passing else event.clear()

    def swallows(self, *, up: bool = True, down: bool = True) -> None:
        """A black hole: connections are accepted and stay, what is said into them is not passed on."""
        self.passes(up=not up, down=not down)

    def cut(self, naming: bytes = b"") -> int:
        """Reset the connections there are, those whose client began with `naming` in what it said; how many."""
        chosen = [link for link in self.links if naming in link.heard]
        for link in chosen:
            link.reset()
        return len(chosen)

    def refuses(self) -> None:
        """Every connection is reset, and so is every new one."""
        self.refusing = True
        self.cut()

    # -- connections --

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refusing:
            _Link(writer, writer).reset()
            return
        try:
            there, server = await asyncio.open_unix_connection(str(self.target), limit=CHUNK)
        except OSError:
            _Link(writer, writer).reset()
            return
        link = _Link(writer, server)
        self.links.append(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, server, self._up, link))
                group.create_task(self._pass(there, writer, self._down, None))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.links.remove(link)
            link.reset()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passing: asyncio.Event, link: _Link | None
    ) -> None:
        while data := await source.read(CHUNK):
            if link is not None and len(link.heard) < 4096:
                link.heard += data
            if self.delay:
                await asyncio.sleep(self.delay)
            await passing.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError  # half-open is of no use to these protocols: the other side is let go too
