"""Where does the relay's time go under load? Flame graphs, and a table by layer.

    python -m benchmarks.flame [--scenarios room50-sat,rooms100] [--seconds 12] [--rate 400] [--out benchmarks/results]

py-spy samples the relay's process from outside, native frames included, while the generator of `benchmarks.compare`
loads it; what it spends asleep, or falling asleep, is left out. Of the same samples come `flame_<scenario>.svg` (width:
share of the time; hover for names) and, in `flame.json`, who had the processor: the kernel's sends and reads, uvloop,
or Python, by module. Being sampled slows the relay by a few percent.
"""

import argparse
import collections
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.compare.__main__ import pinned
from benchmarks.compare.machine import described
from benchmarks.compare.measurement import ROOT, Bench, disturbed
from benchmarks.compare.scenarios import SCENARIOS
from benchmarks.compare.servers import CACHE, SERVERS, Given, Running

__all__ = ["NotSampled", "Stack", "drawn", "layer", "main", "parsed", "shares"]

WARM_UP = 2.5
"""Seconds of load before the first sample."""
SENDS = re.compile(r"\b(__libc_)?(send|sendto|sendmsg|write|writev)(64)?\b")
READS = re.compile(r"\b(__libc_)?(recv|recvfrom|recvmsg|read)(64)?\b")
WAITS = re.compile(r"epoll|poll\b|select\b|acquire_lock|pthread_cond")
MODULE = re.compile(r"\((?:.*/)?((?:relay|api_shim)/[\w/]+)\.py(?::\d+)?\)")
COLOURS = {"send": "#c0504d", "read": "#d99694", "wait": "#a6a6a6", "uvloop": "#e0a030", "relay": "#4f81bd"}
WIDTH, ROW, NARROW = 1200, 17, 0.4


class NotSampled(Exception):
    """There are no samples; the message says why, and what to do."""


class Stack(NamedTuple):
    """Frames from the outermost in, and how often they were seen."""

    frames: tuple[str, ...]
    count: int


def parsed(text: str) -> list[Stack]:
    """From py-spy's raw format: `frame;frame;... count`, a line a stack."""
    made = []
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit():
            made.append(Stack(tuple(frames.split(";")), int(count)))
    return made


def layer(frames: Iterable[str]) -> str:
    """Who had the processor: `send`, `read`, `wait` (the kernel), `uvloop`, a module of the relay, or `other`."""
    native = True
    for frame in reversed(list(frames)):
        if native:
            if ".py" not in frame:
                name = frame.partition(" (")[0]
                for pattern, found in ((SENDS, "send"), (READS, "read"), (WAITS, "wait")):
                    if "uvloop" not in name and pattern.search(name):
                        return found
            native = ".py" not in frame
        if module := MODULE.search(frame):
            return module[1].replace("/", ".")
        if "uvloop" in frame or "uv__" in frame or "libuv" in frame:
            return "uvloop"
    return "other"


def shares(stacks: Iterable[Stack]) -> dict[str, float]:
    """Of the time, by layer, the greatest first."""
    counts: collections.Counter[str] = collections.Counter()
    for stack in stacks:
        counts[layer(stack.frames)] += stack.count
    whole = counts.total()
    return {name: count / whole for name, count in counts.most_common()}


# -- drawing --


class Box:
    """A frame and what it called."""

    __slots__ = ("below", "count")

    def __init__(self) -> None:
        self.count = 0
        self.below: dict[str, Box] = {}


def drawn(stacks: Iterable[Stack], title: str) -> str:
    """The flame graph, as SVG: callers below, what they call on top."""
    root = Box()
    for frames, count in stacks:
        box = root
        box.count += count
        for name in frames:
            box = box.below.setdefault(re.sub(r":\d+\)$", ")", name), Box())
            box.count += count
    boxes: list[tuple[float, int, float, str, float]] = []

    def place(box: Box, left: float, depth: int) -> None:
        for name, inner in sorted(box.below.items()):
            width = WIDTH * inner.count / root.count
            if width >= NARROW:
                boxes.append((left, depth, width, name, inner.count / root.count))
                place(inner, left, depth + 1)
            left += width

    place(root, 0.0, 0)
    height = (max((depth for _, depth, *_ in boxes), default=0) + 3) * ROW
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/><text x="4" y="13">{html.escape(title)}</text>',
    ]
    for left, depth, width, name, share in boxes:
        top = height - (depth + 1) * ROW
        out.append(
            f'<g><title>{html.escape(name)} {share:.1%}</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}" '
            f'height="{ROW - 1}" fill="{_colour(name)}"/>'
        )
        if width > 25:
            out.append(f'<text x="{left + 2:.1f}" y="{top + 12}">{html.escape(name[: int(width / 6.7)])}</text>')
        out.append("</g>")
    return "\n".join([*out, "</svg>"]) + "\n"


def _colour(name: str) -> str:
    found = layer([name])
    return COLOURS.get(found, COLOURS["relay"] if found != "other" else "#d9d9d9")


# -- sampling --


def sampled(pid: int, seconds: float, rate: int) -> list[Stack]:
    """What the process does for that long. Raises NotSampled."""
    beside = Path(sys.executable).with_name("py-spy")
    spy = str(beside) if beside.exists() else shutil.which("py-spy")
    if spy is None:
        raise NotSampled("there is no py-spy: pip install -e '.[bench]'")
    with tempfile.TemporaryDirectory() as directory:
        raw = Path(directory) / "raw"
        command = [spy, "record", "--native", "--pid", str(pid), "--duration", str(round(seconds)),
                   "--rate", str(rate), "--format", "raw", "--output", str(raw)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        stacks = parsed(raw.read_text()) if raw.exists() else []
    if not stacks:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise NotSampled(f"py-spy could not look into process {pid}: {said}\n"
                         "It needs the right to trace it: root, or kernel.yama.ptrace_scope = 0, and in a container "
                         "--cap-add SYS_PTRACE.")  # fmt: skip
    return stacks


def flame(name: str, seconds: float, rate: int) -> tuple[list[Stack], dict[str, Any]]:
    """Samples of the relay at work under a scenario's load, and the generator's result. Raises NotSampled."""
    bench = Bench(CACHE, pinned("", 0), pinned("", 1), seconds + 1, prewarm=0.0, warmup=WARM_UP, quiet=2.0)
    found: list[list[Stack]] = []
    wrong: list[NotSampled] = []
    with Running(SERVERS["relay"], CACHE, set(bench.server_cores)) as running:
        given = Given(f"ws://127.0.0.1:{running.target.port}/ws/{{room}}", running.pid, running.key)

        def look() -> None:
            time.sleep(WARM_UP + 2.0)  # the generator starts and joins first
            try:
                found.append(sampled(running.pid, seconds - 1, rate))
            except NotSampled as error:
                wrong.append(error)

        looking = threading.Thread(target=look)
        looking.start()
        result = bench.measure(SCENARIOS[name], given)
        looking.join()
    if wrong:
        raise wrong[0]
    return [stack for stack in found[0] if layer(stack.frames) != "wait"], result


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--scenarios", default="room50-sat,rooms100")
    arguments.add_argument("--seconds", type=float, default=12.0)
    arguments.add_argument("--rate", type=int, default=400, help="samples a second; default %(default)s")
    arguments.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped with us
    about = {"started": time.strftime("%Y-%m-%d %H:%M"), "machine": described(), "rate": options.rate}
    scenarios: dict[str, Any] = {}
    for name in options.scenarios.split(","):
        if name not in SCENARIOS:
            arguments.error(f"there is no scenario {name}")
        try:
            stacks, result = flame(name, options.seconds, options.rate)
        except NotSampled as error:
            print(error, file=sys.stderr)
            return 1
        if "error" in result:
            print(f"{name}: {result['error']}", file=sys.stderr)
            return 1
        count = sum(stack.count for stack in stacks)
        title = f"{name}: {SCENARIOS[name].what}; {count} samples of the relay's process"
        (options.out / f"flame_{name}.svg").write_text(drawn(stacks, title))
        found = shares(stacks)
        scenarios[name] = {"samples": count, "shares": found, "disturbed": disturbed(result)}
        print(title)
        for layer, share in found.items():
            if share >= 0.01:
                print(f"{share:7.1%}  {layer}")
    (options.out / "flame.json").write_text(json.dumps({"about": about, "scenarios": scenarios}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
