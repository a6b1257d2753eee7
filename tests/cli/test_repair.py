"""`relay rooms repair`: what can be read is stored anew; a refusal changes nothing."""

import argparse
from collections.abc import Callable
from typing import Any

import pytest
from fakes import InlineCodec, deleted, held, typed

from relay.cli import repair as module
from relay.cli.repair import repair
from relay.cli.services import Services
from relay.errors import Malformed, RelayError
from relay.journal import Entry
from relay.journal.memory import MemoryJournal
from relay.room import outside
from relay.room.where import Holder
from relay.snapshot import Segment
from relay.snapshot.chain import check
from relay.snapshot.memory import MemorySnapshotStore
from relay.types import Actor, Edit, NodeId, Position, RoomId
from relay.yjs.update import parse

ROOM = RoomId("torn")
ROTTEN = b"\xff\xff\xff\xff\xff"
Run = Callable[..., Any]


class Strict(InlineCodec):
    """Refuses what can't be read, as the codec processes do."""

    async def compact(self, updates: Any) -> Any:
        for update in updates:
            parse(update)
        return await super().compact(updates)


class Checking(MemorySnapshotStore):
    """Refuses a chain that is not whole, as PostgreSQL's does; `ends`: where the rooms' rows say that chains end."""

    async def load(self, room: RoomId, *, even_quarantined: bool = False) -> list[Segment]:
        chain = await super().load(room, even_quarantined=even_quarantined)
        check(room, chain, chain[-1].upto if chain else None)
        return chain


@pytest.fixture
def services(valkey: Any) -> Services:
    codec: Any = Strict()
    return Services(MemoryJournal(NodeId("command")), Checking(), codec, valkey.url)


@pytest.fixture
def run(services: Services) -> Run:
    async def run(*, yes: bool = True, even_empty: bool = False) -> int:
        return await repair(services, argparse.Namespace(room=ROOM, yes=yes, even_empty=even_empty))

    return run


async def segment(services: Services, number: int, *updates: bytes, archived: bool = True) -> Segment:
    """The link with those updates, stored."""
    after = Position(1, number - 1, 0) if number > 1 else None
    upto = Position(1, number, 0)
    state, clocks = await services.codec.compact(list(updates))
    made = Segment(after, upto, state, clocks)
    if archived:
        edits = tuple(Edit(Actor("ann"), update) for update in updates)
        await services.snapshots.archive(ROOM, [Entry(upto, NodeId("n"), edits)])
    assert await services.snapshots.store(ROOM, made)
    return made


def rot(services: Services, link: int, **changes: Any) -> None:
    chain = services.snapshots._records[ROOM].chain  # type: ignore[attr-defined]
    chain[link] = chain[link]._replace(**changes)


async def content(services: Services, room: RoomId = ROOM) -> set[tuple[int, int]]:
    segments, entries = await outside.read(services.journal, services.snapshots, room)
    return held([s.state for s in segments] + [edit.update for entry in entries for edit in entry.edits])


async def test_from_history_and_journal(services: Services, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged segment is made again from the history; what only the journal has stays; the damaged bytes are kept."""
    await segment(services, 1, typed(1, 0, "abc"))
    await segment(services, 2, typed(1, 3, "d"), deleted(1, 0))
    await outside.write(services.journal, services.snapshots, ROOM, [Edit(Actor("ann"), typed(2, 0, "x"))])
    rot(services, 0, state=ROTTEN)
    assert await run(yes=False) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert await run() == 0
    said = capsys.readouterr().out
    assert "5 ids" in said
    assert "1 of 2 segments" in said
    assert "lost" not in said
    assert await content(services) == held([typed(1, 0, "abc"), typed(1, 3), typed(2, 0)])
    copies = [info for info in await services.snapshots.list() if info.room != ROOM]
    assert [info.quarantined for info in copies] == ["segment 1 of torn, as it was", "segment 2 of torn, as it was"]
    (kept,) = await services.snapshots.load(copies[0].room, even_quarantined=True)
    assert kept.state == ROTTEN


async def test_ids_that_are_lost_are_named(services: Services, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What a damaged segment held, and neither history nor journal has, is said before and after."""
    await segment(services, 1, typed(1, 0, "abc"), archived=False)
    await segment(services, 2, typed(2, 0, "d"))
    rot(services, 0, state=ROTTEN)
    for yes in (False, True):
        assert await run(yes=yes) == 0
        assert "lost: 3 ids that the segments should hold: 1:0+3" in capsys.readouterr().out
    assert await content(services) == {(2, 0)}


async def test_broken_links(services: Services, run: Run) -> None:
    """Where a link is missing the rest is stored as one segment, with what the history has of the missing one."""
    await segment(services, 1, typed(1, 0, "abc"))
    await segment(services, 2, typed(1, 3, "d"))
    await segment(services, 3, typed(1, 4, "e"))
    del services.snapshots._records[ROOM].chain[1]  # type: ignore[attr-defined]
    assert await run() == 0
    assert await content(services) == held([typed(1, 0, "abcde")])


@pytest.mark.parametrize("aside", [None, "looks odd"])
async def test_nothing_readable(services: Services, run: Run, aside: str | None) -> None:
    """No document is turned into an empty one unless that is asked for; a refusal leaves it as it was."""
    await segment(services, 1, typed(1, 0, "abc"), archived=False)
    rot(services, 0, state=ROTTEN)
    if aside is not None:
        await services.snapshots.quarantine(ROOM, aside)
    before = await services.snapshots.info(ROOM)
    with pytest.raises(RelayError, match="--even-empty"):
        await run()
    assert await services.snapshots.info(ROOM) == before
    assert await run(even_empty=True) == 0
    assert await content(services) == set()
    assert len(await services.snapshots.list()) == 2


@pytest.mark.parametrize("aside", [None, "looks odd"])
async def test_relay_that_does_not_let_go(
    services: Services, run: Run, aside: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is changed, and it says so."""
    await segment(services, 1, typed(1, 0, "abc"))
    rot(services, 0, state=ROTTEN)
    if aside is not None:
        await services.snapshots.quarantine(ROOM, aside)
    before = await services.snapshots.info(ROOM)

    async def who_has(*_: object) -> list[Holder]:
        return [Holder(NodeId("stuck"), True, 1, "", 0)]

    monkeypatch.setattr(module, "who_has", who_has)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with pytest.raises(RelayError, match=r"stuck still has torn open, and nothing was changed"):
        await run()
    assert await services.snapshots.info(ROOM) == before


async def test_stored_by_somebody_else(services: Services, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is refused leaves the document as it was."""
    await segment(services, 1, typed(1, 0, "abc"))
    store = services.snapshots.store

    async def refuse(room: RoomId, made: Segment) -> bool:
        return room != ROOM and await store(room, made)

    monkeypatch.setattr(services.snapshots, "store", refuse)
    with pytest.raises(RelayError, match="as it was"):
        await run()
    info = await services.snapshots.info(ROOM)
    assert info is not None
    assert info.quarantined is None
    assert await content(services) == held([typed(1, 0, "abc")])


async def test_unreadable_entries_stay_in_the_history(services: Services, run: Run) -> None:
    """An entry of the journal that nobody can read is archived as it is, and out of the way."""
    edits = [Edit(Actor("ann"), typed(1, 0)), Edit(Actor("eve"), ROTTEN), Edit(Actor("ann"), typed(1, 1))]
    for edit in edits:
        await outside.write(services.journal, services.snapshots, ROOM, [edit])
    assert await run() == 0
    assert await content(services) == {(1, 0), (1, 1)}
    archived = await services.snapshots.history(ROOM, None)
    assert [edit for entry in archived for edit in entry.edits] == edits


async def test_unknown_room(run: Run) -> None:
    """There is nothing to repair of what never was."""
    assert await run() == 1


async def test_strict_codec() -> None:
    """These tests' codec refuses what these tests call rotten."""
    with pytest.raises(Malformed):
        await Strict().compact([ROTTEN])
