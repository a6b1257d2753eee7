"""benchmarks/compare/check.py"""

import json

from benchmarks.compare.check import RECORDED, WATCHED, verdict


def test_what_has_become_dearer() -> None:
    """Past the margin is named; within it, cheaper, or never recorded is not."""
    recorded = {"a": 0.4, "b": 0.4, "c": 0.4}
    dearer = verdict({"a": 0.49, "b": 0.51, "c": 0.2, "d": 9.0}, recorded, 0.25)
    assert [line.split(":")[0] for line in dearer] == ["b"]


def test_there_is_a_record() -> None:
    """Of every scenario that is watched."""
    assert set(json.loads(RECORDED.read_text())["ratios"]) == set(WATCHED)
