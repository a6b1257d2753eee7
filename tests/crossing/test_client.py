"""A relay that asks the shim: answers in any order, and a clear no while it is away."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import until

from relay.crossing import client as module
from relay.crossing.client import Crossing, dial
from relay.crossing.wire import frame, receive
from relay.errors import StartError, Unavailable
from relay.grants import ANYONE
from relay.hooks import ConnectAsked, JoinAsked
from relay.types import NodeId, RoomId

ASK = ConnectAsked("token", "127.0.0.1", "")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A shim by hand, at a socket in a directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "s"
        self.address = f"unix:{self.path}"
        self.hellos: list[Any] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self, talk: Talk, hooks: tuple[str, ...] = ("ask_connect",)) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.writers.append(writer)
            self.hellos.append(await receive(reader))
            writer.write(frame(["hello", hooks]))
            try:
                await talk(reader, writer)
            except (EOFError, OSError):
                pass

        self._server = await asyncio.start_unix_server(serve, self.path)

    def stop(self) -> None:
        self._server.close()
        self.path.unlink()
        for writer in self.writers:
            writer.transport.abort()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1 << 20)
    await asyncio.sleep(60)


async def test_answers_in_any_order(server: Server) -> None:
    """Asks don't wait for each other."""

    async def backwards(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asks = [await receive(reader) for _ in range(3)]
        for number, _, said in reversed(asks):
            writer.write(frame([number, "principal", {"actor": said["token"], "name": "", "rooms": None}]))
        await asyncio.sleep(60)

    await server.start(backwards)
    crossing = Crossing(server.address, NodeId("n"), "secret")
    await crossing.start()
    found = await asyncio.gather(*(crossing.ask_connect(ConnectAsked(str(n), "", "")) for n in range(3)))
    assert [one.actor for one in found if one] == ["0", "1", "2"]
    assert server.hellos == [["hello", 1, "secret", "n"]]
    await crossing.close()
    server.stop()


async def test_hooks_that_nobody_has(server: Server) -> None:
    """What no plugin decides is not asked at all."""
    await server.start(silence)
    crossing = Crossing(server.address, NodeId("n"))
    await crossing.start()
    assert await crossing.ask_join(JoinAsked(ANYONE, RoomId("r"), "")) is None
    await crossing.close()
    server.stop()


async def test_away_and_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks under way and new ones fail at once while the shim is away; then they are answered again."""
    await server.start(silence)
    crossing = Crossing(server.address, NodeId("n"))
    await crossing.start()
    asking = asyncio.gather(crossing.ask_connect(ASK), return_exceptions=True)
    await asyncio.sleep(0.01)
    server.stop()
    assert isinstance((await asking)[0], Unavailable)
    with pytest.raises(Unavailable):
        await crossing.ask_connect(ASK)

    async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, _, _ = await receive(reader)
        writer.write(frame([number, "none", None]))
        await asyncio.sleep(60)

    await server.start(nobody)
    await until(lambda: crossing._writer is not None)
    assert await crossing.ask_connect(ASK) is None
    await crossing.close()
    server.stop()


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", b"\0\0\0\2no", frame([1]), frame([1, "what", None])])
async def test_nonsense(server: Server, said: bytes) -> None:
    """A shim that talks nonsense is hung up on, or its answer counts as none."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receive(reader)
        writer.write(said)
        await reader.read()

    await server.start(babble)
    crossing = Crossing(server.address, NodeId("n"))
    await crossing.start()
    with pytest.raises(Exception, match=r"went away|unknown answer"):
        await asyncio.wait_for(crossing.ask_connect(ASK), 20)
    await crossing.close()
    server.stop()


async def test_nobody_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay whose plugins can't be asked does not start, and says whom it asked."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    with pytest.raises(StartError, match=str(server.path)):
        await Crossing(server.address, NodeId("n")).start()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_dial_tcp(host: str) -> None:
    """A shim on another host is reached over TCP."""
    server = await asyncio.start_server(lambda reader, writer: writer.write(b"x"), host.strip("[]"), 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await dial(f"tcp://{host}:{port}")
    assert await reader.read(1) == b"x"
    writer.close()
    server.close()
