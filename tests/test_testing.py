"""The kit for authors of plugins behaves as a relay does."""

import pytest
from pycrdt import Text

from relay.errors import Deny
from relay.grants import Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked, Joined, Left, Plugin, RoomEdited
from relay.testing import Clock, MemoryNode
from relay.types import Actor


class Library(Plugin):
    """Readers read, until they are banned."""

    name = "library"

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.readers: set[str] = set()
        self.banned: set[str] = set()

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        return Principal(Actor(ask.token), ask.token.title(), None, session=ask.token) if ask.token else None

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        actor = ask.principal.actor
        if actor in self.banned:
            raise Deny("banned", 4403)
        return Grant(actor, ask.principal.name, actor in self.readers)

    async def on_joined(self, fact: Joined) -> None:
        self.heard.append(fact)

    async def on_left(self, fact: Left) -> None:
        self.heard.append(fact)

    async def on_room_edited(self, fact: RoomEdited) -> None:
        self.heard.append(fact)
        if fact.room == "breaks":
            raise ValueError("as tested")


async def test_editors_share_a_room() -> None:
    """What one types another reads, now and when it comes later; the plugin hears who wrote."""
    library = Library()
    async with MemoryNode([library]) as node:
        ada, bo = await node.join("a", token="ada"), await node.join("a", token="bo")
        ada.doc.get("text", type=Text).insert(0, "hello")
        await node.settle()
        assert str(bo.doc.get("text", type=Text)) == "hello"
        bo.doc.get("text", type=Text).insert(5, " " + "world" * 100)
        await node.settle()
        late = await node.join("a", token="cy")
        assert str(late.doc.get("text", type=Text)) == "hello " + "world" * 100
        edits = [fact for fact in library.heard if isinstance(fact, RoomEdited)]
        assert [fact.actors for fact in edits] == [("ada",), ("bo",)]


async def test_grants() -> None:
    """Nobody unknown comes in; a reader's edits are refused; who is banned leaves at once."""
    library = Library()
    async with MemoryNode([library]) as node:
        with pytest.raises(Deny):
            await node.join("a")
        library.readers.add("bo")
        ada, bo = await node.join("a", token="ada"), await node.join("a", token="bo")
        bo.doc.get("text", type=Text).insert(0, "x")
        await node.settle()
        assert bo.refused == 1
        assert str(ada.doc.get("text", type=Text)) == ""
        library.readers.clear()
        library.banned.add("ada")
        await node.recheck(room="a")
        assert ada.closed is not None
        assert ada.closed.reason == "banned"
        assert not bo.grant.readonly
        await node.settle()
        assert Left("a", Actor("ada"), "ada") in library.heard  # type: ignore[arg-type]


async def test_failing_on_a_fact() -> None:
    """What a plugin raises on a fact is kept for the test to see, and stops nothing."""
    async with MemoryNode([Library()]) as node:
        ada = await node.join("breaks", token="ada")
        ada.doc.get("text", type=Text).insert(0, "x")
        await node.settle()
        assert [str(error) for error in node.failures] == ["as tested"]


def test_clock() -> None:
    """Time passes when told."""
    clock = Clock(100.0)
    clock.advance(5)
    assert clock() == 105.0
