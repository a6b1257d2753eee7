"""How much of what an edit costs does every server pay? Relays that only copy, in C and on uvloop, beside ours.

    python -m benchmarks.floor [--scenarios pair,room50] [--repeats 2] [--seconds 3] [--json PATH]

`floor.c` knows no document and keeps nothing: it reads a frame and sends it to the others of the room. What it costs
is the kernel's TCP and a loop; less is to be had only by sending less often, which is what `batch` does (frames for one
client that arise in one turn leave in one send) and, further, merging. `bare.py` does the same on Python and uvloop:
what it costs above `floor.c` is the interpreter, and what we cost above `bare.py` is what we do. The C program is
compiled here with `cc` (or $CC); the peers (`--peers`) are those of `benchmarks.compare`, whose generator drives all of
them, in turns.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.compare.__main__ import pinned
from benchmarks.compare.machine import described
from benchmarks.compare.measurement import ROOT, Bench, disturbed, failed, saturated
from benchmarks.compare.scenarios import SCENARIOS
from benchmarks.compare.servers import CACHE, SERVERS, Given, NotInstalled, install

__all__ = ["LEAST", "PEERS", "Floor", "NoCompiler", "built", "main", "medians"]

SOURCE = Path(__file__).with_suffix(".c")
WANTED = ("pair", "room50", "rooms100", "room500", "room50-sat", "room500-sat", "rooms100-sat")
FIGURES = ("cpu_us", "own_cpu_us", "per_s", "p50_ms", "p95_ms")
LEAST = ("floor", "batch", "uvloop")
PEERS = ("hocuspocus", "y-websocket")


class NoCompiler(Exception):
    """There is no C compiler here, or it failed; the message says what to do."""


def built(directory: Path) -> Path:
    """The program, compiled into `directory`. Raises NoCompiler."""
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None:
        raise NoCompiler(f"no C compiler: there is no `{compiler}` (apt install gcc, or set CC)")
    program = directory / "floor"
    done = subprocess.run([compiler, "-O2", "-o", program, SOURCE], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCompiler(f"{compiler} could not compile {SOURCE.name}: {done.stderr.strip()[:500]}")
    return program


class Floor:
    """Running, on a free port and on `cores`, as long as the `with` block. kind: one of `LEAST`."""

    def __init__(self, program: Path, cores: set[int], kind: str = "floor") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._command = {
            "floor": [str(program), str(self.port)],
            "batch": [str(program), str(self.port), "batch"],
            "uvloop": [sys.executable, "-m", "benchmarks.bare", str(self.port)],
        }[kind]
        self._cores = cores
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, cwd=ROOT)
        os.sched_setaffinity(self._process.pid, self._cores)
        ends = time.monotonic() + 5
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > ends:
                    self.__exit__(None, None, None)
                    raise SystemExit("the floor did not start") from None
                time.sleep(0.01)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def given(self) -> Given:
        """For `Bench.measure`."""
        return Given(f"ws://127.0.0.1:{self.port}/{{room}}", self._process.pid)


def medians(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the undisturbed ones where there are any; without figures, what went wrong."""
    good = [result for result in results if not failed(result)]
    quiet = [result for result in good if not disturbed(result)]
    if not good:
        return {"failed": failed(results[0])}
    counted = quiet or good
    return {
        figure: statistics.median(result[figure] for result in counted) for figure in FIGURES if figure in counted[0]
    } | {"runs": len(good), "disturbed": len(good) - len(quiet), "saturated": sum(map(saturated, counted))}


def measure(
    bench: Bench, program: Path, names: list[str], servers: list[str], repeats: int
) -> dict[str, dict[str, Any]]:
    """By scenario and server."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        results: Mapping[str, list[dict[str, Any]]] = {server: [] for server in servers}
        for repeat in range(repeats):
            for server in servers if repeat % 2 == 0 else servers[::-1]:
                if server in SERVERS:
                    result = bench.measure(SCENARIOS[name], SERVERS[server])
                else:
                    with Floor(program, set(bench.server_cores), server) as floor:
                        result = bench.measure(SCENARIOS[name], floor.given)
                results[server].append(result)
        found[name] = {server: medians(results[server]) for server in servers}
        print(f"{name:14}" + "".join(f"  {server} {shown(found[name][server])}" for server in servers), flush=True)
    return found


def shown(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"FAILED: {row['failed'][:80]}"
    return f"{row['cpu_us']:7.2f} µs {row['per_s']:9,.0f}/s{' ~' if row['disturbed'] == row['runs'] else ''}"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--scenarios", default=",".join(WANTED), help="default: %(default)s")
    arguments.add_argument("--peers", default=",".join(PEERS), help="default: %(default)s")
    arguments.add_argument("--repeats", type=int, default=2)
    arguments.add_argument("--seconds", type=float, default=2.0, help="the measured window")
    arguments.add_argument(
        "--json", type=Path, default=ROOT / "benchmarks/results/floor.json", help="default: %(default)s"
    )
    options = arguments.parse_args()
    names = options.scenarios.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        arguments.error(f"there is no scenario {unknown[0]}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped with us
    servers = [*LEAST, "relay"]
    for peer in filter(None, options.peers.split(",")):
        if peer not in SERVERS:
            arguments.error(f"there is no peer {peer}")
        try:
            install(SERVERS[peer], CACHE)
            servers.append(peer)
        except NotInstalled as error:
            print(f"without {peer}: {error}", file=sys.stderr)
    bench = Bench(CACHE, pinned("", 0), pinned("", 1), options.seconds, prewarm=1.5, quiet=2.0)
    started = time.strftime("%Y-%m-%d %H:%M")
    with tempfile.TemporaryDirectory(prefix="relay-floor-") as directory:
        try:
            found = measure(bench, built(Path(directory)), names, servers, options.repeats)
        except NoCompiler as error:
            print(error, file=sys.stderr)
            return 1
    about = {"started": started, "machine": described(), "seconds": options.seconds, "repeats": options.repeats}
    options.json.write_text(json.dumps({"about": about, "scenarios": found}, indent=1) + "\n")
    return 1 if any("failed" in row for there in found.values() for row in there.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
