"""Common subsequences and pairs."""

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from plugins.documents.content.align import gaps, matching, pairs

items = st.lists(st.integers(0, 4), max_size=14)


@given(items, items)
def test_matching_is_a_common_subsequence(old: list[int], new: list[int]) -> None:
    """Pairs are equal and ascend on both sides; what is left between them has nothing equal at its ends."""
    found = matching(old, new)
    assert all(old[at] == new[to] for at, to in found)
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(found))
    covered = sum(high - low for low, high, _, _ in gaps(found, len(old), len(new)))
    assert covered + len(found) == len(old)


@given(items)
def test_what_is_equal_matches_whole(old: list[int]) -> None:
    """Equal sequences match item by item."""
    assert matching(old, list(old)) == [(at, at) for at in range(len(old))]


def test_an_edit_in_repetitive_text_is_small() -> None:
    """Two edits far apart, nothing unique in between: all but them matches, in time that is not quadratic."""
    old = ["the", "a"] * 50_000
    new = [*old[:1000], "x", *old[1001:80_000], *old[80_001:]]
    started = time.thread_time()
    assert len(matching(old, new)) == len(old) - 2
    assert time.thread_time() - started < 5


def test_pairs_are_the_likest_in_order() -> None:
    """Of three and two, the pairs with the greatest likeness; what is not alike at all is no pair."""
    likeness = {(0, 0): 0.1, (1, 0): 1.0, (2, 1): 0.5}
    assert pairs(3, 2, lambda at, to: likeness.get((at, to), 0.0)) == [(1, 0), (2, 1)]
    assert pairs(3, 3, lambda at, to: 0.0) == []
    assert len(pairs(500, 400, lambda at, to: 0.1)) == 400
