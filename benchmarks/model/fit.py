"""Small linear formulas through measured points."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Fit", "fitted", "value_of"]


class Fit(NamedTuple):
    """terms: coefficient by feature; points: the features, what was measured, and what the formula says."""

    terms: dict[str, float]
    points: list[dict[str, Any]]
    worst: float
    """The greatest residual, as a share of what was measured."""


def fitted(points: Sequence[tuple[Mapping[str, float], float]]) -> Fit:
    """Least squares of relative residuals, no coefficient below zero: a cost is none.

    Every point has the same features; put in one that is 1 for a constant. Raises ValueError for no points.
    """
    if not points:
        raise ValueError("nothing was measured")
    names = list(points[0][0])
    left = list(names)
    while True:
        found = _solved([([features[name] / y for name in left], 1.0) for features, y in points])
        least = min(range(len(left)), key=lambda n: found[n])
        if found[least] >= 0 or len(left) == 1:
            break
        del left[least]
    terms = dict.fromkeys(names, 0.0) | {name: max(0.0, value) for name, value in zip(left, found)}
    shown = [{**features, "measured": y, "formula": value_of(terms, features)} for features, y in points]
    worst = max(abs(point["formula"] / point["measured"] - 1) for point in shown)
    return Fit(terms, shown, worst)


def value_of(terms: Mapping[str, float], features: Mapping[str, float]) -> float:
    """What the formula says."""
    return sum(terms[name] * features[name] for name in terms)


def _solved(rows: Sequence[tuple[list[float], float]]) -> list[float]:
    """The normal equations, by elimination; a feature that the others already make gets 0."""
    count = len(rows[0][0])
    scale = [max(abs(x[n]) for x, _ in rows) or 1.0 for n in range(count)]
    scaled = [([value / unit for value, unit in zip(x, scale)], y) for x, y in rows]
    matrix = [
        [sum(x[i] * x[j] for x, _ in scaled) for j in range(count)] + [sum(x[i] * y for x, y in scaled)]
        for i in range(count)
    ]
    for i in range(count):
        pivot = max(range(i, count), key=lambda n: abs(matrix[n][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        if abs(matrix[i][i]) < 1e-12:
            matrix[i] = [0.0] * (count + 1)
            matrix[i][i] = 1.0
        for n in range(count):
            if n != i:
                factor = matrix[n][i] / matrix[i][i]
                matrix[n] = [a - factor * b for a, b in zip(matrix[n], matrix[i])]
    return [matrix[n][count] / matrix[n][n] / scale[n] for n in range(count)]
