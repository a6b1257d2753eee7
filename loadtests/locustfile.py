"""What locust loads: the users, the options, and the hooks around a run."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests.run import RUN
from loadtests.thresholds import Limits, Row, Verdict, judge, percentile
from loadtests.users import ApiClient, Bot, Editor, Lurker, Person, Viewer

__all__ = ["ApiClient", "Bot", "Editor", "Lurker", "Viewer"]

TRUSTED_LAG = 25.0
"""Milliseconds at p95 up to which the generator's own lateness does not spoil what it measures."""
_HELP = {
    "edit_p95": "Milliseconds, p95, from an edit to another client that sees it.",
    "saved_p95": "Milliseconds, p95, from an edit to its acknowledgement.",
    "join_p95": "Milliseconds, p95, from connecting to having the document.",
    "api_p95": "Milliseconds, p95, of HTTP requests.",
    "errors": "Share of requests that may fail.",
}


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """`--edit-p95` is `LOADTEST_EDIT_P95` in the environment, and so on."""
    group = parser.add_argument_group("load test")

    def add(name: str, help: str, **options: Any) -> None:
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(flag, env_var=f"LOADTEST_{name.upper()}", help=help, **options)

    add("anywhere", "Allow a target that is not this machine.", action="store_true", default=False)
    add("rooms", "Rooms; 0: one for ten users.", type=int, default=0)
    add("hot", "Share of the documents opened that are the first room.", type=float, default=0.05)
    add("sample", "Look at one in so many updates that come in.", type=int, default=4)
    add("storm_every", "Cut all connections every so many seconds; 0: never.", type=float, default=0.0)
    for limit in fields(Limits):
        add(limit.name, _HELP[limit.name], type=float, default=limit.default)


@events.init.add_listener
def begin(environment: Environment, **_: object) -> None:
    RUN.begin(environment)


@events.test_start.add_listener
def start(**_: object) -> None:
    RUN.start()


@events.test_stop.add_listener
def stop(**_: object) -> None:
    RUN.stop()


@events.quitting.add_listener
def decide(environment: Environment, **_: object) -> None:
    """Say whether the run kept to its thresholds; locust's exit status follows."""
    runner, options = RUN.runner, RUN.options
    if isinstance(runner, WorkerRunner):
        environment.process_exit_code = 0  # what users ran into is in the master's statistics
        return
    runner.quit()  # an interrupted run is checked too
    rows = [
        Row(entry.method, entry.name, entry.num_requests, entry.num_failures, entry.response_times)
        for entry in environment.stats.entries.values()
    ]
    kinds = environment.user_classes
    lost: int | None = sum(loss.acknowledged - loss.found for loss in RUN.losses)
    if RUN.unread or not RUN.checked:
        lost = None
    verdicts = judge(
        rows,
        Limits(**{limit.name: getattr(options, limit.name) for limit in fields(Limits)}),
        edits=any(getattr(kind, "writes", False) for kind in kinds),
        joins=any(issubclass(kind, Person) for kind in kinds),
        api=any(issubclass(kind, ApiClient) for kind in kinds),
        lost=lost,
        exceptions=sum(exception["count"] for exception in runner.exceptions.values()),
    )
    lag = percentile([row for row in rows if (row.method, row.name) == ("GENERATOR", "lag")], 0.95) or 0.0
    busy = runner.cpu_warning_emitted or runner.worker_cpu_warning_emitted
    _report(verdicts, lag, busy)
    environment.process_exit_code = 0 if all(verdict.kept for verdict in verdicts) else 1


def _report(verdicts: list[Verdict], lag: float, busy: bool) -> None:
    trusted = lag <= TRUSTED_LAG and not busy
    print("\nThresholds")
    for verdict in verdicts:
        print(f"  {verdict}")
    print(f"  {RUN.checked} acknowledged characters were looked for by fresh readers")
    for loss in RUN.losses[:10]:
        print(f"  LOST    {loss.room}, author {loss.client}: {loss.found} of {loss.acknowledged}")
    for room in RUN.unread[:10]:
        print(f"  UNREAD  {room}")
    print(
        f"Generator: lag p95 {lag:g} ms, {'at times more' if busy else 'never more'} than 90 % of a core in a process"
    )
    if not trusted:
        print("  It was a bottleneck itself, and the latencies are its own too: use more --processes, or more hosts")
    if prefix := RUN.options.csv_prefix:
        outcome = {
            "passed": all(verdict.kept for verdict in verdicts),
            "thresholds": [asdict(verdict) | {"kept": verdict.kept} for verdict in verdicts],
            "checked": RUN.checked,
            "losses": [asdict(loss) for loss in RUN.losses],
            "unread": RUN.unread,
            "generator": {"lag_p95": lag, "busy": busy, "trusted": trusted},
        }
        Path(f"{prefix}_thresholds.json").write_text(json.dumps(outcome, indent=1) + "\n")
