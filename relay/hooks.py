"""What a plugin may answer and hear. Subclass `Plugin` and override the methods you need.

Two kinds of hook, told apart by their name:

* `ask_*` is awaited and decides. It answers None ("no opinion") or a value, or raises `Deny`. Plugins are asked in the
  order of the settings; the first answer that is not None stands, the first Deny ends it. A plugin that raises anything
  else or does not answer within the deadline counts as a Deny: asks fail closed.
* `on_*` is told a fact that has happened. Facts reach each plugin in the order of the node that tells them, at least
  once while Redis is up, and wait for a plugin that is slow; a raising or hanging one is counted and costs a room
  nothing. What a node could not write down is lost: a fact is news, never the truth.

No hook is called per message. Every hook takes one frozen argument, so that fields can be added.
"""

import inspect
from dataclasses import dataclass, fields
from typing import ClassVar

from relay.grants import Grant, Principal
from relay.types import Actor, NodeId, RoomId

__all__ = [
    "ASKS",
    "FACTS",
    "Ask",
    "ConnectAsked",
    "Fact",
    "GrantChanged",
    "JoinAsked",
    "Joined",
    "Left",
    "NodeStarted",
    "NodeStopping",
    "Plugin",
    "RoomClosed",
    "RoomEdited",
    "RoomOpened",
    "SnapshotWritten",
    "heard",
    "markdown",
]


@dataclass(frozen=True, slots=True)
class ConnectAsked:
    """Somebody connects. `token` is empty when none was given; `address` is the peer's IP; `origin` may be empty."""

    token: str
    address: str
    origin: str


@dataclass(frozen=True, slots=True)
class JoinAsked:
    """Somebody who is connected wants to open a room, or is in it and is looked at again."""

    principal: Principal
    room: RoomId
    address: str


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A relay process serves."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class NodeStopping:
    """A relay process drains."""

    node: NodeId


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


@dataclass(frozen=True, slots=True)
class RoomEdited:
    """A room has changed since this was last told, at most a second ago while it is being edited.

    position: the last journal entry at that moment, as text (`relay.types.Position`).
    actors: who wrote, as far as still known; empty text for an anonymous author.
    """

    room: RoomId
    position: str
    actors: tuple[Actor, ...]


@dataclass(frozen=True, slots=True)
class SnapshotWritten:
    """All of a room up to `position` (text) is in PostgreSQL; `size` in bytes of the whole document."""

    room: RoomId
    position: str
    size: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A client is in a room. `session` as in `Principal`."""

    room: RoomId
    actor: Actor
    name: str
    session: str
    readonly: bool


@dataclass(frozen=True, slots=True)
class Left:
    """A client is no longer in a room, for whatever reason."""

    room: RoomId
    actor: Actor
    session: str


@dataclass(frozen=True, slots=True)
class GrantChanged:
    """A client that is in a room may now do more or less; one that may do nothing any more has `Left`."""

    room: RoomId
    actor: Actor
    session: str
    readonly: bool


Ask = ConnectAsked | JoinAsked
Fact = (
    NodeStarted | NodeStopping | RoomOpened | RoomClosed | RoomEdited | SnapshotWritten | Joined | Left | GrantChanged
)

ASKS: dict[str, type] = {"ask_connect": ConnectAsked, "ask_join": JoinAsked}
"""Every ask and what it takes."""

FACTS: dict[str, type] = {
    "on_node_started": NodeStarted,
    "on_node_stopping": NodeStopping,
    "on_room_opened": RoomOpened,
    "on_room_closed": RoomClosed,
    "on_room_edited": RoomEdited,
    "on_snapshot_written": SnapshotWritten,
    "on_joined": Joined,
    "on_left": Left,
    "on_grant_changed": GrantChanged,
}
"""Every fact and what it says."""


class Plugin:
    """The base of every plugin: answers nothing, hears nothing."""

    name: ClassVar[str] = "plugin"

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        """Who is this? Asked once for each token. Deadline: that of the dispatcher. No answer at all: denied."""

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        """What may they do in this room? Asked once for each join, and again when grants have changed. No answer at
        all: denied."""

    async def on_node_started(self, fact: NodeStarted) -> None:
        """A relay process serves."""

    async def on_node_stopping(self, fact: NodeStopping) -> None:
        """A relay process drains; one that was killed never says so."""

    async def on_room_opened(self, fact: RoomOpened) -> None:
        """A room was loaded into memory, by a node that had it not."""

    async def on_room_closed(self, fact: RoomClosed) -> None:
        """A room was stored and left a node's memory."""

    async def on_room_edited(self, fact: RoomEdited) -> None:
        """A room changed: told at most once a second by each node that was written to."""

    async def on_snapshot_written(self, fact: SnapshotWritten) -> None:
        """What was typed up to a position is in PostgreSQL."""

    async def on_joined(self, fact: Joined) -> None:
        """A client entered a room."""

    async def on_left(self, fact: Left) -> None:
        """A client left a room; of a node that was killed nobody says it."""

    async def on_grant_changed(self, fact: GrantChanged) -> None:
        """A client in a room became a reader, or a writer."""


def heard(plugin: Plugin) -> tuple[str, ...]:
    """The hooks that `plugin` overrides, in the order of `ASKS` and `FACTS`.

    Raises ValueError for one that nobody calls: a typo would else be silent.
    """
    for hook in dir(plugin):
        if hook.startswith(("ask_", "on_")) and not hasattr(Plugin, hook):
            raise ValueError(f"plugin {plugin.name!r} has a hook {hook!r} that nobody calls; see contrib/hooks.md")
    return tuple(hook for hook in (*ASKS, *FACTS) if getattr(type(plugin), hook) is not getattr(Plugin, hook))


def markdown() -> str:
    """The reference page, made of what is said above."""
    page = ["# Hooks", "", inspect.cleandoc(__doc__), "", "Written by `python -m relay.hooks`; do not edit."]
    for title, hooks in (("Asks", ASKS), ("Facts", FACTS)):
        page += ["", f"## {title}"]
        for hook, kind in hooks.items():
            page += ["", f"### {hook}", "", inspect.getdoc(getattr(Plugin, hook)) or ""]
            page += ["", f"Given a `{kind.__name__}`: {inspect.getdoc(kind)}", "", "| field | type |", "|---|---|"]
            page += [f"| `{field.name}` | `{_type(field.type)}` |" for field in fields(kind)]
    return "\n".join(page) + "\n"


def _type(of: object) -> str:
    """As it is written in code."""
    if isinstance(of, type):
        return of.__name__
    return getattr(of, "__name__", None) or str(of).replace("relay.types.", "")


if __name__ == "__main__":
    print(markdown(), end="")
