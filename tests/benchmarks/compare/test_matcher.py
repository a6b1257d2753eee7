"""benchmarks/compare/matcher.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare.matcher import Faults, Reader, Room, Tally


def typed(edits: int, *, unit: int = 1, window: int = 0, states: bool = False) -> tuple[Tally, Room, Reader]:
    """A room in which one writer has sent that many edits within the window, a second apart, and its one reader."""
    tally = Tally()
    room = Room(1, tally, unit=unit, window=window, states=states)
    room.join(author=0)
    reader = room.join()
    room.begin()
    tally.counting = True
    for second in range(edits):
        room.send(0, float(second))
    return tally, room, reader


def read(reader: Reader, *edits: int, unit: int = 1) -> Faults:
    """What is wrong when it gets these edits, one by one, and then no more."""
    for edit in edits:
        reader.take([(0, edit * unit, (edit + 1) * unit)], 10.0)
    reader.room.close()
    return reader.tally.faults


def test_every_edit_once_and_in_order() -> None:
    """Nothing is wrong, each edit counts once, and its latency is from sent to read."""
    tally, room, reader = typed(3)
    assert not read(reader, 0, 1, 2)
    assert room.whole
    assert tally.delivered == 3
    assert list(tally.latencies) == [10.0, 9.0, 8.0]


@pytest.mark.parametrize("window", [0, 2])
@pytest.mark.parametrize("unit", [1, 7])
def test_a_lost_edit(window: int, unit: int) -> None:
    """One that never comes is lost, in the middle or at the end."""
    assert read(typed(4, unit=unit, window=window)[2], 0, 2, 3, unit=unit) == Faults(lost=1)
    assert read(typed(4, unit=unit, window=window)[2], 0, 1, unit=unit) == Faults(lost=2)


@pytest.mark.parametrize("window", [0, 2])
@pytest.mark.parametrize("unit", [1, 7])
def test_a_doubled_edit(window: int, unit: int) -> None:
    """One that comes twice is doubled, and counts once."""
    tally, _, reader = typed(3, unit=unit, window=window)
    assert read(reader, 0, 1, 1, 2, unit=unit) == Faults(doubled=1)
    assert tally.delivered == 3


def test_edits_out_of_order() -> None:
    """One that comes behind a later one is disordered, neither lost nor doubled, and counts once."""
    tally, _, reader = typed(4)
    assert read(reader, 0, 2, 1, 3) == Faults(disordered=1)
    assert tally.delivered == 4


def test_a_merge_that_repeats() -> None:
    """A range that holds what was read and what was not: the one is doubled, the other delivered."""
    tally, room, reader = typed(5)
    reader.take([(0, 0, 3)], 10.0)
    reader.take([(0, 1, 5)], 10.0)
    room.close()
    assert tally.faults == Faults(doubled=2)
    assert tally.delivered == 5


def test_an_edit_that_nobody_typed() -> None:
    """Read, but never sent."""
    assert read(typed(2)[2], 0, 1, 2) == Faults(unsent=1)


def test_an_author_is_not_a_reader_of_its_own() -> None:
    """What comes back to its author is not delivered, whether it comes or not."""
    tally, room, reader = typed(2)
    room.readers[0].take([(0, 1, 2), (0, 0, 1)], 10.0)
    assert not read(reader, 0, 1)
    assert tally.delivered == 2


def test_a_writer_that_waits_goes_on_when_the_last_reader_has_its_edit() -> None:
    """In a closed loop, the slowest reader sets the pace."""
    tally = Tally()
    room = Room(1, tally, window=2)
    room.join(author=0)
    first, second = room.join(), room.join()
    room.send(0, 0.0)
    room.send(0, 0.0)
    first.take([(0, 0, 2)], 1.0)
    assert (room.on_the_way(0), tally.ready) == (2, [])
    second.take([(0, 0, 1)], 1.0)
    assert (room.on_the_way(0), tally.ready) == (1, [(room, 0)])
    second.take([(0, 1, 2)], 1.0)
    assert room.on_the_way(0) == 0


def test_a_newer_cursor_replaces_an_older_one() -> None:
    """Of cursors the latest must arrive; one that was passed over is superseded, one that comes late disordered."""
    tally, room, reader = typed(4, states=True)
    reader.take([(0, 0, 1)], 10.0)
    reader.take([(0, 2, 3)], 10.0)
    reader.take([(0, 2, 3)], 10.0)
    assert (tally.superseded, bool(tally.faults)) == (1, False)
    reader.take([(0, 1, 2)], 10.0)
    assert tally.faults == Faults(disordered=1)
    room.close()
    assert tally.faults == Faults(disordered=1, lost=1)


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=3), st.sets(st.integers(0, 5)))
def test_any_order_with_copies_and_gaps(order: list[int], copies: list[int], lost: set[int]) -> None:
    """However edits come, every one is either delivered once or lost, and every further copy is doubled."""
    came = [edit for edit in order if edit not in lost]
    came += [edit for edit in copies if edit not in lost]
    tally, _, reader = typed(6)
    faults = read(reader, *came)
    assert faults.lost == len(lost)
    assert tally.delivered == 6 - len(lost)
    assert faults.doubled == sum(1 for edit in copies if edit not in lost)
    once = came[: 6 - len(lost)]
    assert faults.disordered == sum(1 for at, edit in enumerate(once) if at and edit < max(once[:at]))


def test_faults_in_words() -> None:
    """A report says which."""
    assert str(Faults()) == "none"
    assert str(Faults(lost=2, cut_off=1)) == "2 lost, 1 cut off"
