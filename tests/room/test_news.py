"""What plugins hear of rooms: when it happened, once, and not what others will tell."""

from typing import Any

from relay.hooks import Fact, RoomClosed, RoomEdited, RoomOpened, SnapshotWritten
from relay.room.log import Flush, Log
from relay.room.news import News
from relay.snapshot import Segment
from relay.types import Actor, Edit, NodeId, Position, RoomId

DOC = RoomId("doc")


class Here:
    """As much of a room as there is to tell of."""

    def __init__(self) -> None:
        self.name = DOC
        self.number = 0
        self.log = Log()


def room() -> Any:
    return Here()


def typed(room: Any, *actors: str, at: Position | None, node: str | None = None) -> Flush:
    room.number += 1
    flush = Flush(room.number, [Edit(Actor(actor), b"\0\0") for actor in actors], [b"\0\0"], [], {})
    flush.position, flush.node = at, NodeId(node) if node else None
    room.log.append(flush)
    return flush


class Ears(News):
    def __init__(self) -> None:
        self.heard: list[Fact] = []
        super().__init__(self.heard.append)

    def since(self) -> list[Fact]:
        heard, self.heard[:] = list(self.heard), []
        return heard


def test_edits_are_told_once_saved() -> None:
    """What was typed is told when the journal has it, with who wrote it and up to where, and only once."""
    here, news = room(), Ears()
    news.opened(here)
    assert news.since() == [RoomOpened(DOC, 0)]
    flush = typed(here, "bo", "ada", "bo", at=None)
    news.look(here)
    assert news.since() == []
    flush.position = Position(1, 2, 0)
    news.look(here)
    news.look(here)
    assert news.since() == [RoomEdited(DOC, "1:2-0", (Actor("ada"), Actor("bo")))]


def test_edits_of_other_relays_are_theirs_to_tell() -> None:
    """An edit that another relay journalled is not told here too."""
    here, news = room(), Ears()
    typed(here, "ada", at=Position(1, 1, 0), node="other")
    news.look(here)
    assert news.since() == []


def test_edits_stored_meanwhile() -> None:
    """What was typed and stored between two looks is told without its authors, and before the room closes."""
    here, news = room(), Ears()
    typed(here, "ada", at=Position(1, 1, 0))
    here.log.saved = 1
    here.log.replace(0, [Segment(None, Position(1, 1, 0), b"\0\0", b"")])
    news.stored(here, Position(1, 1, 0))
    news.closed(here)
    assert news.since() == [SnapshotWritten(DOC, "1:1-0", 2), RoomEdited(DOC, "1:1-0", ()), RoomClosed(DOC, 2)]


def test_nobody_listens() -> None:
    """Without a listener nothing is noted."""
    here, news = room(), News(None)
    news.opened(here)
    typed(here, "ada", at=Position(1, 1, 0))
    news.look(here)
    news.closed(here)
    assert news._told == {}
