"""The machine: what it is, who uses its processors, and how much memory processes hold. Linux only."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Moment", "Usage", "cpu_of", "described", "family", "memory_of"]


def family(pid: int) -> list[int]:
    """A process, and all below it."""
    found = [pid]
    for above in found:
        for children in Path(f"/proc/{above}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                pass  # ended meanwhile
    return found


def cpu_of(pids: list[int]) -> float:
    """User and system seconds that these processes have used, all threads, to the nanosecond."""
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3)
        except OSError:
            pass  # ended
    return total


def memory_of(pids: list[int]) -> int:
    """Bytes that these processes hold; pages that they share count once."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.partition("Pss:")[2].split()[0]) * 1024
        except (OSError, IndexError):
            pass  # ended, or not ours to look at
    return total


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the processors, between two moments. `own`: seconds of the server's first process; `all`: with those below
    it; the rest are shares of one core."""

    seconds: float
    own: float
    all: float
    generator: float
    others: float
    """Processes that are neither the server nor us."""
    stolen: float
    """What a hypervisor gave to somebody else."""


class Moment:
    """What the processors have done until now. `pid`: of the server, 0 where it is elsewhere."""

    def __init__(self, pid: int) -> None:
        busy, stolen = _ticks()
        self._family = family(pid) if pid else []
        self._own, self._all = cpu_of(self._family[:1]), cpu_of(self._family)
        self._busy, self._stolen = busy, stolen
        self._generator = time.process_time()
        self._at = time.monotonic()

    def since(self, before: "Moment") -> Usage:
        """Between another moment and this one."""
        seconds = self._at - before._at
        own, whole = self._own - before._own, self._all - before._all
        generator = self._generator - before._generator
        others = (self._busy - before._busy - whole - generator) / seconds
        return Usage(
            seconds, own, whole, generator / seconds, max(0.0, others), (self._stolen - before._stolen) / seconds
        )


def _ticks() -> tuple[float, float]:
    """Seconds that all processors were busy, and were stolen."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _wait, irq, softirq, stolen = map(int, stat.readline().split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / tick, stolen / tick


def described() -> dict[str, str | int]:
    """Processor, cores, memory, kernel and Python."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{memory / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
