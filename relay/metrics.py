# ruff: noqa: RUF009  (a dataclass of `field()` calls behind helpers that also take the help text)
"""Everything this process counts, declared once; Prometheus reads it when it scrapes.

A prometheus_client counter costs 0.2 µs a call and a histogram 0.5; the attribute here 0.02 and `observe` 0.1. So the
hot path says `counters.edits_in += 1`, and a collector turns the attributes into samples at scrape time (0.5 ms).
`python -m relay.metrics` prints the reference page, contrib/metrics.md.
"""

import asyncio
import platform
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from relay import __version__

__all__ = ["CONTENT_TYPE", "Counters", "Histogram", "Histograms", "Metrics", "Tally", "markdown", "measure_lag"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (*(float(f"{digits}e{power}") for power in range(-5, 1) for digits in (1, 2.5, 5)), 10.0)
"""10 µs .. 10 s, three a decade: 25 ms, which edits must stay below, is one of them."""
COUNTS = tuple(float(1 << n) for n in range(13))
"""1 .. 4096 in steps of two."""
MOST_LABELS = 64
"""Further label values of one metric count as "other": a scrape stays small whatever clients make up."""


class Tally(dict[str, int]):
    """Counts by one label."""

    def add(self, label: str, by: int = 1) -> None:
        """Add to a label's count; for a gauge, `by` may be negative."""
        if label not in self and len(self) >= MOST_LABELS:
            label = "other"
        self[label] = self.get(label, 0) + by


class Histogram:
    """Counts of values up to each bound, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value (seconds, or a number)."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus buckets: upper bound, and how many values are at or below it."""
        labels = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        return list(zip(labels, accumulate(self.counts)))


class Histograms(dict[str, Histogram]):
    """Histograms by one label, made when first asked for. Labels come from our code, never from clients."""

    def __missing__(self, label: str) -> Histogram:
        made = self[label] = Histogram(SECONDS)
        return made


def _metric(kind: str, help: str, label: str, default: Callable[[], Any]) -> Any:
    return field(default_factory=default, metadata={"kind": kind, "help": help, "label": label})


def _counter(help: str, label: str = "") -> Any:
    return _metric("counter", help, label, Tally if label else int)


def _gauge(help: str, label: str = "") -> Any:
    return _metric("gauge", help, label, Tally if label else int)


def _histogram(help: str, bounds: Sequence[float] = SECONDS, label: str = "") -> Any:
    return _metric("histogram", help, label, Histograms if label else lambda: Histogram(bounds))


@dataclass(slots=True)
class Counters:
    """One process's figures. Metric `relay_<name>`, with `_total` behind a counter's; time in seconds, size in bytes.

    Counters only grow; a gauge is set, or raised and lowered, by the one who knows, or read by `Metrics.watch`.
    """

    connections: Tally = _gauge("Open WebSocket connections.", "protocol")
    connects: Tally = _counter("WebSocket connections accepted.", "protocol")
    closes: Tally = _counter("WebSocket connections ended, by close code.", "code")
    denied: Tally = _counter("Connections and joins refused, by reason.", "reason")
    rooms: int = _gauge("Rooms in memory.")
    joins: Tally = _counter("Documents opened by clients: from a cached frame, by a diff, cold, ...", "kind")

    edits_in: int = _counter("Updates received from clients.")
    edits_out: int = _counter("Edits delivered: one update to one client other than its author, merged or not.")
    frames_out: int = _counter("WebSocket frames of edits, documents and presence sent.")
    bytes_in: int = _counter("Bytes received on WebSocket connections.")
    bytes_out: int = _counter("Bytes of edits, documents and presence sent.")
    presence_in: int = _counter("Presence updates received from clients.")
    flush_seconds: Histogram = _histogram("Time the loop spent on one flush of one room.")
    edits_per_frame: Histogram = _histogram("Edits that one flush merged into one frame.", COUNTS)
    slow_readers: int = _gauge("Clients being skipped until they have drained.")
    catch_ups: int = _counter("Merged updates sent to clients that had been skipped.")
    loop_lag_seconds: Histogram = _histogram("How late the event loop ran a timer.")

    journal_up: int = _gauge("1 while the journal answers, else 0.")
    journal_append_seconds: Histogram = _histogram("From queueing an append to its acknowledgement.")
    journal_unacknowledged: int = _gauge("Edits not yet acknowledged by the journal.")
    snapshot_seconds: Histogram = _histogram("Compacting and storing one snapshot.")
    snapshot_bytes: int = _counter("Bytes of snapshots stored.")
    snapshot_reads: Tally = _counter("Documents read from PostgreSQL, by what gave them or why it did not.", "source")
    database_waiting: int = _gauge("Calls waiting for a connection to PostgreSQL.")
    snapshot_age_seconds: float = _gauge("Age of the oldest journalled edit that no snapshot covers.")
    codec_queue: int = _gauge("Jobs waiting for a codec process.")
    codec_seconds: Histograms = _histogram("One job in a codec process.", label="op")
    workers: int = _gauge("Worker processes that these figures are of.")
    errors: Tally = _counter("Failures inside the relay: each has a line in the log.", "kind")


_FIELDS = {f.name: f.metadata for f in fields(Counters)}


class Metrics(Collector):
    """A process's counters and the registry that exposes them; nothing is global."""

    def __init__(self) -> None:
        self.counters = Counters(workers=1)
        self.registry = CollectorRegistry()
        self._watched: dict[str, Callable[[], float]] = {}
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Read the gauge `name` from `read` at every scrape, for what is cheaper to look up than to keep counted."""
        if _FIELDS[name]["kind"] != "gauge" or _FIELDS[name]["label"]:
            raise ValueError(f"{name} is not a gauge without labels")
        self._watched[name] = read

    def render(self) -> bytes:
        """The page Prometheus scrapes, of `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for at a scrape."""
        yield InfoMetricFamily("relay_build", _BUILD, {"version": __version__, "python": platform.python_version()})
        for name, read in self._watched.items():
            setattr(self.counters, name, read())
        for name, meta in _FIELDS.items():
            yield _family(f"relay_{name}", meta["kind"], meta["help"], meta["label"], getattr(self.counters, name))


def _family(name: str, kind: str, help: str, label: str, value: Any) -> Metric:
    labels = [label] if label else []
    samples = [([key], one) for key, one in value.items()] if label else [([], value)]
    if kind == "histogram":
        histogram = HistogramMetricFamily(name, help, labels=labels)
        for keys, one in samples:
            histogram.add_metric(keys, one.buckets(), one.sum)
        return histogram
    family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, help, labels=labels)
    for keys, one in samples:
        family.add_metric(keys, one)
    return family


async def measure_lag(lag: Histogram, every: float = 0.5) -> None:
    """Observe how late the loop wakes us, until cancelled: time in which nobody was served."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        lag.observe(max(0.0, loop.time() - due))


_BUILD = "The version running; always 1."


def markdown() -> str:
    """The reference page."""
    page = [
        "# Metrics",
        "",
        "Of one relay process, at `/metrics` in Prometheus text format; `process_*` and `python_gc_*` come with them.",
        "With `--workers` they are of all workers together (of ages the greatest, of limits the least, else the sum);",
        "`/metrics?worker=0` is one of them. A worker that does not answer in time is an error `silent worker`.",
        f"A label takes at most {MOST_LABELS} values; further ones count as `other`. Times are seconds, sizes bytes.",
        "",
        "Written by `python -m relay.metrics`; do not edit.",
        "",
        "| metric | type | label | what it says |",
        "|---|---|---|---|",
        f"| `relay_build_info` | gauge | `version`, `python` | {_BUILD} |",
    ]
    for name, meta in _FIELDS.items():
        total = "_total" if meta["kind"] == "counter" else ""
        label = f"`{meta['label']}`" if meta["label"] else ""
        page.append(f"| `relay_{name}{total}` | {meta['kind']} | {label} | {meta['help']} |")
    return "\n".join(page) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
