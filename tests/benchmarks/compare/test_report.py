"""benchmarks/compare/report.py"""

from typing import Any

from benchmarks.compare.report import best, markdown, rows


def run(server: str, cpu: float, others: float = 0.0, **more: Any) -> dict[str, Any]:
    result = {
        "cpu_us": cpu, "own_cpu_us": cpu, "per_s": 1000.0, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0,
        "others": others, "stolen": 0.0, "generator": 0.2, "server": 0.3, "faults": "none",
    }  # fmt: skip
    return {"scenario": "pair", "server": server, "repeat": 0, "result": result | more}


ABOUT = {
    "machine": {"processor": "P", "cores": 2, "memory": "1 GiB", "kernel": "6", "python": "3.11"},
    "versions": {"relay": {"materi-relay": "0"}}, "started": "now", "seconds": 3.0,
    "server_cores": "0", "load_cores": "1",
}  # fmt: skip


def test_medians_are_of_the_quiet_runs() -> None:
    """A disturbed run counts only where there is no other."""
    (row,) = rows([run("relay", 10.0), run("relay", 14.0), run("relay", 90.0, others=0.9)])
    assert (row.median["cpu_us"], row.least["cpu_us"], row.most["cpu_us"]) == (12.0, 10.0, 14.0)
    assert (row.runs, row.quiet) == (3, 2)
    (row,) = rows([run("relay", 90.0, others=0.9)])
    assert (row.median["cpu_us"], row.quiet) == (90.0, 0)


def test_the_ratio_is_to_the_best_peer() -> None:
    """Ours, over either protocol, is not one."""
    runs = [run("relay", 10.0), run("relay-hp", 5.0), run("hocuspocus", 40.0), run("y-websocket", 20.0)]
    assert best(rows(runs), "cpu_us") == 20.0
    text = markdown(runs, ABOUT)
    (overview,) = [line for line in text.splitlines() if line.startswith("| pair |")]
    assert "| 0.50 |" in overview


def test_what_is_held_against_a_figure_is_said() -> None:
    """Lost edits, a busy generator, a disturbed run."""
    text = markdown([run("relay", 10.0, others=0.5, generator=0.95), run("hocuspocus", 20.0, faults="3 lost")], ABOUT)
    assert "1 disturbed" in text
    assert "over 85% busy" in text
    assert "hocuspocus: edits went wrong: 3 lost" in text
