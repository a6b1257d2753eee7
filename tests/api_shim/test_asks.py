"""The shim's door for relays: it knows its own, and outlives what strangers say."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api_shim.asks import Asks
from relay.crossing.client import Crossing, dial
from relay.crossing.wire import VERSION, frame, receive
from relay.dispatch import Dispatch
from relay.errors import Deny, StartError, Unavailable
from relay.grants import Principal
from relay.hooks import ConnectAsked, Plugin
from relay.types import Actor, NodeId

HELLO = frame(["hello", VERSION, "a secret of ours", "n"])


class Echo(Plugin):
    """Calls people what their token says; some tokens make it fail."""

    name = "echo"

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        match ask.token:
            case "deny":
                raise Deny("no", 4403)
            case "away":
                raise Unavailable("later")
            case "break":
                raise RuntimeError("bug")
            case "slow":
                await self.go_on.wait()
            case "none":
                return None
        return Principal(Actor(ask.token), "", None)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def asks(echo: Echo) -> AsyncIterator[Asks]:
    made = Asks(Dispatch([echo], deadline=10.0), "a secret of ours")
    yield made
    await made.close()


async def test_asks_are_answered_side_by_side(asks: Asks, echo: Echo, tmp_path: Path) -> None:
    """A slow answer keeps nobody waiting; every kind of answer arrives."""
    address = f"unix:{tmp_path}/s"
    await asks.listen(address)
    crossing = Crossing(address, NodeId("n"))
    await crossing.start()
    assert crossing.asks == {"ask_connect"}

    async def ask(token: str) -> Any:
        try:
            return await crossing.ask_connect(ConnectAsked(token, "", ""))
        except Exception as error:
            return error

    slow = asyncio.ensure_future(ask("slow"))  # noqa: TID251
    quick, none, deny, away, broken = await asyncio.gather(*map(ask, ("quick", "none", "deny", "away", "break")))
    assert not slow.done()
    echo.go_on.set()
    assert ((await slow).actor, quick.actor, none) == ("slow", "quick", None)
    assert (deny.reason, deny.code) == ("no", 4403)
    assert (away.code, broken.code) == (1013, 1011)
    assert "bug" not in broken.reason
    await crossing.close()


@pytest.mark.parametrize(
    "said",
    [
        frame(["hello", VERSION, "a wrong secret!!", "n"]),
        frame(["hello", VERSION + 1, "a secret of ours", "n"]),
        frame(["hello"]),
        frame({"hello": 1}),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\0\0\0\2{]",
    ],
)
async def test_strangers(asks: Asks, said: bytes) -> None:
    """Over TCP the secret is needed, and whatever else is said ends the connection."""
    await asks.listen("tcp://127.0.0.1:0")
    port = asks.ports[0]
    reader, writer = await dial(f"tcp://127.0.0.1:{port}")
    writer.write(said)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    reader, writer = await dial(f"tcp://127.0.0.1:{port}")
    writer.write(HELLO)
    assert await asyncio.wait_for(receive(reader), 5) == ["hello", ["ask_connect"]]
    writer.write(frame([1, "ask_connect", {"token": "t", "address": "", "origin": ""}]))
    assert (await asyncio.wait_for(receive(reader), 5))[1] == "principal"
    writer.close()


async def test_malformed_ask(asks: Asks) -> None:
    """An ask of another shape gets an answer that says so; the connection stays."""
    await asks.listen("tcp://127.0.0.1:0")
    reader, writer = await dial(f"tcp://127.0.0.1:{asks.ports[0]}")
    writer.write(HELLO + frame([1, "ask_nothing", {}]) + frame([2, "ask_connect", {"token": 1}]))
    await receive(reader)
    assert sorted([(await asyncio.wait_for(receive(reader), 5))[:2] for _ in range(2)]) == [[1, "away"], [2, "away"]]
    writer.close()


async def test_address_taken(asks: Asks, tmp_path: Path) -> None:
    """Said at the start."""
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="can't listen for relays"):
        await asks.listen(f"unix:{os.fspath(tmp_path)}/nowhere/s")
