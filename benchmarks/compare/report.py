"""What was found, for people: medians and spread, ratios to the best peer, and what to hold against a figure."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.compare.measurement import SATURATED, disturbed, failed, saturated
from benchmarks.compare.scenarios import SCENARIOS, Scenario
from benchmarks.compare.servers import GIVEN, SERVERS

__all__ = ["Row", "best", "markdown", "rows"]

FIGURES = (
    "cpu_us", "own_cpu_us", "per_s", "p50_ms", "p95_ms", "p99_ms", "memory_mb", "per_connection_kb",
    "own_per_connection_kb", "held_per_byte", "repeated", "drained_s", "generator", "server",
)  # fmt: skip
FREE = ("closed", "join", "return", "idle")
"""Kinds of scenarios that go as fast as the server does."""


@dataclass(frozen=True, slots=True)
class Row:
    """A server in a scenario. median, least, most: by figure, over the undisturbed runs where there are any."""

    scenario: Scenario
    server: str
    runs: int
    quiet: int
    saturated: int
    failures: tuple[str, ...]
    median: dict[str, float]
    least: dict[str, float]
    most: dict[str, float]


def rows(runs: Iterable[dict[str, Any]]) -> list[Row]:
    """One for each scenario and server of a run list (`scenario`, `server`, `result`), in their order."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        grouped.setdefault((run["scenario"], run["server"]), []).append(run["result"])
    order = list(SCENARIOS)
    servers = [*SERVERS, GIVEN]
    made = []
    for name, server in sorted(grouped, key=lambda pair: (order.index(pair[0]), servers.index(pair[1]))):
        results = grouped[name, server]
        good = [result for result in results if not failed(result)]
        quiet = [result for result in good if not disturbed(result)]
        values = {
            figure: [result[figure] for result in quiet or good if figure in result]
            for figure in FIGURES
            if any(figure in result for result in quiet or good)
        }
        made.append(
            Row(
                SCENARIOS[name], server, len(good), len(quiet), sum(map(saturated, good)),
                tuple(reason for reason in map(failed, results) if reason),
                {figure: statistics.median(found) for figure, found in values.items()},
                {figure: min(found) for figure, found in values.items()},
                {figure: max(found) for figure, found in values.items()},
            )
        )  # fmt: skip
    return made


def best(among: Sequence[Row], figure: str, *, most: bool = False) -> float | None:
    """The best of the peers' medians."""
    found = [
        row.median[figure] for row in among if row.server != GIVEN and SERVERS[row.server].peer and figure in row.median
    ]
    return (max if most else min)(found) if found else None


def markdown(runs: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """The whole report."""
    made = rows(runs)
    out = ["# Beside the peers", "", *_about(about), "", *_overview(made), ""]
    for scenario in dict.fromkeys(row.scenario.name for row in made):
        out += _detail(SCENARIOS[scenario], [row for row in made if row.scenario.name == scenario])
    return "\n".join(out).rstrip() + "\n"


def _about(about: dict[str, Any]) -> list[str]:
    machine = about["machine"]
    versions = "; ".join(
        f"{name}: " + ", ".join(f"{package} {version}" for package, version in found.items())
        for name, found in about["versions"].items()
    )
    return [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, Linux {machine['kernel']}, Python "
        f"{machine['python']}; {about['started']}. Server with all below it on core {about['server_cores']}, generator "
        f"on core {about['load_cores']}; windows of {about['seconds']:g} s.",
        "",
        versions + ".",
        "",
        "CPU is that of the server and everything below it (for the relay: its PostgreSQL and Valkey too; `own` is the "
        "relay's process alone), in the measured window. An edit counts once for each client, other than its author, "
        "that it reached. Peers run in memory; the relay with tokens, journal, snapshots and metrics on.",
        "",
        f"Traces: {', '.join(about['traces'])}."
        if about.get("traces")
        else "Traces are made by the measured habits of the public ones (benchmarks/traces).",
    ]


def _overview(made: list[Row]) -> list[str]:
    servers = list(
        dict.fromkeys(row.server for row in sorted(made, key=lambda row: [*SERVERS, GIVEN].index(row.server)))
    )
    head = ["scenario", "per", *servers, "relay : best peer, CPU", "per second"]
    legend = "CPU µs, and p95 in ms in brackets; `~`: others used the machine in every run of it."
    out = [legend, "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for scenario in dict.fromkeys(row.scenario.name for row in made):
        there = {row.server: row for row in made if row.scenario.name == scenario}
        cells = [scenario, SCENARIOS[scenario].unit_of_work]
        for server in servers:
            row = there.get(server)
            cells.append(_short(row) if row else "")
        ours = there.get("relay")
        for figure, most in (("cpu_us", False), ("per_s", True)):
            peer = best(list(there.values()), figure, most=most)
            shown = ours is not None and figure in ours.median and peer
            told = figure != "per_s" or SCENARIOS[scenario].kind in FREE
            cells.append(f"{ours.median[figure] / peer:.2f}" if shown and told and ours and peer else "")
        out.append("| " + " | ".join(cells) + " |")
    return out


def _short(row: Row) -> str:
    if not row.runs:
        return "failed"
    latency = f" ({_shown(row.median['p95_ms'])})" if "p95_ms" in row.median else ""
    return _shown(row.median["cpu_us"]) + latency + ("" if row.quiet else " ~")


def _detail(scenario: Scenario, there: list[Row]) -> list[str]:
    unit = scenario.unit_of_work
    out = [f"## {scenario.name}: {scenario.what}", ""]
    columns = [("CPU µs", "cpu_us"), ("own", "own_cpu_us"), (f"{unit}s/s", "per_s"), ("p50 ms", "p50_ms"),
               ("p95 ms", "p95_ms"), ("p99 ms", "p99_ms"), ("KiB each", "per_connection_kb"),
               ("own KiB each", "own_per_connection_kb"), ("bytes held per byte", "held_per_byte"),
               ("MB held", "memory_mb")]  # fmt: skip
    columns = [column for column in columns if any(column[1] in row.median for row in there)]
    cpu, late, rate = best(there, "cpu_us"), best(there, "p95_ms"), best(there, "per_s", most=True)
    head = ["server", *(name for name, _ in columns), "CPU : best peer", "p95 - best peer", "per s : best peer", "busy",
            "runs"]  # fmt: skip
    out += ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    notes = []
    for row in there:
        cells = [row.server]
        for _, figure in columns:
            cells.append(_spread(row, figure))
        cells.append(f"{row.median['cpu_us'] / cpu:.2f}" if cpu and row.runs else "")
        cells.append(f"{row.median['p95_ms'] - late:+.2f} ms" if late and "p95_ms" in row.median else "")
        cells.append(f"{row.median['per_s'] / rate:.2f}" if rate and row.runs and scenario.kind in FREE else "")
        busy = f"{row.median['server']:.0%}, generator {row.median['generator']:.0%}" if row.runs else ""
        cells += [busy, f"{row.runs}" + (f", {row.runs - row.quiet} disturbed" if row.quiet < row.runs else "")]
        out.append("| " + " | ".join(cells) + " |")
        if scenario.slow and row.runs:
            notes.append(f"{row.server}: slow readers had everything {row.median['drained_s']:.2f} s after they read "
                         f"on; {row.median['repeated']:,.0f} edits came to them twice.")  # fmt: skip
        if row.saturated:
            notes.append(f"{row.server}: in {row.saturated} runs the generator was over {SATURATED:.0%} busy; "
                         "the server could have done more.")  # fmt: skip
        notes += [f"{row.server}: {reason}" for reason in row.failures]
    if scenario.kind == "trace":
        notes.insert(0, "An edit is a transaction of the trace: a letter, a deletion, a replacement, a paste. Every "
                     "room's text at the end is the trace's, for a reader and for a newcomer, or the run has "
                     "failed.")  # fmt: skip
    return [*out, "", *(f"* {note}" for note in notes), *([""] if notes else [])]


def _spread(row: Row, figure: str) -> str:
    if figure not in row.median:
        return ""
    low, high = row.least[figure], row.most[figure]
    return _shown(row.median[figure]) + (f" ({_shown(low)}-{_shown(high)})" if low != high else "")


def _shown(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
