"""What a plugin may answer and hear. Subclass `Plugin` and override the methods you need.

Two kinds of hook, told apart by their name:

* `ask_*` is awaited and decides. It answers None ("no opinion") or a value, or raises `Deny`. Plugins are asked in the
  order of the settings; the first answer that is not None stands, the first Deny ends it. A plugin that raises anything
  else or does not answer within the deadline counts as a Deny: asks fail closed.
* `on_*` is told a fact that has happened. Facts wait in a queue of each plugin; a slow or raising plugin is counted and
  costs a room nothing.

No hook is called per message.
"""

from dataclasses import dataclass

from relay.grants import Grant, Principal
from relay.types import RoomId

__all__ = ["ConnectAsked", "JoinAsked", "Plugin", "RoomClosed", "RoomOpened"]


@dataclass(frozen=True, slots=True)
class ConnectAsked:
    """Somebody connects. `token` is empty when none was given; `address` is the peer's IP; `origin` may be empty."""

    token: str
    address: str
    origin: str


@dataclass(frozen=True, slots=True)
class JoinAsked:
    """Somebody who is connected wants to open a room."""

    principal: Principal
    room: RoomId
    address: str


@dataclass(frozen=True, slots=True)
class RoomOpened:
    """A room was loaded; `size` in bytes."""

    room: RoomId
    size: int


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """A room left memory, stored; `size` in bytes."""

    room: RoomId
    size: int


class Plugin:
    """The base of every plugin: answers nothing, hears nothing."""

    name = "plugin"

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        """Who is this? Asked once for each token. Deadline: that of the dispatcher. No answer at all: denied."""

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        """What may they do in this room? Asked once for each join. No answer at all: denied."""

    async def on_room_opened(self, fact: RoomOpened) -> None:
        """A room was loaded into memory."""

    async def on_room_closed(self, fact: RoomClosed) -> None:
        """A room was stored and left memory."""
