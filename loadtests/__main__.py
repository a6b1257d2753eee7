"""`make load`: a bounded run, against a relay of its own unless one is named; ends non-zero when a threshold breaks."""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from loadtests.server import ROOT, NotReady, child, relay
from loadtests.target import NotLoopback, target_of

__all__ = ["main"]

USERS_A_PROCESS = 500


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit status."""
    parser = argparse.ArgumentParser(
        "python -m loadtests",
        description=__doc__,
        epilog="Anything else is passed to locust: --edit-p95 50, Editor …",
        allow_abbrev=False,
    )
    parser.add_argument("--host", default=os.environ.get("RELAY_URL", ""), help="a relay's URL; unset: start one")
    parser.add_argument("--anywhere", action="store_true", default=os.environ.get("LOADTEST_ANYWHERE") == "1")
    parser.add_argument("--users", "-u", type=int, default=100)
    parser.add_argument("--spawn-rate", "-r", type=float, default=0, help="users a second; unset: all within 10 s")
    parser.add_argument("--run-time", "-t", default="1m")
    parser.add_argument("--processes", type=int, default=0, help="of locust; unset: one for 500 users")
    parser.add_argument("--workers", type=int, default=2, help="of the relay that is started")
    parser.add_argument("--plugins", default="", help="of the relay that is started: auth,workspaces,documents")
    parser.add_argument("--results", type=Path, default=Path("results"))
    options, more = parser.parse_known_args(arguments)

    name = options.results.absolute() / f"load-{time.strftime('%Y%m%d-%H%M%S')}"
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py"), "--headless"]
    command += ["--users", str(options.users), "--spawn-rate", str(options.spawn_rate or max(1, options.users / 10))]
    command += ["--run-time", options.run_time, "--only-summary", "--csv", str(name), "--html", f"{name}.html"]
    processes = options.processes or -(-options.users // USERS_A_PROCESS)
    if processes > 1:
        command += ["--processes", str(processes)]
    if options.anywhere:
        command.append("--anywhere")

    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.ExitStack() as stack:
        try:
            url = options.host or stack.enter_context(_own(options.workers, options.plugins))
            target_of(url, anywhere=options.anywhere)
        except NotReady as error:
            print(f"the relay did not start:\n{error}", file=sys.stderr)
            return 1
        except (ValueError, NotLoopback) as error:
            print(error, file=sys.stderr)
            return 2
        print(f"{options.users} users against {url} for {options.run_time}", flush=True)
        locust = stack.enter_context(child([*command, "--host", url, *more], environment=os.environ))
        try:
            status = locust.wait()
        except KeyboardInterrupt:
            locust.send_signal(signal.SIGTERM)
            status = locust.wait()
        print(f"Report: {name}.html, {name}_*.csv, {name}_thresholds.json")
    return status


def _own(workers: int, plugins: str) -> contextlib.AbstractContextManager[str]:
    flags = ["--workers", str(workers)] + (["--plugins", plugins] if plugins else [])
    return relay(*flags, environment={"RELAY_PLUGINS_AUTH_REGISTRATION": "open"} if plugins else None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
