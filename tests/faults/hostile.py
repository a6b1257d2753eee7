"""A plugin that misbehaves when told to, and is a good doorman otherwise. Its own distribution: see `install`."""

import asyncio
import os
import time
from pathlib import Path

from pydantic import BaseModel

from api_shim.context import Context
from api_shim.models import Model, Query
from api_shim.plugin import Plugin
from api_shim.route import Answer, Call, Route
from relay.errors import Deny
from relay.grants import Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked, Joined, RoomEdited, RoomOpened
from relay.types import Actor, RoomId

__all__ = ["Hostile", "install"]


class HostileSettings(BaseModel):
    """`orders`: a file with a word for each kind of hook: `ask:hang`, `fact:raise`, `start:raise`, ..."""

    orders: Path


class Length(Model):
    length: int
    address: str


class Whose(Query):
    room: str = ""
    session: str = ""


class Hostile(Plugin):
    name = "hostile"
    settings_type = HostileSettings

    async def start(self, context: Context) -> None:
        self.context = context
        self.kept: list[bytes] = []
        await self._obey("start")

    async def _obey(self, kind: str) -> None:
        for order in self.settings.orders.read_text().split():
            where, _, what = order.partition(":")
            if where != kind:
                continue
            match what:
                case "raise":
                    raise RuntimeError("as ordered")
                case "hang":
                    await asyncio.sleep(3600)
                case "block":
                    time.sleep(3600)
                case "leak":
                    self.kept.append(bytes(1 << 20))
                case "die":
                    os._exit(1)

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        await self._obey("ask")
        name, _, login = ask.token.partition(".")
        if not name:
            raise Deny("who are you?", 4401)
        return Principal(Actor(name), name, None, session=login)

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        await self._obey("ask")
        banned = self.settings.orders.with_name("banned")
        if banned.exists() and ask.principal.session in banned.read_text().split():
            raise Deny("logged out", 4401)
        readers = self.settings.orders.with_name("readers")
        reads = readers.exists() and ask.principal.actor in readers.read_text().split()
        return Grant(ask.principal.actor, ask.principal.name, reads)

    async def on_room_opened(self, fact: RoomOpened) -> None:
        await self._obey("fact")

    async def on_room_edited(self, fact: RoomEdited) -> None:
        await self._obey("fact")
        with self.settings.orders.with_name("heard").open("a") as heard:
            print(fact.room, *fact.actors, file=heard)

    async def on_joined(self, fact: Joined) -> None:
        await self._obey("fact")

    def routes(self) -> list[Route]:
        return [
            Route(
                method="POST", path="/v1/length", handler=self.length, summary="Count bytes.", answer=Length, raw=True,
                consumes=("application/octet-stream",), max_body=1 << 24, public=True,
            ),
            Route(
                method="POST", path="/v1/recheck", handler=self.recheck, summary="Recheck.", query=Whose, public=True
            ),
        ]  # fmt: skip

    async def length(self, call: Call) -> Answer:
        length = sum([len(chunk) async for chunk in call.chunks()])
        return Answer(Length(length=length, address=call.address))

    async def recheck(self, call: Call) -> None:
        room, session = call.query.room, call.query.session
        await self.context.rooms.recheck(room=RoomId(room) if room else None, session=session or None)


def install(site: Path) -> dict[str, str]:
    """Make a distribution of this file in `site`; the environment in which it is installed."""
    (site / "hostile.py").write_text(Path(__file__).read_text())
    info = site / "hostile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[relay.plugins]\nhostile = hostile:Hostile\n")
    orders = site / "orders"
    orders.write_text("")
    return {"PYTHONPATH": str(site), "RELAY_PLUGINS_HOSTILE_ORDERS": str(orders)}
