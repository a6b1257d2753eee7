"""A long text typed one character at a time."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from relay.yjs.compact import compact
from relay.yjs.known import Known
from relay.yjs.update import parse

TRACE = Path(__file__).parents[3] / "shared" / "data" / "automerge-paper.json.gz"


def typed(count: int, seed: int) -> list[list[Any]]:
    """Somebody writes, goes back a little, deletes a word, goes on elsewhere."""
    dice = random.Random(seed)
    patches: list[list[Any]] = []
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


def check(yjs: Any, patches: list[list[Any]], folder: Path) -> None:
    updates, state, text = yjs.type(patches, folder)
    assert len(updates) == len(patches)
    ours = compact(updates)
    assert yjs.text(ours.state) == text
    assert len(ours.state) <= 1.1 * len(state)
    assert compact([ours.state]) == ours
    held = Known()
    held.load(ours.clocks, ours.state)
    assert not held.add(parse(state))


def test_typing_compacts_to_what_yjs_stores(yjs: Any, tmp_path: Path) -> None:
    """Ten thousand keystrokes become an update no larger than Yjs's own and tenth, holding the same text."""
    check(yjs, typed(10_000, seed=1), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_editing_trace_compacts_to_what_yjs_stores(yjs: Any, tmp_path: Path) -> None:
    """The same of a paper's 260,000 edits: the recorded trace where it is at hand, else a generated one."""
    if TRACE.exists():
        trace = json.loads(gzip.decompress(TRACE.read_bytes()))
        patches = [patch for transaction in trace["txns"] for patch in transaction["patches"]]
    else:
        patches = typed(260_000, seed=2)
    check(yjs, patches, tmp_path)
