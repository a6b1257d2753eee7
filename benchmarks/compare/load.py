"""The load generator: one scenario against one server, as one process pinned to a core of its own.

    python -m benchmarks.compare.load < order.json > result.json

Every run is bounded in time and in what it sends. CPU, of the server and of this process, is measured here, at the
two ends of the measured window.
"""

import gc
import json
import resource
import sys
from typing import Any

from benchmarks.compare import arrivals
from benchmarks.compare.order import Order
from benchmarks.compare.playback import replaying
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.swarm import Target
from benchmarks.compare.traffic import typing

__all__ = ["main", "run"]

KINDS = {
    "idle": arrivals.idle, "join": arrivals.join, "return": arrivals.come_back, "hold": arrivals.hold,
    "trace": replaying,
}  # fmt: skip


def run(order: Order) -> dict[str, Any]:
    """Do it. Raises TimeoutError where clients can't join."""
    return KINDS.get(order.scenario.kind, typing)(order)


def main() -> None:
    """Read the order, obey it, write the result; `error` where it could not be done."""
    said = json.load(sys.stdin)
    fields: dict[str, Any] = {name: tuple(it) if isinstance(it, list) else it for name, it in said["scenario"].items()}
    scenario = Scenario(**fields)
    order = Order(**said | {"scenario": scenario, "target": Target(*said["target"])})
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    gc.disable()
    try:
        result = run(order)
    except (TimeoutError, OSError) as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
