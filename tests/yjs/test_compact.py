"""Compacting updates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.yjs.compact import compact
from relay.yjs.known import Known
from relay.yjs.update import EMPTY, parse


def test_typed_run_becomes_one_text(write) -> None:
    """Characters typed one behind another, with the same right neighbour."""
    log = [write.update([(5, 0, [write.text("<>")])])]
    for clock, origin, character in ((2, 0, "a"), (3, 2, "é"), (4, 3, "😀")):
        log.append(write.update([(5, clock, [write.text(character, (5, origin), (5, 1))])]))
    assert compact(log).state == write.update([(5, 0, [write.text("<>"), write.text("aé😀", (5, 0), (5, 1))])])


@pytest.mark.parametrize("change", ["origin", "right", "content", "client", "key"])
def test_what_yjs_would_not_merge_stays_apart(write, change: str) -> None:
    """Another origin, right origin, content or key between neighbours in clock."""
    first = write.text("a", (9, 0), (9, 1))
    second = {
        "origin": write.text("b", (9, 0), (9, 1)),
        "right": write.text("b", (5, 0), (9, 2)),
        "content": write.item(8, b"\1\x7e", (5, 0), (9, 1)),
        "client": write.text("b", (6, 0), (9, 1)),
        "key": b"\xe4" + write.text("b", (5, 0), (9, 1))[1:],
    }[change]
    assert compact([write.update([(5, 0, [first, second])])]).state == write.update([(5, 0, [first, second])])


@pytest.mark.parametrize(
    ("content", "one", "two", "both"),
    [
        (8, b"\1\x7e", b"\2\x78\x79", b"\3\x7e\x78\x79"),
        (2, b"\1\0011", b"\1\0012", b"\2\0011\0012"),
        (1, b"\3", b"\4", b"\7"),
    ],
)
def test_elements_in_a_row_become_one_item(write, content: int, one: bytes, two: bytes, both: bytes) -> None:
    """Pushed values, JSON and deleted contents merge like text."""
    last = {8: 0, 2: 0, 1: 2}[content]
    update = write.update([(5, 0, [write.item(content, one), write.item(content, two, (5, last))])])
    state = parse(compact([update]).state)
    assert [state.update[start:end] for _, _, start, end in state.structs[5]] == [write.item(content, both)]


def test_deleted_contents_are_dropped(write) -> None:
    """A deleted text, embed and type keep only place and length; a text deleted in part is split."""
    structs = [
        write.text("whole"),
        write.item(5, b"\2{}", (5, 4)),
        write.text("a😀bcd", (9, 9)),
        write.item(7, b"\3\1p", (9, 9)),
    ]
    deletes = {5: [(0, 6), (7, 3), (12, 1)]}
    expected = [
        write.item(1, b"\6"),
        write.text("a", (9, 9)),
        write.item(1, b"\3", (5, 6)),
        write.text("cd", (5, 9)),
        write.item(1, b"\1", (9, 9)),
    ]
    assert compact([write.update([(5, 0, structs)], deletes)]).state == write.update([(5, 0, expected)], deletes)


def test_collected_and_skipped_clocks_join(write) -> None:
    """Neighbouring GCs are one, a gap is one Skip, and what is collected is in the delete set."""
    log = [write.update([(5, 0, [b"\0\2", b"\0\3"])]), write.update([(5, 9, [b"\x0a\1", b"\0\1"])])]
    assert compact(log).state == write.update([(5, 0, [b"\0\5", b"\x0a\5", b"\0\1"])], {5: [(0, 5), (10, 1)]})


def test_nothing_compacts_to_nothing() -> None:
    """No updates, or empty ones."""
    assert compact([]) == compact([EMPTY, EMPTY])
    assert compact([]).state == EMPTY


def test_sections_without_clocks_are_dropped(write) -> None:
    """A section of Skips and empty structs alone holds nothing."""
    assert compact([write.update([(5, 3, [b"\x0a\1", b"\0\0"]), (4, 0, [])])]) == compact([])


def test_malformed_update_is_refused() -> None:
    """Nothing is compacted of a log with a broken entry."""
    with pytest.raises(Malformed):
        compact([EMPTY, b"\1"])


@given(st.data())
def test_compacting_keeps_every_visible_clock(write, data: st.DataObject) -> None:
    """What is not deleted keeps its content and place, what is deleted its clock; a second time changes nothing."""
    log = data.draw(write.logs())
    layouts = write.parsed(log)
    compacted = compact(log)
    state = parse(compacted.state)
    units, deleted = write.meaning(*layouts)
    ours, gone = write.meaning(state)
    assert set(ours) == set(units)
    assert deleted <= gone
    for place, unit in units.items():
        if place not in gone:
            assert ours[place][2:] == unit[2:]
            # An emoji deleted in half shows U+FFFD for the other half.
            assert ours[place][:2] == unit[:2] or (unit[0] == 4 and ours[place][1] == b"\xfd\xff")
        else:
            assert ours[place][0] in (1, "collected")
    for place in gone - deleted:
        assert place in units
    assert compact([compacted.state]) == compacted
    assert compact(log) == compacted
    known = Known()
    known.load(compacted.clocks, compacted.state)
    assert not any(known.add(layout) for layout in layouts)


@given(st.data())
def test_compacting_in_steps_is_compacting_at_once(write, data: st.DataObject) -> None:
    """A compacted base with the rest of the log holds the same clocks, and shows the same."""
    log = data.draw(write.logs())
    at = data.draw(st.integers(0, len(log)))
    once, once_gone = write.meaning(parse(compact(log).state))
    steps, steps_gone = write.meaning(parse(compact([compact(log[:at]).state, *log[at:]]).state))
    assert set(steps) == set(once)
    gone = once_gone | steps_gone
    assert {place: unit[1:] for place, unit in steps.items() if place not in gone} == {
        place: unit[1:] for place, unit in once.items() if place not in gone
    }
