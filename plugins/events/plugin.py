"""The pull twin of webhooks, and what an operator needs: streams, groups and their lag, dead letters.

Events are of every workspace, so they are for services, tokens whose issuer gave them the scope `admin`, and those whom
the settings name. Any other scope only narrows: `events:read` leaves these reading, and gives nobody else anything,
since people choose the scopes of their own API keys.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC
from typing import Any, ClassVar

from pydantic import BaseModel

from api_shim.context import Context
from api_shim.paging import Page
from api_shim.plugin import Plugin
from api_shim.problems import Forbidden, Gone, Invalid, NotFound
from api_shim.route import Call, Route
from plugins.events.models import (
    DeadLetterOut,
    DeadLettersQuery,
    EventOut,
    EventsOut,
    EventsQuery,
    GroupOut,
    Seek,
    StreamOut,
)
from plugins.events.settings import EventsSettings
from relay.bus.dead_letters import DeadLetter
from relay.bus.store import Stored
from relay.bus.streams import StreamBus
from relay.contracts import EVENTS, TOPICS, Event
from relay.errors import Malformed

__all__ = ["Events"]

LOOK_EVERY = 0.2
"""Seconds between two looks for an event that somebody waits for."""


class Events(Plugin):
    """`/v1/events`, `/v1/event-streams`, `/v1/event-groups`, `/v1/dead-letters`."""

    name: ClassVar[str] = "events"
    settings_type: ClassVar[type[BaseModel] | None] = EventsSettings
    settings: Any = EventsSettings()

    async def start(self, context: Context) -> None:
        self.bus: StreamBus = context.bus

    def routes(self) -> Sequence[Route]:
        group, letter = "/v1/event-groups/{group}", "/v1/dead-letters/{letter}"
        return (
            Route(
                method="GET",
                path="/v1/events",
                handler=self.read,
                summary="Read events in order, waiting for the next if wanted",
                query=EventsQuery,
                answer=EventsOut,
                problems=(Gone,),
                timeout=40.0,
            ),
            *(
                Route(method="GET", path=path, handler=self._admin(work), summary=summary, answer=answer, tag="events")
                for path, work, summary, answer in (
                    ("/v1/event-streams", self.streams, "List the topics' streams", Page[StreamOut]),
                    ("/v1/event-groups", self.groups, "List the groups of consumers and their lag", Page[GroupOut]),
                    (letter, self.letter, "Look at a dead letter", DeadLetterOut),
                )
            ),
            Route(
                method="GET",
                path="/v1/dead-letters",
                handler=self._admin(self.letters),
                summary="List the events that groups gave up",
                query=DeadLettersQuery,
                answer=Page[DeadLetterOut],
                tag="events",
            ),
            Route(
                method="PUT",
                path=letter,
                handler=self._admin(self.edit),
                summary="Have another event tried in its place",
                body=EventOut,
                answer=DeadLetterOut,
                tag="events",
            ),
            Route(
                method="POST",
                path=f"{group}:seek",
                handler=self._admin(self.seek),
                summary="Have a group go on elsewhere",
                body=Seek,
                tag="events",
                problems=(Gone,),
            ),
            *(
                Route(method=method, path=path, handler=self._admin(work), summary=summary, tag="events")
                for method, path, work, summary in (
                    ("POST", f"{group}:pause", self.pause, "Have a group handle nothing until it is resumed"),
                    ("POST", f"{group}:resume", self.resume, "Have a paused group go on"),
                    ("POST", f"{group}:redrive", self.redrive_all, "Try all dead letters of a group once more"),
                    ("POST", f"{letter}:redrive", self.redrive, "Try a dead letter once more"),
                    ("DELETE", letter, self.discard, "Forget a dead letter"),
                )
            ),
        )

    async def read(self, call: Call) -> EventsOut:
        """Events come in the order in which they were published, each once. Pass the answer's `after` to go on; nothing
        that is published later comes before it."""
        _require(call, self.settings.admins, "events:read", "admin")
        query: EventsQuery = call.query
        if unknown := [type for type in query.type if type not in EVENTS]:
            raise Invalid(f"There is no event of the type {unknown[0]!r}.")
        if query.after == "now":
            at = await self.bus.store.newest()
        else:
            at = 0 if query.after is None else await self._position(query.after)
        until = time.monotonic() + query.wait
        while True:
            found = await self.bus.store.read(at, types=query.type, subject=query.subject, limit=query.limit)
            if found or time.monotonic() >= until:
                break
            await asyncio.sleep(LOOK_EVERY)
        last = found[-1].id if found else (None if query.after == "now" else query.after)
        return EventsOut(data=[one for each in found if (one := _stored(each))], after=last)

    async def streams(self, call: Call) -> Page[StreamOut]:
        """What is in Redis is what some group has not settled yet."""
        found = await self.bus.streams()
        return Page[StreamOut](
            data=[StreamOut(topic=name, position=found[name][0], entries=found[name][1]) for name in TOPICS]
        )

    async def groups(self, call: Call) -> Page[GroupOut]:
        """One item for each group and topic."""
        return Page[GroupOut](data=[GroupOut(**lag._asdict()) for lag in await self.bus.groups.lag()])

    async def pause(self, call: Call) -> None:
        """When this is answered, no handler of the group is running."""
        await _known(self.bus.groups.pause(call.path["group"]))

    async def resume(self, call: Call) -> None:
        """It goes on where it was."""
        await _known(self.bus.groups.resume(call.path["group"]))

    async def seek(self, call: Call) -> None:
        """Back, to handle events again, or forward, to leave some out. To rebuild a projection: pause, empty it, seek
        to the beginning, resume."""
        body: Seek = call.body
        if sum(each is not None for each in (body.after, body.time, body.to)) != 1:
            raise Invalid("Say one of `after`, `time` and `to`.")
        if body.after is not None:
            at = await self._position(body.after)
        elif body.time is not None:
            at = await self.bus.store.position_at(body.time if body.time.tzinfo else body.time.replace(tzinfo=UTC))
        else:
            at = 0 if body.to == "beginning" else await self.bus.store.newest()
        await _known(self.bus.groups.seek(call.path["group"], at))

    async def letters(self, call: Call) -> Page[DeadLetterOut]:
        """The oldest first."""
        query: DeadLettersQuery = call.query
        after = call.page.after
        found = await self.bus.dead_letters.list(
            name=query.group, after=int(after[0]) if after else 0, limit=call.page.limit + 1
        )
        shown = found[: call.page.limit]
        more = call.page.next(shown[-1].id) if len(found) > len(shown) else None
        return Page[DeadLetterOut](data=[_letter(each) for each in shown], next_cursor=more)

    async def letter(self, call: Call) -> DeadLetterOut:
        """With the error of its last attempt."""
        return _letter(await _known(self.bus.dead_letters.get(_id(call))))

    async def edit(self, call: Call) -> DeadLetterOut:
        """The event must be of the same topic. What it was is kept until it is redriven well."""
        body: EventOut = call.body
        try:
            event = Event.from_json(body.model_dump())
            await _known(self.bus.dead_letters.edit(_id(call), event))
        except (Malformed, ValueError) as error:
            raise Invalid(str(error)) from None
        return await self.letter(call)

    async def redrive(self, call: Call) -> None:
        """Soon; it is gone once that succeeded, and stays with its new error if not."""
        await _known(self.bus.dead_letters.redrive(_id(call)))

    async def redrive_all(self, call: Call) -> None:
        """As one by one."""
        await self.bus.dead_letters.redrive_all(call.path["group"])

    async def discard(self, call: Call) -> None:
        """The event stays in the event store."""
        await _known(self.bus.dead_letters.discard(_id(call)))

    def _admin(self, work: Callable[[Call], Awaitable[Any]]) -> Callable[[Call], Awaitable[Any]]:
        async def checked(call: Call) -> Any:
            _require(call, self.settings.admins, "admin")
            return await work(call)

        checked.__doc__, checked.__name__ = work.__doc__, getattr(work, "__name__", "checked")
        return checked

    async def _position(self, id: Any) -> int:
        at = await self.bus.store.position_of(id)
        if at is None:
            raise Gone("That event is not in the event store: not yet, not any more, or it never was.")
        return at


def _require(call: Call, admins: Collection[str], *scopes: str) -> None:
    who = call.who
    held = who.scopes or frozenset()
    entitled = who.kind == "service" or "admin" in held or who.actor in admins
    if not entitled or (who.scopes is not None and not held & set(scopes)):
        raise Forbidden("Events of all workspaces are for services and for those whom the settings name.")


async def _known(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except LookupError as error:
        raise NotFound(str(error)) from None


def _id(call: Call) -> int:
    text = call.path["letter"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound
    return int(text)


def _stored(stored: Stored) -> EventOut | None:
    try:
        return EventOut(**Event.decode(stored.body).json())
    except Malformed:
        return None  # of a type that only newer code has


def _letter(letter: DeadLetter) -> DeadLetterOut:
    event = letter.event
    return DeadLetterOut(
        id=str(letter.id),
        group=letter.name,
        topic=letter.topic,
        position=letter.position,
        event=EventOut(**event.json()) if event else None,
        body=base64.b64encode(letter.body).decode(),
        edited=letter.original is not None,
        error=letter.error,
        attempts=letter.attempts,
        failed=letter.failed,
        redrive=letter.redrive,
    )
