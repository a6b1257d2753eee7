"""Merging updates by moving slices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.yjs.merge import merge
from relay.yjs.update import EMPTY, parse


def test_typed_characters_become_one_section(write) -> None:
    """Keystrokes of two clients: one section each, greatest client first, the structs untouched."""
    log = [write.keystroke(5, clock, "abc"[clock]) for clock in range(3)]
    log.insert(1, write.keystroke(300, 0, "x"))
    texts = [write.text("a"), write.text("b", (5, 0)), write.text("c", (5, 1))]
    assert merge(write.parsed(log)) == write.update([(300, 0, [write.text("x")]), (5, 0, texts)])


def test_one_update_is_not_copied(write) -> None:
    """Nothing to merge: the very bytes come back. Nothing at all: the empty update."""
    update = write.keystroke(5, 0)
    assert merge(write.parsed([update])) is update
    assert merge([]) == merge(write.parsed([EMPTY, EMPTY])) == EMPTY


def test_sections_of_one_client_become_one(write) -> None:
    """An update that Yjs would read half of is rewritten even when it is alone."""
    update = write.update([(5, 1, [write.text("b", (5, 0))]), (5, 0, [write.text("a")])])
    assert merge(write.parsed([update])) == write.update([(5, 0, [write.text("a"), write.text("b", (5, 0))])])


def test_gap_becomes_a_skip(write) -> None:
    """What is missing between two structs is skipped, as Yjs writes it."""
    log = [write.keystroke(5, 9), write.keystroke(5, 2), write.keystroke(5, 3)]
    texts = [write.text("a", (5, 1)), write.text("a", (5, 2)), b"\x0a\5", write.text("a", (5, 8))]
    assert merge(write.parsed(log)) == write.update([(5, 2, texts)])


def test_struct_whose_beginning_is_there_is_cut(write) -> None:
    """The known part of an overlapping struct is left out."""
    log = [write.update([(5, 0, [write.text("abc")])]), write.update([(5, 1, [write.text("bcde", (5, 0))])])]
    assert merge(write.parsed(log)) == write.update([(5, 0, [write.text("abc"), write.text("de", (5, 2))])])


def test_earlier_of_two_claims_wins(write) -> None:
    """A later update can't take a clock's content away, only add around it."""
    first = write.update([(5, 2, [write.text("mine", (5, 1))])])
    forged = write.update([(5, 0, [b"\0\x09"])])
    merged = merge(write.parsed([first, forged]))
    assert merged == write.update([(5, 0, [b"\0\2", write.text("mine", (5, 1)), b"\0\3"])])


def test_deletes_are_joined(write) -> None:
    """Ranges of all updates, sorted, touching ones joined, greatest client first."""
    log = [
        write.update([], {5: [(4, 2), (0, 1)], 300: [(1, 1)]}),
        write.update([], {5: [(6, 3), (5, 1)]}),
        write.keystroke(5, 0),
    ]
    expected = write.update([(5, 0, [write.text("a")])], {300: [(1, 1)], 5: [(0, 1), (4, 5)]})
    assert merge(write.parsed(log)) == expected


@given(st.data())
def test_merge_holds_what_its_parts_hold(write, data: st.DataObject) -> None:
    """Every clock and every delete, each once, whatever order the parts come in and however often."""
    layouts = write.parsed(data.draw(write.logs()))
    expected = write.meaning(*layouts)
    merged = parse(merge(layouts))
    assert write.meaning(merged) == expected
    assert merged.plain
    again = [*data.draw(st.permutations(layouts)), *data.draw(st.lists(st.sampled_from(layouts), max_size=3)), merged]
    assert write.meaning(parse(merge(again))) == expected
    assert merge([merged, merged]) == merged.update or len(layouts) == 1


@given(st.data())
def test_merging_in_steps_is_merging_at_once(write, data: st.DataObject) -> None:
    """Merging merged updates loses and adds nothing."""
    layouts = write.parsed(data.draw(write.logs()))
    at = data.draw(st.integers(0, len(layouts)))
    steps = merge([parse(merge(layouts[:at])), parse(merge(layouts[at:]))])
    assert write.meaning(parse(steps)) == write.meaning(*layouts)


@pytest.mark.parametrize("emoji", ["a😀", "😀"])
def test_overlap_never_goes_backward(write, emoji: str) -> None:
    """However structs of a client overlap, its merged clocks ascend without overlap."""
    log = [write.update([(5, clock, [write.text(emoji * 3)])]) for clock in (4, 0, 7, 2, 30)]
    at = 0
    for clock, length, _, _ in parse(merge(write.parsed(log))).structs[5]:
        assert clock >= at
        at = clock + length
