"""For authors of plugins: a node in memory, clients to type with, and a clock to turn.

    async with MemoryNode([Greeter()]) as node:
        ada = await node.join("letters/1", token="ada")
        ada.doc.get("text", type=Text).insert(0, "hello")
        await node.settle()

Rooms, journal and snapshots behave as those of a server, without one. Plugins are asked as a relay asks them and told
what it tells; routes, the database and other services come with `api_shim.testing`.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, cast

from pycrdt import Doc, TransactionEvent

from relay.closing import Closing
from relay.codec.pool import CodecPool
from relay.control import Recheck
from relay.dispatch import Dispatch
from relay.errors import Deny
from relay.grants import Grant, Principal
from relay.hooks import (
    FACTS,
    ConnectAsked,
    Fact,
    GrantChanged,
    JoinAsked,
    Joined,
    Left,
    NodeStarted,
    NodeStopping,
    Plugin,
    heard,
)
from relay.journal.memory import MemoryJournal
from relay.metrics import Metrics
from relay.protocol.messages import Update
from relay.protocol.ywebsocket import decode
from relay.room.member import Member
from relay.room.registry import Registry
from relay.room.room import Limits, Room
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import NodeId, RoomId

__all__ = ["Clock", "Editor", "MemoryNode"]

ADDRESS = "127.0.0.1"
_HOOKS = {kind: hook for hook, kind in FACTS.items()}


class Clock:
    """Unix seconds that pass when they are told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Editor:
    """A client in a room: what is done to `doc` is sent, what others do arrives in it.

    grant: what it may do.  refused: how many of its edits were not let in.  closed: why it was sent away.
    """

    deflate = False
    paused = False

    def __init__(self, node: "MemoryNode", room: Room, principal: Principal, grant: Grant) -> None:
        self.doc: Doc[Any] = Doc()
        self.principal = principal
        self.refused = 0
        self.closed: Deny | None = None
        self.room = room
        self.member = Member(self, grant, self._sent_away)
        self._node = node
        self._applying = False
        node.registry.join(room, self.member)
        state = room.log.segments
        for update in [stored.segment.state for stored in state] + [u for f in room.log.flushes for u in f.payloads]:
            self._apply(update)
        self._subscription = self.doc.observe(self._changed)

    @property
    def grant(self) -> Grant:
        return self.member.grant

    def _changed(self, event: TransactionEvent) -> None:
        if self._applying or self.closed is not None:
            return
        if self.grant.readonly:
            self.refused += 1
            return
        self.room.submit(self.member, event.update)

    def _apply(self, update: bytes) -> None:
        self._applying = True
        try:
            self.doc.apply_update(update)
        finally:
            self._applying = False

    def write(self, data: bytes) -> None:
        """What the room sends."""
        for message in _messages(data):
            said = decode(message)
            if isinstance(said, Update):
                self._apply(said.update)

    def _sent_away(self, why: Closing) -> None:
        self.leave(Deny(why.reason, why.code))

    def leave(self, why: Deny | None = None) -> None:
        """Be gone."""
        self.closed = why or Deny("left", 1000)
        if self in self._node.editors:
            self._node.editors.remove(self)
            self._node.registry.leave(self.room, self.member)
            self._node.tell(Left(self.room.name, self.grant.actor, self.principal.session))


class MemoryNode:
    """A relay without sockets or services, with these plugins in this order."""

    def __init__(self, plugins: Sequence[Plugin], *, deadline: float = 5.0, idle_unload: float = 30.0) -> None:
        self.dispatch = Dispatch(plugins, deadline)
        self.id = NodeId("memory")
        self.editors: list[Editor] = []
        self.failures: list[Exception] = []
        self._idle_unload = idle_unload
        self._listening = [(plugin, hook) for plugin in plugins for hook in heard(plugin) if hook in FACTS]
        self._facts: list[Fact] = []

    async def __aenter__(self) -> Self:
        journal = MemoryJournal(self.id)
        metrics = Metrics()
        self._codec = CodecPool(1, metrics.counters)
        self.registry = Registry(
            self.id,
            journal,
            MemorySnapshotStore(),
            self._codec,
            metrics.counters,
            Limits(),
            idle_unload=self._idle_unload,
            tell=self.tell,
        )
        self.registry.start()
        self.tell(NodeStarted(self.id))
        return self

    async def __aexit__(self, *error: object) -> None:
        for editor in list(self.editors):
            editor.leave()
        self.tell(NodeStopping(self.id))
        await self.registry.close(5.0)
        await self.settle()
        await self._codec.close()

    async def connect(self, token: str = "", *, address: str = ADDRESS, origin: str = "") -> Principal:
        """Who the plugins say it is. Raises Deny."""
        return await self.dispatch.ask_connect(ConnectAsked(token, address, origin))

    async def join(self, room: str, *, token: str = "", principal: Principal | None = None) -> Editor:
        """A client that opens the room, as the holder of `token` or as somebody known. Raises Deny."""
        who = principal or await self.connect(token)
        grant = await self.dispatch.ask_join(JoinAsked(who, RoomId(room), ADDRESS))
        editor = Editor(self, await self.registry.open(RoomId(room)), who, grant)
        self.editors.append(editor)
        self.tell(Joined(RoomId(room), grant.actor, grant.name, who.session, grant.readonly))
        return editor

    async def recheck(self, *, room: str | None = None, actor: str | None = None, session: str | None = None) -> None:
        """Ask again about those clients, as relays do when grants have changed."""
        whose = Recheck(RoomId(room) if room is not None else None, actor, session)
        for editor in list(self.editors):
            who = editor.principal
            if (
                whose.room in (None, editor.room.name)
                and whose.actor in (None, who.actor)
                and whose.session in (None, who.session)
            ):
                await self._recheck(editor)

    async def _recheck(self, editor: Editor) -> None:
        try:
            grant = await self.dispatch.ask_join(JoinAsked(editor.principal, editor.room.name, ADDRESS))
        except Deny as denied:
            editor.leave(denied)
            return
        was, editor.member.grant = editor.grant, grant
        if was.readonly != grant.readonly:
            self.tell(GrantChanged(editor.room.name, grant.actor, editor.principal.session, grant.readonly))

    def tell(self, fact: Fact) -> None:
        """Tell the plugins a fact; it is heard at the next `settle`."""
        self._facts.append(fact)

    async def settle(self) -> None:
        """Until everything typed has arrived and is saved, and every fact was heard. What plugins raised on facts is in
        `failures`: a server counts it and goes on."""
        for room in self.registry.rooms.values():
            room.flush()
        while self.registry.unsaved_edits():  # noqa: ASYNC110  (no event says that all rooms are saved)
            await asyncio.sleep(0.001)
        for room in self.registry.rooms.values():
            self.registry.news.look(room)
        while self._facts:
            fact = self._facts.pop(0)
            for plugin, hook in self._listening:
                if hook == _HOOKS[type(fact)]:
                    try:
                        await cast(Callable[[Fact], Any], getattr(plugin, hook))(fact)
                    except Exception as error:
                        self.failures.append(error)


def _messages(data: bytes) -> Iterator[bytes]:
    """The payloads of a server's frames (RFC 6455, 5.2: not masked, here never in pieces)."""
    at = 0
    while at < len(data):
        length, at = data[at + 1], at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        yield data[at : at + length]
        at += length
