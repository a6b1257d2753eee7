"""What a room holds of a document."""

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.yjs.compact import compact
from relay.yjs.known import Known, spans, summary
from relay.yjs.lib0 import write_uint
from relay.yjs.merge import merge
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
    assert [known.add(layout) for layout in write.parsed(log)] == [None] * 4
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
            fresh = known.add(layout)
            assert (fresh is not None) == bool(set(more[0]) - units or more[1] - deleted)
            if fresh is not None:
                there, gone = write.meaning(fresh)
                assert set(there) == set(more[0]) - units
                assert more[1] - deleted <= gone <= more[1]
                assert fresh is layout or fresh.plain
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


def test_content_that_is_there_is_cut_out(write) -> None:
    """Of a struct that is there in part, at its beginning, in its middle and at its end, the rest is left, as Yjs would
    split it: origin before the cut, the same right origin."""
    known = Known()
    for clock in (0, 4, 9):
        assert known.add(parse(write.keystroke(5, clock)))
    whole = parse(write.update([(9, 0, [write.text("z")]), (5, 0, [write.text("bcdefghijkl", (9, 0), (9, 3))])]))
    left = [write.text("cde", (5, 0), (9, 3)), b"\x0a\1", write.text("ghij", (5, 4), (9, 3)), b"\x0a\1"]
    fresh = known.add(whole)
    assert fresh is not None
    assert fresh.update == write.update([(9, 0, [write.text("z")]), (5, 1, [*left, write.text("l", (5, 9), (9, 3))])])
    assert (known.vector(), known.has_gaps) == ({9: 1, 5: 11}, False)
    assert known.add(whole) is None


CONFLICTS = {
    "text": (4, b"\4abcd", 4),
    "emoji": (4, write_uint(8) + "😀😀".encode(), 4),
    "values": (8, b"\4\x7d\1\x7e\x78\x79", 4),
    "json": (2, b"\4\0011\0012\0013\0014", 4),
    "deleted": (1, b"\4", 4),
    "embed": (5, b"\2{}", 1),
    "format": (6, b"\4bold\4true", 1),
    "binary": (3, b"\2\0\1", 1),
    "type": (7, b"\3\1p", 1),
    "subdocument": (9, b"\4guid\x76\0", 1),
    "collected": (0, b"\4", 4),
}


@pytest.mark.parametrize("later", CONFLICTS)
@pytest.mark.parametrize("earlier", CONFLICTS)
def test_first_of_two_contents_is_kept(write, earlier: str, later: str) -> None:
    """Whatever kinds of content claim a clock, and wherever one begins in the other, merging, compacting and what a
    room takes agree: the first, clock by clock, and of the second what is left around it."""
    for first, second in ((3, 3), (3, 4), (4, 3), (3, 2), (2, 3), (3, 5), (5, 3), (3, 6), (6, 3), (3, 8), (8, 3)):
        log = []
        for clock, kind in ((first, earlier), (second, later)):
            content, body, _ = CONFLICTS[kind]
            struct = write.item(content, body, (5, clock - 1), (9, 9)) if content else b"\0" + body
            log.append(write.update([(5, clock, [struct])]))
        layouts = write.parsed(log)
        known = Known()
        taken = [layout for layout in map(known.add, layouts) if layout is not None]
        merged = write.meaning(parse(merge(layouts)))
        apart = [write.meaning(layout)[0] for layout in taken]
        assert sum(map(len, apart)) == len(merged[0])
        assert write.meaning(*taken) == merged
        if "emoji" not in (earlier, later):  # half of one is replaced
            assert merged == write.meaning(*layouts)
        assert compact([layout.update for layout in taken]).state == compact(log).state
        compacted, gone = write.meaning(parse(compact(log).state))
        assert {place: unit for place, unit in compacted.items() if place not in gone} == {
            place: unit for place, unit in merged[0].items() if place not in gone
        }


def test_pending_structs_are_cut_like_others(write) -> None:
    """What waits behind a gap is held as well: another content for it is cut out, and so is what it repeats."""
    known = Known()
    assert known.add(parse(write.update([(5, 4, [write.text("efg", (5, 3))])])))
    assert known.add(parse(write.update([(5, 5, [b"\0\2"])]))) is None
    fresh = known.add(parse(write.update([(5, 2, [write.text("CDEFGHI", (5, 1))])])))
    assert fresh is not None
    assert fresh.update == write.update([(5, 2, [write.text("CD", (5, 1)), b"\x0a\3", write.text("HI", (5, 6))])])
    assert known.has_gaps


def test_update_that_contradicts_itself(write) -> None:
    """Of two sections of a client that claim the same clocks the first counts, as when they came apart."""
    update = write.update([(5, 0, [write.text("abc")]), (5, 1, [write.text("XYZ", (9, 9))]), (5, 0, [b"\0\3"])])
    fresh = Known().add(parse(update))
    assert fresh is not None
    assert fresh.plain
    assert fresh.update == write.update([(5, 0, [write.text("abc"), write.text("Z", (5, 2))])])


def test_known_deletes_are_left_out(write) -> None:
    """Of a delete set the ranges that are there are not passed on again; one that is there in part is, as it is."""
    known = Known()
    known.add(parse(write.update([], {5: [(0, 3), (7, 1)], 6: [(0, 1)]})))
    fresh = known.add(parse(write.update([(8, 0, [b"\0\1"])], {6: [(0, 1)], 5: [(0, 2), (6, 2), (7, 1), (9, 1)]})))
    assert fresh is not None
    assert fresh.update == write.update([(8, 0, [b"\0\1"])], {5: [(6, 2), (9, 1)]})
    only = known.add(parse(write.update([(8, 1, [b"\0\1"])], {5: [(6, 2)]})))
    assert only is not None
    assert only.update == write.update([(8, 1, [b"\0\1"])])


def test_many_gaps_in_one_struct_cost_one_reading(write) -> None:
    """A long text over very many ranges that are there is decoded once, not once for each of its parts."""
    known = Known()
    gaps = 10_000
    islands = [write.text("x", (5, 3 * gap)) if gap else write.text("x", (9, 9)) for gap in range(gaps)]
    skips = [b"\x0a\2"] * gaps
    known.add(parse(write.update([(5, 1, [part for pair in zip(islands, skips) for part in pair])])))
    layout = parse(write.update([(5, 0, [write.text("é" * (3 * gaps))])]))
    started = perf_counter()
    fresh = known.add(layout)
    assert perf_counter() - started < 1
    assert fresh is not None
    assert len(fresh.structs[5]) == gaps + 1
    assert not known.has_gaps


def test_shared_is_what_an_update_would_repeat(write) -> None:
    """Nothing when all is new; else enough of what is held that another process cuts what is held here."""
    known = Known()
    for clock in (0, 1, 5):
        known.add(parse(write.keystroke(5, clock)))
    update = write.update([(6, 0, [write.text("z")]), (5, 1, [write.text("bcdefg", (5, 0))])], {5: [(0, 1)]})
    assert known.shared(compact([write.keystroke(6, 0), write.keystroke(5, 2)]).clocks) is None
    shared = known.shared(compact([update]).clocks)
    assert shared is not None
    elsewhere = Known()
    elsewhere.load(shared, b"\0\0")
    fresh = elsewhere.add(parse(update))
    assert fresh is not None
    left = [write.text("cde", (5, 1)), b"\x0a\1", write.text("g", (5, 5))]
    assert fresh.update == write.update([(6, 0, [write.text("z")]), (5, 2, left)], {5: [(0, 1)]})


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
