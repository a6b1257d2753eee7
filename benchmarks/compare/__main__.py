"""Materi Relay beside its peers, on this machine.

    python -m benchmarks.compare                           everything, in under 20 minutes
    python -m benchmarks.compare --scenarios room50,pair --servers relay,hocuspocus --repeats 5
    python -m benchmarks.compare --at ws://127.0.0.1:8080/ws/{room} --pid 4711 --scenarios room50
    python -m benchmarks.compare --list

Peers are installed below --cache, once. Servers take turns, each run on a fresh one. Figures, table and plots are in
--out; a lost, doubled or disordered edit anywhere makes the exit status 1.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare.machine import described
from benchmarks.compare.measurement import ROOT, Bench, disturbed, failed, saturated
from benchmarks.compare.report import markdown
from benchmarks.compare.scenarios import CORE, SCENARIOS, Scenario
from benchmarks.compare.servers import CACHE, GIVEN, SERVERS, Given, NotInstalled, Server, install
from benchmarks.compare.traces import NoTrace, read

__all__ = ["main", "pinned"]


def pinned(given: str, index: int) -> frozenset[int]:
    """The cores that were asked for ("0" or "0,1"), or the machine's `index`-th, its last where it has fewer."""
    if given:
        return frozenset(map(int, given.split(",")))
    cores = sorted(os.sched_getaffinity(0))
    return frozenset({cores[min(index, len(cores) - 1)]})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="default: all")
    parser.add_argument("--servers", default=",".join(SERVERS), help="default: all; some only take part in a few "
                        "scenarios unless they or those are named")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=3, help="of the scenarios of targets; others run once")
    parser.add_argument("--minutes", type=float, default=17.0, help="no repeat begins later than this")
    parser.add_argument("--seconds", type=float, default=3.0, help="the measured window")
    parser.add_argument("--quiet", type=float, default=3.0, help="seconds to wait for others to be quiet before a run")
    parser.add_argument("--server-cores", default="", help="default: the first")
    parser.add_argument("--load-cores", default="", help="default: the second")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where peers are installed; default %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results", help="default %(default)s")
    parser.add_argument("--at", default="", metavar="URL", help="measure a server that runs already, alone: with "
                        "`{room}` in the URL over y-websocket, without over Hocuspocus")  # fmt: skip
    parser.add_argument("--pid", type=int, default=0, help="of that server's first process, to see its CPU")
    parser.add_argument("--key", default="", help="PEM file with a private RSA key, to sign that server's tokens with")
    parser.add_argument("--anywhere", action="store_true", help="that server need not be this machine")
    parser.add_argument("--trace", type=Path, action="append", default=[], metavar="FILE", help="an editing trace "
                        "(.json.gz, the format of josephg/editing-traces) to be replayed in the trace scenarios; may "
                        "be given several times")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="the scenarios and servers")
    options = parser.parse_args()
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:16} {scenario.what}")
        for server in SERVERS.values():
            print(f"{server.name:16} {server.what}")
        return 0
    try:
        scenarios = [SCENARIOS[name] for name in options.scenarios.split(",")]
        servers = [SERVERS[name] for name in options.servers.split(",")]
    except KeyError as error:
        parser.error(f"there is no {error}: see --list")
    given: list[Server | Given] = []
    if options.at:
        try:
            given = [Given(options.at, options.pid, options.key, options.anywhere)]
        except ValueError as error:
            parser.error(str(error))
        servers = []
    try:
        authors = {path: read(path).agents for path in options.trace}
    except (NoTrace, OSError) as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped with us
    bench = Bench(
        options.cache,
        pinned(options.server_cores, 0),
        pinned(options.load_cores, 1),
        options.seconds,
        quiet=options.quiet,
        alone=tuple(path for path, count in authors.items() if count == 1),
        together=tuple(path for path, count in authors.items() if count > 1),
    )
    if bench.server_cores & bench.load_cores:
        print("server and generator share a core: figures are of little use", file=sys.stderr)
    versions: dict[str, dict[str, str]] = {}
    for server in list(servers):
        try:
            versions[server.name] = install(server, options.cache)
        except NotInstalled as error:
            print(f"without {server.name}: {error}", file=sys.stderr)
            servers.remove(server)
    about: dict[str, Any] = {
        "started": time.strftime("%Y-%m-%d %H:%M"), "machine": described(), "versions": versions,
        "seconds": options.seconds, "server_cores": ",".join(map(str, sorted(bench.server_cores))),
        "load_cores": ",".join(map(str, sorted(bench.load_cores))), "disturbed": 0,
        "traces": [path.name for path in options.trace],
    }  # fmt: skip
    named = options.servers != parser.get_default("servers")
    runs = _runs(bench, scenarios, given or servers, options.repeats, options.minutes * 60, named)
    about["disturbed"] = sum(disturbed(run["result"]) for run in runs)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "compare.json").write_text(json.dumps({"about": about, "runs": runs}, indent=None) + "\n")
    text = markdown(runs, about)
    (options.out / "compare.md").write_text(text)
    print(f"\n{text}")
    try:
        from benchmarks.compare.plots import draw

        print("\n".join(map(str, draw(runs, options.out))))
    except ImportError as error:
        print(f"no plots: {error} (pip install -e '.[bench]')", file=sys.stderr)
    wrong = [run for run in runs if failed(run["result"])]
    for run in wrong:
        print(f"FAILED {run['scenario']} {run['server']}: {failed(run['result'])}", file=sys.stderr)
    return 1 if wrong else 0


def _runs(
    bench: Bench,
    scenarios: list[Scenario],
    servers: Sequence[Server | Given],
    repeats: int,
    budget: float,
    everywhere: bool,
) -> list[dict[str, Any]]:
    """All of them, servers taking turns; the first round is whole, later ones end with the budget."""
    started = time.monotonic()
    runs: list[dict[str, Any]] = []
    for repeat in range(repeats):
        for scenario in scenarios:
            if repeat and (scenario not in CORE or time.monotonic() - started > budget):
                continue
            there = [s for s in servers if everywhere or _takes_part(s, scenario, repeat)]
            for server in there if repeat % 2 == 0 else there[::-1]:
                name = GIVEN if isinstance(server, Given) else server.name
                result = bench.measure(scenario, server)
                runs.append({"scenario": scenario.name, "server": name, "repeat": repeat, "result": result})
                print(f"{time.monotonic() - started:6.0f} s  {scenario.name:16} {name:12} {_said(result)}",
                      flush=True)  # fmt: skip
    return runs


def _takes_part(server: Server | Given, scenario: Scenario, repeat: int) -> bool:
    if isinstance(server, Given) or not server.scenarios:
        return True
    return scenario.name in server.scenarios and not repeat


def _said(result: dict[str, Any]) -> str:
    if failed(result):
        return f"FAILED: {failed(result)}"
    said = f"{result['cpu_us']:9.3f} µs CPU"
    if "p95_ms" in result:
        said += f"  p95 {result['p95_ms']:7.2f} ms"
    said += f"  {result['per_s']:11,.0f}/s"
    if disturbed(result):
        said += f"  DISTURBED: others used {result['others']:.2f} cores"
    if saturated(result):
        said += f"  GENERATOR {result['generator']:.0%} BUSY"
    return said


if __name__ == "__main__":
    sys.exit(main())
