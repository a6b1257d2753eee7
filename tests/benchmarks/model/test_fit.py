"""benchmarks/model/fit.py"""

import pytest

from benchmarks.model.fit import fitted, value_of


def test_a_line_is_found_again() -> None:
    """Points that lie on a line give its coefficients, and no residual."""
    points = [({"once": 1.0, "each": float(n)}, 30 + 4 * n) for n in (1, 9, 49, 499)]
    fit = fitted(points)
    assert fit.terms == pytest.approx({"once": 30, "each": 4})
    assert fit.worst == pytest.approx(0, abs=1e-9)
    assert value_of(fit.terms, {"once": 1, "each": 100}) == pytest.approx(430)


def test_three_terms() -> None:
    """So do those of a plane."""
    grid = [(k, n) for k in (1, 2, 20) for n in (1, 10, 100)]
    points = [({"edit": 1.0, "flush": 1 / k, "write": n / k}, 5 + (40 + 6 * n) / k) for k, n in grid]
    assert fitted(points).terms == pytest.approx({"edit": 5, "flush": 40, "write": 6})


def test_no_cost_is_negative() -> None:
    """A coefficient that would be below zero is zero, and the others are found without it."""
    fit = fitted([({"once": 1.0, "each": float(n)}, 10.0 * n - 3) for n in (1, 2, 3)])
    assert fit.terms["once"] == 0
    assert 7 < fit.terms["each"] < 10


def test_small_points_count_as_much() -> None:
    """What is minimised is the share, not the amount: a great point does not make a small one wrong."""
    points = [({"once": 1.0, "each": n}, us) for n, us in ((0.0, 1.0), (1.0, 2.0), (1000.0, 1300.0))]
    fit = fitted(points)
    assert fit.terms["once"] == pytest.approx(1, rel=0.25)
    assert fit.worst < 0.25
    assert [point["measured"] for point in fit.points] == [1.0, 2.0, 1300.0]


def test_a_term_that_another_makes() -> None:
    """Features that can't be told apart are no error."""
    fit = fitted([({"once": 1.0, "again": 1.0}, 8.0), ({"once": 1.0, "again": 1.0}, 8.0)])
    assert sum(fit.terms.values()) == pytest.approx(8)


def test_nothing_measured() -> None:
    """No points are an error."""
    with pytest.raises(ValueError, match="nothing"):
        fitted([])
