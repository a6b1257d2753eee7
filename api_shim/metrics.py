"""What the API counts; `relay.metrics` says why counting is an attribute and exposing a collector.

`python -m api_shim.metrics` prints the reference page, contrib/api-metrics.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.metrics import Histograms, Tally

__all__ = ["ApiMetrics", "Served", "markdown"]


class Served(NamedTuple):
    """What requests are counted by. `route` is a route's template, or empty for a path that no route has."""

    method: str
    route: str
    status: int


class ApiMetrics(Collector):
    """One process's figures. Metric `api_<name>`, with `_total` behind a counter's."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.requests: defaultdict[Served, int] = defaultdict(int)
        self.request_seconds = Histograms()
        self.in_flight = 0
        self.problems = Tally()
        self.limits = Tally()
        self.idempotency = Tally()
        self.jobs = Tally()
        self.jobs_running = 0
        self.plugin_failures: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.plugin_seconds = Histograms()
        self.plugins_resting = Tally()
        if registry is not None:
            registry.register(self)

    def asked(self, hook: Callable[..., object], seconds: float, failed: bool) -> None:
        """Count an ask; `hook` is the plugin's method."""
        name = getattr(getattr(hook, "__self__", None), "name", "")
        self.plugin_seconds[name].observe(seconds)
        if failed:
            self.plugin_failures[name, hook.__name__] += 1

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for at a scrape."""
        for name, (kind, label, help) in METRICS.items():
            labels = [each.strip() for each in label.split(",") if each]
            value = getattr(self, name)
            if kind == "histogram":
                histogram = HistogramMetricFamily(f"api_{name}", help, labels=labels)
                for key, one in list(value.items()):
                    histogram.add_metric([key], one.buckets(), one.sum)
                yield histogram
                continue
            family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
                f"api_{name}", help, labels=labels
            )
            for key, one in list(value.items()) if labels else [((), value)]:
                family.add_metric([str(part) for part in key] if isinstance(key, tuple) else [key], one)
            yield family


METRICS = {
    "requests": ("counter", "method,route,status", "Requests answered."),
    "request_seconds": ("histogram", "route", "From a request's head to its answer's end."),
    "in_flight": ("gauge", "", "Requests being answered."),
    "problems": ("counter", "code", "Problems answered."),
    "limits": (
        "counter", "outcome",
        "Rate limit: `local` (allowed from what was taken ahead), `allowed`, `refused`, `unavailable` (Redis away, "
        "so allowed).",
    ),
    "idempotency": ("counter", "outcome", "Idempotency keys: `first`, `replayed`, `reused`, `in_flight`."),
    "jobs": ("counter", "state", "Jobs started and ended here: `started`, `succeeded`, `failed`, `cancelled`."),
    "jobs_running": ("gauge", "", "Jobs running in this process."),
    "plugin_failures": ("counter", "plugin,hook", "Facts and asks that a plugin raised on or did not answer in time."),
    "plugin_seconds": ("histogram", "plugin", "How long a plugin took for one fact or ask."),
    "plugins_resting": ("gauge", "plugin", "1 while a plugin that kept failing is left alone."),
}  # fmt: skip
"""Kind, labels and help of each attribute."""


def markdown() -> str:
    """The reference page."""
    page = [
        "# API metrics",
        "",
        "Of the process that serves the REST API. Times are seconds. `route` is the path as the API reference has it.",
        "",
        "Written by `python -m api_shim.metrics`; do not edit.",
        "",
        "| metric | type | label | what it says |",
        "|---|---|---|---|",
    ]
    for name, (kind, label, help) in METRICS.items():
        total = "_total" if kind == "counter" else ""
        labels = ", ".join(f"`{each}`" for each in label.split(",") if each)
        page.append(f"| `api_{name}{total}` | {kind} | {labels} | {help} |")
    return "\n".join(page) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
