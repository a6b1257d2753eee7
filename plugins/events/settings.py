"""The settings of the plugin `events`."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EventsSettings"]


class EventsSettings(BaseModel):
    """`[plugins.events]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    admins: tuple[str, ...] = Field(
        default=(),
        description="Actors, mostly ids of accounts, who may read all events and look after their consumers.",
    )
