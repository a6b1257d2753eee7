"""A run is judged by what it measured."""

import pytest

from loadtests.thresholds import Limits, Row, judge, percentile

ROWS = [
    Row("EDIT", "seen", 100, 0, {5: 95, 400: 5}),
    Row("EDIT", "saved", 100, 0, {50: 100}),
    Row("JOIN", "hocuspocus", 10, 0, {20: 10}),
    Row("JOIN", "y-websocket", 10, 0, {30: 10}),
    Row("GET", "/readyz", 100, 0, {1: 100}),
    Row("PUT", "/v1/x", 10, 0, {90: 10}),
]


def broken(rows: list[Row], limits: Limits = Limits(), lost: int | None = 0, exceptions: int = 0) -> list[str]:  # noqa: B008
    verdicts = judge(rows, limits, edits=True, joins=True, api=True, lost=lost, exceptions=exceptions)
    return [verdict.what for verdict in verdicts if not verdict.kept]


def test_percentile() -> None:
    """Lines count together by their requests; the rank is the nearest one above."""
    assert percentile(ROWS[:1], 0.95) == 5
    assert percentile(ROWS[:1], 0.96) == 400
    assert percentile(ROWS[4:], 0.9) == 1
    assert percentile(ROWS[4:], 0.95) == 90
    assert percentile([], 0.95) is None


def test_good_run() -> None:
    """Nothing is wrong with a run within its limits."""
    assert broken(ROWS) == []


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(edit_p95=4), "edit seen by another client, p95"),
        (Limits(saved_p95=49), "edit saved, p95"),
        (Limits(join_p95=29), "document opened, p95"),
        (Limits(api_p95=0.5), "API, p95"),
    ],
)
def test_each_limit(limits: Limits, what: str) -> None:
    """A limit below what was measured is broken, and no other is."""
    rows = [*ROWS[:4], Row("GET", "/readyz", 10, 0, {1: 10})]
    assert broken(rows, limits) == [what]


def test_errors_losses_and_exceptions() -> None:
    """One failure in a thousand may be, one lost character may not, and neither may not knowing."""
    failing = [*ROWS, Row("CONNECTION", "ended", 1, 1, {0: 1})]
    assert broken(failing) == ["errors, share of requests"]
    assert broken([*failing, Row("GET", "/livez", 10_000, 0, {1: 10_000})]) == []
    assert broken([*failing, Row("GENERATOR", "lag", 10_000, 0, {1: 10_000})]) == ["errors, share of requests"]
    assert broken(ROWS, lost=1) == ["acknowledged edits lost"]
    assert broken(ROWS, lost=None) == ["acknowledged edits lost"]
    assert broken(ROWS, exceptions=1) == ["exceptions in users"]


def test_nothing_measured() -> None:
    """A run in which nothing happened has not passed; users that did not take part are not missed."""
    assert len(broken([], lost=None)) == 6
    assert [str(v) for v in judge([], Limits(), edits=False, joins=False, api=True, lost=None) if not v.kept] == [
        "BREACH  API, p95: nothing measured (limit 100)",
        "BREACH  errors, share of requests: nothing measured (limit 0.001)",
    ]
