"""A shim with plugins of the test's own: asked by relays, told facts, serving routes, writing to rooms."""

import pytest
from conftest import Valkey
from fakes import until
from pycrdt import Doc, Text
from shim import running

from api_shim.context import Context
from api_shim.models import Model
from api_shim.plugin import Plugin
from api_shim.route import Call, Route
from relay.crossing.client import Crossing
from relay.errors import Deny
from relay.grants import Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked
from relay.types import Actor, NodeId, RoomId

ADA = Principal(Actor("ada"), "Ada", None, None, "login-1", "human", frozenset({"a:b"}))


class Greeting(Model):
    text: str


class Doorman(Plugin):
    """Knows Ada by her token, and greets her."""

    name = "doorman"

    async def start(self, context: Context) -> None:
        self.context = context

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        return ADA if ask.token == "ada" else None

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        if ask.room == "secret":
            raise Deny("not for you")
        return Grant(ask.principal.actor, ask.principal.name, ask.room == "read")

    def routes(self) -> list[Route]:
        return [Route(method="GET", path="/v1/greeting", handler=self.greet, summary="Greet.", answer=Greeting)]

    async def greet(self, call: Call) -> Greeting:
        return Greeting(text=f"Hello, {call.who.name}")


async def test_routes_of_a_plugin(postgres: str, valkey: Valkey) -> None:
    """A plugin's routes are served to whom it knows."""
    async with running([Doorman()], postgres=postgres, redis=valkey.url) as shim:
        status, body, _ = await shim.call("GET", "/v1/greeting", token="ada")
        assert (status, body) == (200, {"text": "Hello, Ada"})
        status, body, _ = await shim.call("GET", "/openapi.json")
        assert "/v1/greeting" in body["paths"]


async def test_asked_by_a_relay(postgres: str, valkey: Valkey) -> None:
    """What a plugin answers arrives at the relay as it was, denials too."""
    async with running([Doorman()], postgres=postgres, redis=valkey.url) as shim:
        crossing = Crossing(shim.shim.settings.shim or "", NodeId("relay"))
        await crossing.start()
        assert crossing.asks == {"ask_connect", "ask_join"}
        asked = shim.shim.api_metrics.plugin_seconds["doorman"].count
        assert await crossing.ask_connect(ConnectAsked("ada", "127.0.0.1", "")) == ADA
        with pytest.raises(Deny, match="nobody here knows this token"):
            await crossing.ask_connect(ConnectAsked("bo", "127.0.0.1", ""))
        grant = await crossing.ask_join(JoinAsked(ADA, RoomId("read"), "127.0.0.1"))
        assert grant == Grant(Actor("ada"), "Ada", readonly=True)
        with pytest.raises(Deny, match="not for you"):
            await crossing.ask_join(JoinAsked(ADA, RoomId("secret"), "127.0.0.1"))
        assert shim.shim.api_metrics.plugin_seconds["doorman"].count == asked + 4
        assert not shim.shim.api_metrics.plugin_failures
        await crossing.close()


async def test_edit_a_room(postgres: str, valkey: Valkey) -> None:
    """What a plugin writes to a room is there for whoever reads it, and survives the room's leaving memory."""
    async with running([Doorman()], postgres=postgres, redis=valkey.url) as shim:
        rooms, room = shim.context("doorman").rooms, RoomId("shim/edited")
        assert (await rooms.state(room)).position is None
        doc = Doc({"text": Text("hello")})
        await rooms.edit(room, doc.get_update(), Actor("ada"))
        got = Doc[Text]()
        got.apply_update((await rooms.state(room)).update)
        assert str(got.get("text", type=Text)) == "hello"
        await until(lambda: room not in shim.shim.registry.rooms, 15)
        assert await shim.shim.journal.length(room) == 0
        got = Doc[Text]()
        got.apply_update((await rooms.state(room)).update)
        assert str(got.get("text", type=Text)) == "hello"
        assert await rooms.delete(room)
        assert (await rooms.state(room)).position is None
