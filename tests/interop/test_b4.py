"""A long text typed by hand, keystroke by keystroke, through a real editor's client: what is kept is what Yjs keeps."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRACE = Path(__file__).parents[3] / "shared" / "data" / "automerge-paper.json.gz"
FLAGS = ("--rate-messages", "1000000", "--burst-messages", "1000000", "--reconnect-jitter", "100ms")
Patches = list[list[Any]]


def typed(count: int, seed: int) -> Patches:
    """[at, delete, insert] of somebody who writes, goes back a little, deletes a word, goes on elsewhere."""
    dice = random.Random(seed)
    patches: Patches = []
    length = caret = 0
    while len(patches) < count:
        if dice.random() < 0.03:
            caret = dice.randrange(length + 1)
        if caret and dice.random() < 0.25:
            caret -= 1
            length -= 1
            patches.append([caret, 1, ""])
        else:
            patches.append([caret, 0, dice.choice("etaoin shrdlu,é")])
            caret += 1
            length += 1
    return patches


def trace() -> Patches:
    """A paper's 260,000 recorded edits where they are at hand, else as many made up."""
    if TRACE.exists():
        recorded = json.loads(gzip.decompress(TRACE.read_bytes()))
        return [patch for transaction in recorded["txns"] for patch in transaction["patches"]]
    return typed(260_000, seed=2)


def stored(relay: Any, room: str) -> dict[str, Any]:
    """What `relay rooms show` says of a room."""
    command = [sys.executable, "-m", "relay", "rooms", "show", room, "--json", "--data", str(relay.data)]
    done = subprocess.run(command, env=relay.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def largest_lag(relay: Any) -> float:
    """The least bound of /metrics that no delay of the loop went beyond, in seconds."""
    samples = relay.metrics()
    lags = {name: value for name, value in samples.items() if name.startswith("relay_loop_lag_seconds_bucket")}
    total = samples["relay_loop_lag_seconds_count"]
    return min(float(name.split('"')[1]) for name, value in lags.items() if value == total)


def check(relays: Any, stage: Any, room: str, patches: Patches, folder: Path, kills: int) -> None:
    (folder / "patches.json").write_text(json.dumps(patches))
    relay = relays(*FLAGS)
    scene = stage("b4", "typed", relay, room=room, patches=str(folder / "patches.json"), kills=kills, deadline=280)
    for kill in range(kills):
        scene.meet("kill")
        relay.kill(children=kill % 2 == 1)
        relay.start()
        scene.go()
    scene.meet("restart")
    lag = largest_lag(relay)
    relay.stop()
    relay.start()
    kept = stored(relay, room)
    scene.go()
    found = scene.result()
    assert kept["journal"]["unstored"] == 0
    assert not kept["gaps"]
    size = sum(segment["bytes"] for segment in kept["segments"])
    assert 0 < size <= 1.1 * found["stored"]
    print(
        f"{found['edits'] / found['seconds']:.0f} edits/s, the loop at most {lag * 1000:g} ms late,"
        f" joins in {found['joins']} ms, a snapshot {size / found['stored']:.3f} times as large as Yjs's own"
    )


def test_typing_is_kept_as_yjs_keeps_it(relays: Any, stage: Any, room: str, tmp_path: Path) -> None:
    """Five thousand keystrokes, with a kill -9 among them, reach everybody and survive a restart, stored small."""
    check(relays, stage, room, typed(5000, seed=1), tmp_path, kills=1)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [0, 2])
def test_editing_trace_is_kept_as_yjs_keeps_it(relays: Any, stage: Any, room: str, tmp_path: Path, kills: int) -> None:
    """The same of a paper's 260,000 edits, without and with kill -9 in the middle."""
    check(relays, stage, room, trace(), tmp_path, kills)
