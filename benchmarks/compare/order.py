"""What a load generator is to do."""

from dataclasses import dataclass

from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.swarm import Target

__all__ = ["Order"]


@dataclass(frozen=True, slots=True)
class Order:
    """What to do. pid: the server's first process, 0 where it is elsewhere; key: PEM file to sign tokens with;
    scripts: files of the traces to be replayed, one for each room; prewarm, warmup, seconds: of other rooms at full
    speed, of the load before the window, and of the window; drain: seconds behind it in which all that was sent must
    have arrived."""

    scenario: Scenario
    target: Target
    pid: int = 0
    key: str = ""
    scripts: tuple[str, ...] = ()
    prewarm: float = 2.0
    warmup: float = 1.0
    seconds: float = 3.0
    drain: float = 8.0
    seed: int = 1
