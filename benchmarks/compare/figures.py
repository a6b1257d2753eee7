"""The figures of a run."""

import statistics
from typing import Any

from benchmarks.compare.machine import Usage, family, memory_of

__all__ = ["latencies", "memory", "quantile", "used"]

SAMPLES = 100
"""Points of the latency distribution in a result."""


def memory(pid: int) -> tuple[int, int]:
    """Bytes of the server's first process, and of all."""
    pids = family(pid) if pid else []
    return memory_of(pids[:1]), memory_of(pids)


def used(usage: Usage, count: int) -> dict[str, Any]:
    """Of the processors, for each of `count`."""
    return {
        "seconds": usage.seconds, "count": count, "per_s": count / usage.seconds,
        "cpu_us": usage.all / count * 1e6 if count else 0.0, "own_cpu_us": usage.own / count * 1e6 if count else 0.0,
        "server": usage.all / usage.seconds, "generator": usage.generator, "others": usage.others,
        "stolen": usage.stolen,
    }  # fmt: skip


def latencies(seconds: list[float]) -> dict[str, Any]:
    """Milliseconds: percentiles, and evenly spaced points of the distribution."""
    ordered = sorted(value * 1e3 for value in seconds)
    if not ordered:
        return {}
    points = [quantile(ordered, n / SAMPLES) for n in range(SAMPLES + 1)]
    return {
        "p50_ms": statistics.median(ordered), "p95_ms": quantile(ordered, 0.95), "p99_ms": quantile(ordered, 0.99),
        "max_ms": ordered[-1], "samples": len(ordered), "distribution": [round(point, 4) for point in points],
    }  # fmt: skip


def quantile(ordered: list[float], share: float) -> float:
    """Of sorted values; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
