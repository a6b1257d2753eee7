"""Counts who came to each document; the lounge is for everybody to read and for members to write in."""

from datetime import datetime

from pydantic import BaseModel, Field

from api_shim.context import Context
from api_shim.models import Model
from api_shim.plugin import Plugin
from api_shim.problems import NotFound
from api_shim.route import Call, Route
from relay.errors import Deny
from relay.grants import Grant
from relay.hooks import JoinAsked, Joined

__all__ = ["Visits"]


class VisitsSettings(BaseModel):
    """`[plugins.visits]` in relay.toml, or RELAY_PLUGINS_VISITS_... in the environment."""

    lounge: str = Field("lounge", description="Name of the document that only members may write in.")
    members: list[str] = Field([], description="Who they are.")
    banned: list[str] = Field([], description="Who may come in nowhere.")


class Visit(Model):
    """Somebody who came."""

    actor: str
    visits: int
    last: datetime


class Visitors(Model):
    """Everybody who came, the latest first."""

    visitors: list[Visit]


class Visits(Plugin):
    """Who came to each document."""

    name = "visits"
    settings_type = VisitsSettings
    migrations = "visits.migrations"

    async def start(self, context: Context) -> None:
        self.context = context

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        actor = ask.principal.actor
        if actor in self.settings.banned:
            raise Deny("you are not welcome here")
        if ask.room == self.settings.lounge:
            return Grant(actor, ask.principal.name, readonly=actor not in self.settings.members)
        return None  # others decide

    async def on_joined(self, fact: Joined) -> None:
        await self.context.database.execute(
            """
            INSERT INTO visits.visit (room, actor) VALUES ($1, $2)
            ON CONFLICT (room, actor) DO UPDATE SET visits = visit.visits + 1, last = now()
            """,
            fact.room,
            fact.actor,
        )

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET", path="/v1/visits/{room:path}", handler=self.visitors, answer=Visitors,
                summary="Who came to a document.", problems=(NotFound,),
            )
        ]  # fmt: skip

    async def visitors(self, call: Call) -> Visitors:
        """The latest hundred; 404 for a document that nobody ever came to."""
        rows = await self.context.database.fetch(
            "SELECT actor, visits, last FROM visits.visit WHERE room = $1 ORDER BY last DESC LIMIT 100",
            call.path["room"],
        )
        if not rows:
            raise NotFound("Nobody ever came to this document.")
        return Visitors(visitors=[Visit(**row) for row in rows])
