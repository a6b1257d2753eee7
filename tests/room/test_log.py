"""What was typed, in order: segments, then flushes."""

from fakes import Peer, typed

from relay.room.log import Flush, Log, Stored
from relay.snapshot import Segment
from relay.types import Actor, Edit, Position


def flush(number: int, position: int | None = None) -> Flush:
    made = Flush(number, [Edit(Actor(""), typed(1, number))], [typed(1, number)], [Peer()], {})
    made.position = Position(1, position, 0) if position else None
    return made


def log(saved: int, unsaved: int) -> Log:
    made = Log()
    for number in range(1, saved + unsaved + 1):
        made.append(flush(number, number if number <= saved else None))
    made.saved = saved
    return made


def segment(upto: int, size: int = 10) -> Segment:
    return Segment(None, Position(1, upto, 0), b"x" * size, b"")


def test_journalled_and_unsaved() -> None:
    """The flushes up to the first that the journal lacks may be snapshotted; the others must be appended."""
    made = log(2, 3)
    assert [f.number for f in made.journalled()] == [1, 2]
    assert [f.number for f in made.unsaved()] == [3, 4, 5]
    assert made.saved_positions() == {Position(1, 1, 0), Position(1, 2, 0)}


def test_replace_while_more_arrives() -> None:
    """A snapshot takes in the flushes it was made of; those appended meanwhile stay, and sizes add up."""
    made = log(2, 1)
    made.append(flush(4))
    made.replace(0, [segment(2)])
    assert [f.number for f in made.flushes] == [3, 4]
    assert made.saved == 0
    assert made.segments[0].number == 2
    assert made.tail_size == sum(f.size for f in made.flushes)
    assert made.size == made.tail_size + 10
    assert made.upto() == Position(1, 2, 0)


def test_replace_later_segments() -> None:
    """Segments merged into the new one go; the earlier ones stay."""
    made = Log([segment(1), segment(2), segment(3)])
    made.append(flush(1, 4))
    made.saved = 1
    made.replace(1, [segment(4, 30)])
    assert [stored.segment.upto.ms for stored in made.segments] == [1, 4]
    assert made.size == 40
    assert made.tail_size == 0


def test_merged_out_of_order() -> None:
    """A segment is as late as the latest flush in it, also when the journal had that one before earlier ones."""
    made = log(0, 2)
    late = flush(3, 1)
    made.absorb(late)
    made.replace(0, [segment(1)])
    for number, one in enumerate(made.flushes, 2):
        one.position = Position(1, number, 0)
    made.saved = 2
    made.replace(0, [segment(3)])
    assert made.after(2)[0] == [segment(3)]


def test_merge_without_flushes() -> None:
    """Merging segments alone keeps the number of the last flush in them: nobody is sent them for nothing."""
    made = log(2, 0)
    made.replace(0, [segment(2)])
    made.replace(0, [segment(2)])
    assert made.segments[0].number == 2
    assert made.after(2) == ([], [])


def test_after() -> None:
    """A reader that has the flushes up to a number lacks the later ones, and segments that hold a later one."""
    made = log(5, 0)
    made.replace(0, [segment(3)])
    segments, flushes = made.after(1)
    assert len(segments) == 1
    assert [f.number for f in flushes] == [4, 5]
    segments, flushes = made.after(4)
    assert segments == []
    assert [f.number for f in flushes] == [5]


def test_stored_before_it_was_loaded() -> None:
    """Segments from before the room was loaded are not part of any catch-up: joiners ask for them."""
    made = Log([segment(1)])
    assert made.after(0) == ([], [])


def test_edits_of_others() -> None:
    """A flush knows the edits that one of its authors did not make."""
    ada, bob = Peer(), Peer()
    edits = [Edit(Actor(""), typed(1, 0)), Edit(Actor(""), typed(2, 0)), Edit(Actor(""), typed(1, 1))]
    made = Flush(1, edits, [], [ada, bob, ada], {})
    assert made.of_others(ada) == [typed(2, 0)]
    assert made.of_others(bob) == [typed(1, 0), typed(1, 1)]


def test_edits_of_others_after_it_was_saved() -> None:
    """Whose edits they were is not kept; a flush that the journal forgot again is everybody's."""
    made = Flush(1, [Edit(Actor(""), typed(1, 0))], [typed(1, 0)], [], {Peer(): 1})
    assert made.of_others(Peer()) == [typed(1, 0)]


def test_stored_before_the_answer_came() -> None:
    """Flushes at places that the segments hold are let go; those that wait, and later ones, stay."""
    made = log(3, 1)
    made.segments.append(log_end(2))
    made.let_go_of_stored()
    assert [(f.number, made.saved) for f in made.flushes] == [(3, 1), (4, 1)]
    assert made.size == 10 + made.tail_size
    assert not made.stored(Position(2, 1, 0))


def log_end(upto: int) -> Stored:
    return Stored(segment(upto), 2)
