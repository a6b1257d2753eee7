"""What the events' API takes and answers."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api_shim.models import Model, Query
from api_shim.paging import PageQuery

__all__ = ["DeadLetterOut", "DeadLettersQuery", "EventOut", "EventsOut", "EventsQuery", "GroupOut", "Seek", "StreamOut"]


class EventsQuery(Query):
    """Which events, and for how long to wait for one."""

    after: UUID | Literal["now"] | None = Field(
        default=None, description="The id of the last event seen; `now` for those to come; without it, from the first."
    )
    type: list[str] = Field(default=[], max_length=100, description="Only of these types, such as `document.created`.")
    subject: str = Field(default="", max_length=512, description="Only about this.")
    limit: int = Field(default=100, ge=1, le=1000, description="How many at most.")
    wait: float = Field(default=0, ge=0, le=25, description="Seconds to wait for an event when there is none.")


class EventOut(Model):
    """One event. `data` is the message of its type, see contrib/events.md."""

    id: str
    time: str
    type: str
    version: int
    subject: str
    actor: str
    trace: str
    data: dict[str, Any]


class EventsOut(Model):
    """Events in order, and `after` for the next call: the last event looked at, also when it was of an unknown type."""

    data: list[EventOut]
    after: UUID | None


class StreamOut(Model):
    """A topic: its last position, and the entries in Redis (None while Redis is away)."""

    topic: str
    position: int
    entries: int | None


class GroupOut(Model):
    """A group of consumers in a topic. `lag` in events (counted up to 100,000), `age` of the oldest in seconds;
    `replaying`: it reads from the event store."""

    name: str
    topic: str
    position: int
    newest: int
    lag: int
    age: float
    paused: bool
    replaying: bool
    dead_letters: int


class Seek(Model):
    """Where a group goes on: after an event, with what came at a time and later, or at the beginning or the end."""

    after: UUID | None = Field(default=None, strict=False)
    time: datetime | None = Field(default=None, strict=False)
    to: Literal["beginning", "end"] | None = None


class DeadLettersQuery(PageQuery):
    """Which dead letters."""

    group: str = Field(default="", max_length=200, description="Only of this group.")


class DeadLetterOut(Model):
    """An event that a group gave up. `event` is None where the bytes are none; `body` is them in base64."""

    id: str
    group: str
    topic: str
    position: int
    event: EventOut | None
    body: str
    edited: bool
    error: str
    attempts: int
    failed: datetime
    redrive: bool
