"""What the API counts, and the page about it."""

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api_shim.metrics import METRICS, ApiMetrics, Served, markdown

ROOT = Path(__file__).parent.parent.parent


def test_figures_are_exposed() -> None:
    """Under the registry given, with their labels; nothing is global."""
    registry = CollectorRegistry()
    metrics = ApiMetrics(registry)
    ApiMetrics().requests[Served("GET", "/x", 200)] += 5
    metrics.requests[Served("GET", '/v1/"x"', 200)] += 2
    metrics.request_seconds["/x"].observe(0.01)
    metrics.limits.add("local")
    metrics.in_flight = 3
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    assert found["api_requests_total", '/v1/"x"', "200", "GET"] == 2
    assert found["api_request_seconds_count", "/x"] == 1
    assert found["api_limits_total", "local"] == 1
    assert found["api_in_flight",] == 3


def test_every_metric_is_measured() -> None:
    """Each declared name is set or raised somewhere, and each attribute is declared."""
    sources = [path.read_text("utf-8") for path in (ROOT / "api_shim").glob("*.py") if path.name != "metrics.py"]
    assert [name for name in METRICS if not any(f".{name}" in source for source in sources)] == []
    assert {name for name in vars(ApiMetrics()) if not name.startswith("_")} == METRICS.keys()


def test_reference_page_is_current() -> None:
    """contrib/api-metrics.md is what the code says."""
    page = ROOT / "contrib" / "api-metrics.md"
    assert page.read_text() == markdown(), "run: python -m api_shim.metrics > contrib/api-metrics.md"
