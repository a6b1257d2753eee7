"""Which items of one sequence are which of another: a common subsequence, and pairs of what is alike in between.

Equal items are found as patience diff does, by those that occur once on both sides, and where there are none by Myers'
algorithm up to a number of differences. So it is not always the longest common subsequence, but never quadratic.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from math import isqrt

__all__ = ["gaps", "matching", "pairs"]

DIFFERENCES = 300
"""Of Myers' algorithm; what differs more, and has nothing unique in common, is replaced as a whole."""
SIDE = 48
"""Items a side, about, of a table of pairs."""

Pair = tuple[int, int]


def matching(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Pair]:
    """Indices of equal items, ascending on both sides."""
    found: list[Pair] = []
    stack = [(0, len(old), 0, len(new))]
    while stack:
        low, high, left, right = stack.pop()
        while low < high and left < right and old[low] == new[left]:
            found.append((low, left))
            low, left = low + 1, left + 1
        while low < high and left < right and old[high - 1] == new[right - 1]:
            high, right = high - 1, right - 1
            found.append((high, right))
        if low == high or left == right:
            continue
        if anchors := _anchors(old, new, low, high, left, right):
            for at, to in anchors:
                found.append((at, to))
                stack.append((low, at, left, to))
                low, left = at + 1, to + 1
            stack.append((low, high, left, right))
        else:
            found.extend((low + at, left + to) for at, to in _myers(old[low:high], new[left:right]))
    found.sort()
    return found


def gaps(matched: Sequence[Pair], olds: int, news: int) -> list[tuple[int, int, int, int]]:
    """What lies between the pairs, (old from, old to, new from, new to); empty ones are left out."""
    found = []
    low = left = 0
    for at, to in (*matched, (olds, news)):
        if low < at or left < to:
            found.append((low, at, left, to))
        low, left = at + 1, to + 1
    return found


def _anchors(
    old: Sequence[Hashable], new: Sequence[Hashable], low: int, high: int, left: int, right: int
) -> list[Pair]:
    """The longest ascending run of the items that occur once on both sides."""
    once: dict[Hashable, int] = {}
    for at in range(low, high):
        once[old[at]] = -1 if old[at] in once else at
    other: dict[Hashable, int] = {}
    for to in range(left, right):
        if once.get(new[to], -1) >= 0:
            other[new[to]] = -1 if new[to] in other else to
    common = sorted((once[item], to) for item, to in other.items() if to >= 0)
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, (_, to) in enumerate(common):
        place = bisect_left(tails, to)
        before.append(ends[place - 1] if place else -1)
        tails[place : place + 1] = [to]
        ends[place : place + 1] = [index]
    run: list[Pair] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        run.append(common[index])
        index = before[index]
    return run[::-1]


def _myers(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Pair]:
    olds, news = len(old), len(new)
    furthest = {1: 0}
    trace = []
    for steps in range(min(olds + news, DIFFERENCES) + 1):
        trace.append(furthest.copy())
        for diagonal in range(-steps, steps + 1, 2):
            at = _step(furthest, diagonal, steps)[1]
            to = at - diagonal
            while at < olds and to < news and old[at] == new[to]:
                at, to = at + 1, to + 1
            furthest[diagonal] = at
            if at == olds and to == news:
                return _back(trace, olds, news)
    return []


def _step(furthest: dict[int, int], diagonal: int, steps: int) -> tuple[int, int]:
    """The diagonal that the best step onto this one comes from, and where in the old sequence it arrives."""
    if diagonal == -steps or (diagonal != steps and furthest[diagonal - 1] < furthest[diagonal + 1]):
        return diagonal + 1, furthest[diagonal + 1]
    return diagonal - 1, furthest[diagonal - 1] + 1


def _back(trace: list[dict[int, int]], at: int, to: int) -> list[Pair]:
    found = []
    for steps in range(len(trace) - 1, -1, -1):
        before, arrived = _step(trace[steps], at - to, steps)
        while at > arrived:
            at, to = at - 1, to - 1
            found.append((at, to))
        at = trace[steps][before]
        to = at - before
    return found[::-1]


def pairs(olds: int, news: int, likeness: Callable[[int, int], float]) -> list[Pair]:
    """Of two sequences without equal items, pairs in order whose likenesses (0: no pair) sum to the most.

    Long ones are cut into as many parts on both sides, and pairs looked for in each part.
    """
    parts = max(1, isqrt(olds * news) // SIDE)
    found: list[Pair] = []
    for part in range(parts):
        low, high = olds * part // parts, olds * (part + 1) // parts
        left, right = news * part // parts, news * (part + 1) // parts
        found.extend(_table(low, high, left, right, likeness))
    return found


def _table(low: int, high: int, left: int, right: int, likeness: Callable[[int, int], float]) -> list[Pair]:
    width = right - left
    best = [[0.0] * (width + 1)]
    scores = []
    for at in range(low, high):
        above = best[-1]
        row = [0.0]
        scored = [likeness(at, to) for to in range(left, right)]
        for to, score in enumerate(scored):
            row.append(max(row[to], above[to + 1], above[to] + score))
        best.append(row)
        scores.append(scored)
    found = []
    at, to = high - low, width
    while at and to:
        here = best[at][to]
        if here == best[at - 1][to]:
            at -= 1
        elif here == best[at][to - 1]:
            to -= 1
        else:
            at, to = at - 1, to - 1
            found.append((low + at, left + to))
    return found[::-1]
