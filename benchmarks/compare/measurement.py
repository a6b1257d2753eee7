"""One run: a fresh server, a generator, their cores, and what is to be thought of the figures."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.compare.machine import Moment
from benchmarks.compare.playback import live_steps
from benchmarks.compare.replay import AUTHORS, prepared
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.servers import Given, Running, Server
from benchmarks.compare.traces import NoTrace

__all__ = ["DISTURBED", "SATURATED", "Bench", "disturbed", "failed", "saturated"]

ROOT = Path(__file__).parent.parent.parent
DISTURBED = 0.15
"""Cores used by others, or stolen, that make a run a disturbed one."""
SATURATED = 0.85
"""Share of its core that a generator may use before the figures may be about it."""
LIMIT = 120.0
"""Seconds that a run may take."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and for how long; cores are those of the server with all that is below it, and of the generator."""

    cache: Path
    server_cores: frozenset[int]
    load_cores: frozenset[int]
    seconds: float = 3.0
    warmup: float = 1.0
    prewarm: float = 2.0
    quiet: float = 3.0
    """Seconds to wait, at most, for others to be quiet before a run."""
    alone: tuple[Path, ...] = ()
    together: tuple[Path, ...] = ()
    """Traces, of one author and of several, to be replayed instead of made ones."""

    def measure(self, scenario: Scenario, server: Server | Given) -> dict[str, Any]:
        """The generator's result, or what went wrong under `error`."""
        try:
            scripts = self._scripts(scenario)
        except (NoTrace, TimeoutError, OSError) as error:
            return {"error": str(error)}
        self._wait()
        try:
            with server if isinstance(server, Given) else self._fresh(server) as running:
                order = {
                    "scenario": asdict(scenario), "target": list(running.target), "pid": running.pid,
                    "key": running.key, "scripts": scripts, "prewarm": self.prewarm,
                    "warmup": self.warmup, "seconds": self.seconds, "seed": time.monotonic_ns() % 10**9,
                }  # fmt: skip
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.compare.load"], input=json.dumps(order), text=True, cwd=ROOT,
                    capture_output=True, timeout=LIMIT, check=False,
                    preexec_fn=lambda: os.sched_setaffinity(0, self.load_cores),
                )  # fmt: skip
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return {"error": str(error)}
        if done.returncode:
            return {"error": f"the generator failed: {done.stderr.strip()[-1500:]}"}
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def _scripts(self, scenario: Scenario) -> list[str]:
        """Files with what is to be written in each room, where that is a trace."""
        live = live_steps(scenario.rate / scenario.rooms, self.warmup + self.seconds)
        given = self.together if scenario.writers > 1 else self.alone
        names = [str(given[n % len(given)]) if given else name for n, name in enumerate(scenario.traces)]
        return [str(prepared(name, self.cache, live, n * AUTHORS)) for n, name in enumerate(names)]

    def _fresh(self, server: Server) -> Running:
        return Running(server, self.cache, set(self.server_cores))

    def _wait(self) -> None:
        ends = time.monotonic() + self.quiet
        while time.monotonic() < ends:
            before = Moment(0)
            time.sleep(0.3)
            if Moment(0).since(before).others < DISTURBED:
                return


def failed(result: dict[str, Any]) -> str:
    """Why a run does not count; "" where it does."""
    faults = result.get("faults", "none")
    return result.get("error") or (f"edits went wrong: {faults}" if faults != "none" else "")


def disturbed(result: dict[str, Any]) -> bool:
    """Whether others used the machine meanwhile."""
    return "error" not in result and max(result["others"], result["stolen"]) > DISTURBED


def saturated(result: dict[str, Any]) -> bool:
    """Whether the generator was so busy that the figures may be about it."""
    return "error" not in result and result["generator"] > SATURATED
