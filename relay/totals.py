"""The figures of several processes as if they were one: what each counted, and the page that adds it up."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

__all__ = ["add_up", "figures"]

GREATEST = frozenset({"relay_snapshot_age_seconds", "relay_build_info"})
LEAST = frozenset({"relay_journal_up", "process_start_time_seconds", "process_max_fds"})


def figures(registry: CollectorRegistry) -> bytes:
    """Every sample of one process, for `add_up` in another."""
    return orjson.dumps(
        [
            (family.name, family.documentation, family.type, [(s.name, s.labels, s.value) for s in family.samples])
            for family in registry.collect()
        ]
    )


def add_up(processes: Iterable[bytes]) -> bytes:
    """One page in Prometheus text format: counters, histograms and gauges are sums; of ages and versions it shows the
    greatest, of limits and of "the journal answers" the least."""
    families: dict[str, tuple[str, str]] = {}
    totals: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for process in processes:
        for name, documentation, kind, samples in orjson.loads(process):
            families.setdefault(name, (documentation, kind))
            total = totals.setdefault(name, {})
            for sample, labels, value in samples:
                key = sample, tuple(labels.items())
                total[key] = _together(sample, total[key], value) if key in total else value
    registry = CollectorRegistry()
    registry.register(_Totals(families, totals))
    return generate_latest(registry)


def _together(sample: str, one: float, other: float) -> float:
    if sample in GREATEST:
        return max(one, other)
    return min(one, other) if sample in LEAST else one + other


class _Totals(Collector):
    def __init__(self, families: dict[str, tuple[str, str]], totals: dict[str, dict[Any, float]]) -> None:
        self._families = families
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        for name, (documentation, kind) in self._families.items():
            family = Metric(name, documentation, kind)
            for (sample, labels), value in self._totals[name].items():
                family.add_sample(sample, dict(labels), value)
            yield family
