"""benchmarks/stages.py"""

import pytest

from benchmarks.stages import SIZES, STAGES, delivered, over, rooms


def test_over_budget() -> None:
    """A stage is over when it costs more than its budget times the margin, and not before."""
    found = {stage.name: stage.budget for stage in STAGES}
    assert over(found, 1.0) == []
    found["check"] *= 1.4
    assert over(found, 1.5) == []
    assert over(found, 1.3) == ["check"]


def test_every_stage_has_a_budget() -> None:
    """Names are told apart, and no budget is missing."""
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    assert all(stage.budget > 0 for stage in STAGES)


def test_the_more_readers_the_less_each() -> None:
    """What is done once is shared by the readers; a write is each one's own."""
    assert delivered(90.0, 4.0, 9) == 14.0
    costs = {stage.name: 10.0 for stage in STAGES}
    once = sum(10.0 for stage in STAGES if stage.per in ("edit", "flush"))
    found = rooms(costs, {1: 5.0, 9: 4.0, 49: 3.0, 499: 3.0})
    assert list(found) == list(SIZES)
    assert found[2] == once + 5.0
    assert found[500] == pytest.approx(once / 499 + 3.0)
