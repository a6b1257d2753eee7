"""What was found, as pictures (SVG). Needs matplotlib: `pip install -e '.[bench]'`."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from benchmarks.compare.measurement import failed
from benchmarks.compare.report import Row, rows
from benchmarks.compare.scenarios import SCENARIOS

__all__ = ["draw"]

COLOURS = {
    "relay": "#1b6ca8", "relay-hp": "#6fb1e0", "hocuspocus": "#d1495b", "y-websocket": "#edae49", "pycrdt": "#66a182",
    "given": "#444444",
}  # fmt: skip
SIZES = {"pair": 2, "size10": 10, "room50": 50, "size200": 200, "room500": 500}
"""Scenarios of one room, by its clients."""
WRITERS = {"writers1": 1, "writers3": 3, "room50-sat": 10, "writers25": 25, "writers50": 50}
"""Scenarios of a room of 50 at full speed, by its writers."""
LATENCIES = ("pair", "room50", "rooms100", "room500")


def draw(runs: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Every picture that there are figures for."""
    mpl.rcParams.update({"svg.hashsalt": "relay", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3})
    made = rows(runs)
    drawn = [
        _latency(runs, folder / "latency.svg"),
        _lines(made, SIZES, "cpu_us", folder / "cpu_by_room_size.svg", "clients in the room", "CPU µs per edit",
               log=True),
        _lines(made, WRITERS, "per_s", folder / "throughput_by_writers.svg", "writers in a room of 50 clients",
               "delivered edits/s"),
        _steps(runs, "idle", "connections", 1, folder / "memory_by_connections.svg", "idle connections"),
        _steps(runs, "documents", "bytes", 1e6, folder / "memory_by_document.svg", "MB of the document"),
    ]  # fmt: skip
    return [path for path in drawn if path is not None]


def _latency(runs: list[dict[str, Any]], path: Path) -> Path | None:
    there = [name for name in LATENCIES if any(run["scenario"] == name and not failed(run["result"]) for run in runs)]
    if not there:
        return None
    figure, axes = plt.subplots(1, len(there), figsize=(4 * len(there), 3.6), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], there, strict=True):
        for server in COLOURS:
            found = [run["result"]["distribution"] for run in runs
                     if run["scenario"] == name and run["server"] == server and not failed(run["result"])]  # fmt: skip
            if found:
                points = [statistics.median(column) for column in zip(*found, strict=True)]
                shares = [n / (len(points) - 1) for n in range(len(points))]
                axis.plot(points, shares, label=server, color=COLOURS[server])
        axis.set(xscale="log", title=name, xlabel="ms from sent to read")
    axes[0][0].set_ylabel("share of edits")
    axes[0][-1].legend(fontsize="small")
    return _save(figure, path)


def _lines(
    made: Iterable[Row], at: dict[str, int], name: str, path: Path, x: str, y: str, *, log: bool = False
) -> Path | None:
    lines: dict[str, list[tuple[int, float, float, float]]] = {}
    for row in made:
        if row.scenario.name in at and row.runs:
            lines.setdefault(row.server, []).append(
                (at[row.scenario.name], row.median[name], row.least[name], row.most[name])
            )
    if not any(len(points) > 1 for points in lines.values()):
        return None
    figure, axis = plt.subplots(figsize=(6, 4))
    for server, points in lines.items():
        points.sort()
        where, middle, low, high = zip(*points, strict=True)
        axis.plot(where, middle, "o-", label=server, color=COLOURS[server])
        axis.fill_between(where, low, high, color=COLOURS[server], alpha=0.15)
    axis.set(xlabel=x, ylabel=y, **({"xscale": "log", "yscale": "log"} if log else {}))
    if not log:
        axis.set_ylim(bottom=0)
    axis.legend()
    return _save(figure, path)


def _steps(runs: list[dict[str, Any]], name: str, key: str, scale: float, path: Path, x: str) -> Path | None:
    lines: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        if run["scenario"] == name and not failed(run["result"]):
            points = [(step[key] / scale, step["mb"]) for step in run["result"]["steps"]]
            lines.setdefault(run["server"], points)
    if not lines:
        return None
    figure, axis = plt.subplots(figsize=(6, 4))
    for server, points in lines.items():
        axis.plot(*zip(*points, strict=True), "o-", label=server, color=COLOURS[server])
    axis.set(xlabel=x, ylabel="MB that the server holds more", title=SCENARIOS[name].what)
    axis.set_ylim(bottom=0)
    axis.legend()
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
