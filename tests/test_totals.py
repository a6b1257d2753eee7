"""Figures of several processes are added up, except where a sum would say nothing."""

from prometheus_client.parser import text_string_to_metric_families

from relay.metrics import Metrics
from relay.totals import add_up, figures


def samples(page: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def processes() -> tuple[Metrics, Metrics]:
    one, two = Metrics(), Metrics()
    for metrics, rooms, age in ((one, 2, 3.5), (two, 5, 1.0)):
        counters = metrics.counters
        counters.rooms = rooms
        counters.snapshot_age_seconds = age
        counters.edits_in += 10 * rooms
        counters.connections.add("hocuspocus", rooms)
        counters.flush_seconds.observe(age)
        counters.journal_up = int(rooms == 2)
    one.counters.codec_seconds["diff"].observe(0.001)
    two.counters.codec_seconds["compact"].observe(0.001)
    return one, two


def test_sums() -> None:
    """Counters, gauges and histograms of both, whichever labels each has."""
    one, two = processes()
    found = samples(add_up([figures(one.registry), figures(two.registry)]))
    assert found["relay_rooms",] == 7
    assert found["relay_workers",] == 2
    assert found["relay_edits_in_total",] == 70
    assert found["relay_connections", "protocol=hocuspocus"] == 7
    assert found["relay_flush_seconds_count",] == 2
    assert found["relay_flush_seconds_sum",] == 4.5
    assert found["relay_flush_seconds_bucket", "le=1"] == 1
    assert found["relay_flush_seconds_bucket", "le=5"] == 2
    for job in ("diff", "compact"):
        assert found["relay_codec_seconds_count", f"op={job}"] == 1


def test_what_is_no_sum() -> None:
    """The oldest age, one version, and the journal is up where everybody has it."""
    one, two = processes()
    found = samples(add_up([figures(one.registry), figures(two.registry)]))
    assert found["relay_snapshot_age_seconds",] == 3.5
    assert found["relay_journal_up",] == 0
    assert [value for key, value in found.items() if key[0] == "relay_build_info"] == [1]
    assert found["process_start_time_seconds",] == samples(one.render())["process_start_time_seconds",]


def test_of_one() -> None:
    """What one process says of itself, it says through here too."""
    one, _ = processes()
    alone, through = samples(one.render()), samples(add_up([figures(one.registry)]))
    changing = {key for key in alone if key[0].startswith(("process_", "python_"))}
    assert alone.keys() == through.keys()
    assert {key: alone[key] for key in alone.keys() - changing} == {
        key: through[key] for key in alone.keys() - changing
    }
