"""Has an edit become dearer? CPU per edit against a peer's in the same run, compared with the recorded ratio.

    python -m benchmarks.compare.check             exit status 1 past the margin
    python -m benchmarks.compare.check --record    after a change that was meant

A ratio to a peer survives another machine; a figure does not. Runs alternate; the ratio is the median of the pairs'.
"""

import argparse
import json
import signal
import statistics
import sys
from pathlib import Path

from benchmarks.compare.__main__ import pinned
from benchmarks.compare.measurement import Bench, disturbed, failed
from benchmarks.compare.scenarios import SCENARIOS
from benchmarks.compare.servers import CACHE, SERVERS, NotInstalled, install

__all__ = ["RECORDED", "main", "verdict"]

RECORDED = Path(__file__).parent / "recorded.json"
PEER = "hocuspocus"
WATCHED = ("room50", "rooms100", "room50-sat")
MARGIN = 0.25


def verdict(ratios: dict[str, float], recorded: dict[str, float], margin: float) -> list[str]:
    """What is dearer than it may be, in words; a scenario that was never recorded is not judged."""
    return [
        f"{name}: {ratio:.3f} of {PEER}'s CPU per edit; {recorded[name]:.3f} is recorded, {margin:.0%} more allowed"
        for name, ratio in ratios.items()
        if name in recorded and ratio > recorded[name] * (1 + margin)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scenarios", default=",".join(WATCHED))
    parser.add_argument("--margin", type=float, default=MARGIN)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--record", action="store_true", help="write what is found as what is to be expected")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    both = [SERVERS["relay"], SERVERS[PEER]]
    try:
        for server in both:
            install(server, options.cache)
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 2
    bench = Bench(options.cache, pinned("", 0), pinned("", 1))
    ratios: dict[str, float] = {}
    for name in options.scenarios.split(","):
        found = []
        noisy = 0
        for repeat in range(options.repeats):
            cpu = {}
            for server in both if repeat % 2 == 0 else both[::-1]:
                result = bench.measure(SCENARIOS[name], server)
                if failed(result):
                    print(f"{name} {server.name}: {failed(result)}", file=sys.stderr)
                    return 1
                cpu[server.name] = result["cpu_us"]
                noisy += disturbed(result)
            found.append(cpu["relay"] / cpu[PEER])
        ratios[name] = statistics.median(found)
        each = ", ".join(f"{ratio:.3f}" for ratio in found)
        print(f"{name:12} {ratios[name]:.3f} of {PEER}'s ({each}); {noisy} of {2 * options.repeats} runs disturbed",
              flush=True)  # fmt: skip
    if options.record:
        rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
        RECORDED.write_text(json.dumps({"peer": PEER, "ratios": rounded}, indent=1) + "\n")
        return 0
    dearer = verdict(ratios, json.loads(RECORDED.read_text())["ratios"], options.margin)
    for line in dearer:
        print(f"DEARER {line}", file=sys.stderr)
    return 1 if dearer else 0


if __name__ == "__main__":
    sys.exit(main())
