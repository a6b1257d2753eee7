"""What is counted, what it costs, and how it is exposed."""

import asyncio
import math
import time
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from relay import __version__
from relay.metrics import COUNTS, MOST_LABELS, SECONDS, Counters, Histogram, Metrics, Tally, markdown, measure_lag

RELAY = Path(__file__).parent.parent / "relay"


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_every_kind_is_exposed() -> None:
    """Counters, gauges, labelled and histogram attributes become samples of their names."""
    metrics = Metrics()
    counters = metrics.counters
    counters.edits_in += 3
    counters.rooms = 2
    counters.connections.add("hocuspocus", 2)
    counters.connections.add("hocuspocus", -1)
    counters.closes.add("1001")
    counters.flush_seconds.observe(0.5)
    counters.codec_seconds["merge"].observe(0.001)
    found = samples(metrics)
    assert found["relay_edits_in_total",] == 3
    assert found["relay_rooms",] == 2
    assert found["relay_connections", "protocol=hocuspocus"] == 1
    assert found["relay_closes_total", "code=1001"] == 1
    assert found["relay_flush_seconds_count",] == 1
    assert found["relay_flush_seconds_sum",] == 0.5
    assert found["relay_codec_seconds_bucket", "le=0.001", "op=merge"] == 1
    assert found["relay_codec_seconds_bucket", "le=0.0005", "op=merge"] == 0


def test_build_and_process_are_exposed() -> None:
    """The version and the process's own figures come along."""
    found = samples(Metrics())
    assert any(key[0] == "relay_build_info" and f"version={__version__}" in key for key in found)
    assert found["process_resident_memory_bytes",] > 1e6


def test_every_declared_metric_is_measured() -> None:
    """Each name is set, raised or watched somewhere."""
    sources = [path.read_text("utf-8") for path in RELAY.rglob("*.py") if path.name != "metrics.py"]
    names = [f.name for f in fields(Counters)]
    assert [n for n in names if not any(f".{n}" in source or f'"{n}"' in source for source in sources)] == []


def test_every_declared_metric_is_rendered() -> None:
    """No declared name is missing from the page, even before anything happened."""
    page = Metrics().render().decode()
    for f in fields(Counters):
        total = "_total" if f.metadata["kind"] == "counter" else ""
        assert f"# HELP relay_{f.name}{total} {f.metadata['help']}" in page


def test_two_nodes_do_not_share() -> None:
    """Nothing is global."""
    one, two = Metrics(), Metrics()
    one.counters.edits_in += 1
    one.counters.closes.add("1000")
    one.counters.flush_seconds.observe(1)
    assert samples(two)["relay_edits_in_total",] == 0
    assert two.counters.closes == {}
    assert two.counters.flush_seconds.count == 0


def test_unknown_attribute_is_an_error() -> None:
    """A misspelt counter fails at once instead of counting nowhere."""
    with pytest.raises(AttributeError):
        Counters().edit_in = 1  # type: ignore[attr-defined]


def test_watched_gauge_is_read_at_the_scrape() -> None:
    """A gauge may be looked up instead of counted."""
    metrics, age = Metrics(), [1.5]
    metrics.watch("snapshot_age_seconds", lambda: age[0])
    assert samples(metrics)["relay_snapshot_age_seconds",] == 1.5
    age[0] = 2.5
    assert samples(metrics)["relay_snapshot_age_seconds",] == 2.5


@pytest.mark.parametrize("name", ["edits_in", "connections", "flush_seconds"])
def test_only_gauges_are_watched(name: str) -> None:
    """Counters and labelled metrics can't be looked up."""
    with pytest.raises(ValueError, match=name):
        Metrics().watch(name, lambda: 1.0)


def test_labels_are_bounded() -> None:
    """Label values that clients make up end as "other"."""
    tally = Tally()
    for n in range(10_000):
        tally.add(str(n))
    tally.add("0")
    assert len(tally) == MOST_LABELS + 1
    assert tally["other"] == 10_000 - MOST_LABELS
    assert tally["0"] == 2


def test_hostile_label_is_escaped() -> None:
    """A label value with quotes and line ends does not break the page."""
    metrics = Metrics()
    metrics.counters.denied.add('a"b\nrelay_rooms 99\\')
    assert samples(metrics)["relay_denied_total", 'reason=a"b\nrelay_rooms 99\\'] == 1
    assert samples(metrics)["relay_rooms",] == 0


@given(st.lists(st.floats(0, 100)), st.sampled_from([SECONDS, COUNTS]))
def test_histogram_counts_at_or_below(values: list[float], bounds: tuple[float, ...]) -> None:
    """A bucket holds the values at or below its bound, the last all of them."""
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    assert [count for _, count in histogram.buckets()] == [sum(v <= b for v in values) for b in (*bounds, math.inf)]
    assert histogram.sum == pytest.approx(sum(values))
    assert histogram.count == len(values)


def test_bounds_are_counted_below() -> None:
    """A value equal to a bound belongs to it."""
    histogram = Histogram(COUNTS)
    histogram.observe(1)
    assert histogram.buckets()[0] == ("1", 1)


def test_hot_path_is_cheap() -> None:
    """An observation costs well under a microsecond's worth of what prometheus_client would take."""
    histogram, laps = Histogram(SECONDS), []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(10_000):
            histogram.observe(0.001)
        laps.append((time.perf_counter() - started) / 10_000)
    assert min(laps) < 2e-6


async def test_lag_is_measured() -> None:
    """Time in which the loop was held shows up."""
    lag = Histogram(SECONDS)
    task = asyncio.ensure_future(measure_lag(lag, 0.01))  # noqa: TID251
    await asyncio.sleep(0.005)
    time.sleep(0.05)
    await asyncio.sleep(0.005)
    task.cancel()
    assert lag.count >= 1
    assert lag.sum >= 0.03


def test_reference_page_is_current() -> None:
    """contrib/metrics.md is what the code says."""
    page = Path(__file__).parent.parent / "contrib" / "metrics.md"
    assert page.read_text() == markdown(), "run: python -m relay.metrics > contrib/metrics.md"
