"""What the codec lets through stops no reader."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from relay.errors import Malformed
from relay.yjs.merge import merge
from relay.yjs.update import parse


def mutations(history: Any, count: int) -> Iterator[tuple[list[bytes], bytes]]:
    """What a reader has, and an update with one or two bytes changed."""
    dice = random.Random(history.seed)
    for _ in range(count):
        at = dice.randrange(len(history.log))
        update = bytearray(history.log[at])
        for _ in range(dice.choice((1, 1, 2))):
            update[dice.randrange(len(update))] = dice.choice((dice.randrange(256), dice.randrange(12)))
        yield history.log[:at], bytes(update)


def check(yjs: Any, seeds: range, count: int) -> None:
    cases = []
    refused = 0
    for history in yjs.histories(seeds):
        for before, update in mutations(history, count):
            try:
                cases.append((before, merge([parse(update)])))
            except Malformed:
                refused += 1
    assert len(cases) > 0 < refused
    assert [error for error in yjs.thrown(cases) if error is not None] == []


def test_mutated_updates_that_pass_are_applied_by_yjs(yjs: Any) -> None:
    """Of updates with changed bytes, those that parse make Yjs throw nowhere."""
    check(yjs, range(30), 60)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(5000, 6000, 50))
def test_many_mutated_updates_that_pass_are_applied_by_yjs(yjs: Any, first: int) -> None:
    """The same of a thousand histories, two hundred mutations each."""
    check(yjs, range(first, first + 50), 200)
