"""benchmarks/compare/load.py, against servers that do not do as they should."""

import pytest
from faulty_server import Passing, Swaps, doubles, loses, server, whole

from benchmarks.compare.load import run
from benchmarks.compare.order import Order
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.swarm import Swarm, Target


@pytest.mark.parametrize(
    ("passing", "wrong"),
    [(whole, "none"), (loses, "1 lost"), (doubles, "1 doubled"), (Swaps(), "1 disordered")],
    ids=["whole", "loses", "doubles", "swaps"],
)
@pytest.mark.parametrize("window", [0, 4], ids=["paced", "waiting"])
def test_a_server_is_found_out(passing: Passing, wrong: str, window: int) -> None:
    """One writer, one reader: what the server does to a single edit is what the result says."""
    kind = "closed" if window else "typing"
    scenario = Scenario("test", "", kind, writers=1, rate=0 if window else 300, window=window)
    with server(passing) as target:
        order = Order(scenario, target, prewarm=0, warmup=0.1, seconds=0.3, drain=0.5)
        result = run(order)
    assert result["faults"] == wrong
    assert result["count"] > 30
    assert result["p50_ms"] < 100


def test_only_this_machine_is_loaded() -> None:
    """Another address wants to be asked for."""
    with pytest.raises(SystemExit):
        Swarm(Target("192.0.2.1", 80, "/", False), 1)
