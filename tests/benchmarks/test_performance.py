"""benchmarks/performance.py"""

import json
from typing import Any

import pytest

from benchmarks.compare.measurement import ROOT
from benchmarks.performance import RESULTS, WANTED, number, page


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in WANTED}


def test_the_page_is_current(found: dict[str, Any]) -> None:
    """contrib/performance.md says what the figures in benchmarks/results say: `python -m benchmarks.performance`."""
    assert (ROOT / "contrib/performance.md").read_text() == page(found)


def test_other_figures_make_another_page(found: dict[str, Any]) -> None:
    """It is written from the figures, a busy machine among them."""
    found = json.loads(json.dumps(found))
    found["stages"]["hot"]["check"] = 99.0
    found["stages"]["about"]["others"] = 0.7
    said = page(found)
    assert "**over**" in said
    assert "0.70 of a core" in said


def test_what_it_links_to_is_there(found: dict[str, Any]) -> None:
    """Files named in links exist."""
    for link in page(found).split("](")[1:]:
        assert (ROOT / "contrib" / link.partition(")")[0]).exists(), link[:80]


def test_numbers() -> None:
    """Three digits that matter."""
    assert [number(value) for value in (0.0123, 1.239, 12.39, 123.9, 1239.4)] == [
        "0.0123",
        "1.24",
        "12.4",
        "124",
        "1,239",
    ]
