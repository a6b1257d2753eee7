"""What a room holds of a document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.yjs.compact import compact
from relay.yjs.known import Known, spans, summary
from relay.yjs.lib0 import write_uint
from relay.yjs.ranges import Ranges
from relay.yjs.update import parse
from relay.yjs.vector import decode_vector


def test_keystrokes_move_their_clients_clock(write) -> None:
    """Each is new once; the encoded vector follows."""
    known = Known()
    for clock in range(3):
        assert known.add(parse(write.keystroke(5, clock)))
        assert not known.add(parse(write.keystroke(5, clock)))
        assert decode_vector(known.encoded_vector()) == known.vector() == {5: clock + 1}


def test_struct_past_a_gap_is_held_but_not_in_the_vector(write) -> None:
    """The vector stops at the gap until it is filled, then takes in what was beyond."""
    known = Known()
    assert known.add(parse(write.keystroke(5, 2)))
    assert not known.add(parse(write.keystroke(5, 2)))
    assert (known.vector(), known.has_gaps) == ({}, True)
    assert known.add(parse(write.keystroke(5, 0)))
    assert (known.vector(), known.has_gaps) == ({5: 1}, True)
    assert known.add(parse(write.keystroke(5, 1)))
    assert (known.vector(), known.has_gaps) == ({5: 3}, False)
    assert decode_vector(known.encoded_vector()) == {5: 3}


def test_struct_across_what_is_held_beyond_a_gap_moves_on(write) -> None:
    """One struct fills a gap and passes the islands behind it, to the end of the last it touches."""
    for islands, until in (((3, 5), 9), ((3, 9), 10), ((3, 20), 9)):
        known = Known()
        for clock in islands:
            assert known.add(parse(write.keystroke(5, clock)))
        assert known.add(parse(write.update([(5, 0, [b"\0\x09"])])))
        assert (known.vector(), known.has_gaps) == ({5: until}, 20 in islands)
        assert not any(known.add(parse(write.keystroke(5, clock))) for clock in islands)


def test_repeated_delete_set_is_nothing_new(write) -> None:
    """A reconnecting client repeats its delete set; one more range is new, and the whole is what is sent on."""
    known = Known()
    first = write.update([], {300: [(0, 2), (5, 1)], 5: [(3, 1)]})
    assert known.add(parse(first))
    assert not known.add(parse(first))
    assert known.deletes_encoded() == first[1:]
    assert not known.add(parse(first))
    assert not known.add(parse(write.update([], {300: [(1, 1)]})))
    assert known.add(parse(write.update([], {300: [(2, 1)]})))
    assert b"\0" + known.deletes_encoded() == write.update([], {300: [(0, 3), (5, 1)], 5: [(3, 1)]})


def test_loaded_segments_are_known(write) -> None:
    """Structs, gaps and deletes of a chain of segments, as if their updates had been added."""
    log = [
        write.update([(5, 0, [write.text("abc")])], {5: [(1, 1)]}),
        write.keystroke(5, 3),
        write.update([(5, 6, [write.text("x", (5, 5))])], {9: [(0, 4)]}),
        write.update([], {5: [(2, 1)]}),
    ]
    known = Known()
    for part in (log[:1], log[1:2], log[2:]):
        segment = compact(part)
        known.load(segment.clocks, segment.state)
    assert (known.vector(), known.has_gaps) == ({5: 4}, True)
    assert [known.add(layout) for layout in write.parsed(log)] == [False] * 4
    assert b"\0" + known.deletes_encoded() == write.update([], {9: [(0, 4)], 5: [(1, 2)]})
    assert known.add(parse(write.update([(5, 4, [write.text("yz", (5, 3))])])))
    assert (known.vector(), known.has_gaps) == ({5: 7}, False)


def test_loading_takes_turns_with_others() -> None:
    """A segment by very many authors is taken in piece by piece, and then all of it is known."""
    structs = {client: Ranges([(0, 5), (9, 1)]) for client in range(1, 2001)}
    clocks = summary(structs, 1)
    known, at_once = Known(), Known()
    at_once.load(clocks, b"\0\0")
    seen = [len(known.vector()) for _ in known.loading(clocks, b"\0\0")]
    assert len(seen) > 3
    assert seen == sorted(set(seen))
    assert known.vector() == at_once.vector() == dict.fromkeys(structs, 5)
    assert list(spans(clocks)) == [(client, 0, 10) for client in sorted(structs, reverse=True)]


def test_loaded_delete_set_is_compared_as_bytes(write) -> None:
    """The step 2 of a client that has just what was loaded decodes nothing."""
    segment = compact([write.update([(5, 0, [write.text("abc")])], {5: [(1, 1)]})])
    known = Known()
    known.load(segment.clocks, segment.state)
    assert not known.add(parse(segment.state))
    assert known._loaded == [b"\1\5\1\1\1"]


@pytest.mark.parametrize("clocks", [b"", b"\1", b"\2\0", b"\1\0\0", b"\1\1\5\1\0"])
def test_summary_that_does_not_fit_is_malformed(clocks: bytes) -> None:
    """Cut short, with bytes behind, or pointing past its state."""
    with pytest.raises(Malformed):
        Known().load(clocks, b"\0\0")


def test_summary_names_the_delete_set_and_the_clocks() -> None:
    """Where the deletes begin, then the ranges as a delete set is written."""
    assert summary({5: Ranges([(0, 3)])}, 300) == write_uint(300) + b"\1\5\1\0\3"


@given(st.data())
def test_known_agrees_with_the_set_of_what_was_added(write, data: st.DataObject) -> None:
    """New or not, the vector, and the deletes, for updates in any order, repeated, with gaps, loaded or added."""
    log = data.draw(write.logs())
    known = Known()
    units: set[tuple[int, int]] = set()
    deleted: set[tuple[int, int]] = set()
    for update in data.draw(st.lists(st.sampled_from(log), max_size=15)):
        layout = parse(update)
        if data.draw(st.integers(0, 3)) == 0:
            segment = compact([update])
            known.load(segment.clocks, segment.state)
            more = write.meaning(parse(segment.state))
        else:
            more = write.meaning(layout)
            assert known.add(layout) is bool(set(more[0]) - units or more[1] - deleted)
        units |= set(more[0])
        deleted |= more[1]
    vector = known.vector()
    assert decode_vector(known.encoded_vector()) == vector
    for client in {client for client, _ in units}:
        clocks = {clock for other, clock in units if other == client}
        contiguous = next(clock for clock in range(len(clocks) + 1) if clock not in clocks)
        assert vector.get(client, 0) == contiguous
    assert known.has_gaps is (len(units) > sum(vector.values()))
    assert write.meaning(parse(b"\0" + known.deletes_encoded()))[1] == deleted


def test_covers_agrees_with_load() -> None:
    """Whether a summary brings anything new is what loading it would say, for structs, gaps and deletes."""
    known = Known()

    def brings(update: bytes) -> bool:
        layout = parse(update)
        structs = {
            client: Ranges((clock, length) for clock, length, _, _ in found) for client, found in layout.structs.items()
        }
        clocks = summary(structs, layout.deletes_at)
        new = not known.covers(clocks, update)
        assert new == (not known.holds(layout))
        known.load(clocks, update)
        return new

    first = b"\1\1\1\0\x04\1\1t\3abc\0"
    beyond = b"\1\1\1\5\x84\1\4\1z\0"
    assert [brings(first), brings(first), brings(beyond), brings(beyond)] == [True, False, True, False]
    assert [brings(b"\0\1\1\1\0\2"), brings(b"\0\1\1\1\0\1"), brings(b"\0\1\1\1\1\2")] == [True, False, True]
