"""Edits kept while the journal is away are bounded over all rooms together."""

import pytest
from fakes import FakeJournal, Peer, make_room, turns, typed

from relay import closing
from relay.errors import Deny
from relay.room.backlog import Backlog


def test_refused_from_the_limit_on() -> None:
    """What is already held stays; more is refused with a transient code."""
    backlog = Backlog(10)
    backlog.size = 9
    backlog.check()
    backlog.size = 10
    with pytest.raises(Deny) as refused:
        backlog.check()
    assert closing.CLOSINGS[refused.value.code].reconnect


async def test_room_counts_what_it_keeps() -> None:
    """Unsaved edits count while the journal is away, whichever room they are of, and no longer once it is back."""
    journal = FakeJournal()
    room = await make_room(journal)
    ada = Peer("ada")
    room.attach(ada)
    room.saving.backlog = Backlog(60)
    journal.down = True
    sent = 0
    with pytest.raises(Deny):
        for clock in range(10):
            room.submit(ada, typed(1, clock))
            sent += 1
            room.flush()
            await turns()
    assert 2 < sent < 10
    assert room.saving.backlog.size >= 60
    journal.down = False
    room.saving.resume(room.saving.epoch)
    await turns()
    assert room.saving.backlog.size == 0
    assert room.log.saved == sent
