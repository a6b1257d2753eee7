"""Whatever the codec does to a history's updates, Yjs makes the same document of it."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from relay.yjs.compact import compact
from relay.yjs.diff import diff
from relay.yjs.known import Known
from relay.yjs.merge import merge
from relay.yjs.update import Layout, parse


class Case(NamedTuple):
    """Two ways to the same document, and what is applied to both after the first look."""

    name: str
    expected: Sequence[bytes]
    actual: Sequence[bytes]
    then: Sequence[bytes] = ()


def test_histories_of_every_content_survive_every_treatment(yjs: Any) -> None:
    """Merged, compacted, diffed, shuffled, in steps and with gaps, sixty histories read as they do in Yjs."""
    hold(yjs, range(60))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(1000, 3000, 100))
def test_many_more_histories_survive_every_treatment(yjs: Any, first: int) -> None:
    """Two thousand further histories read as they do in Yjs."""
    hold(yjs, range(first, first + 100))


def hold(yjs: Any, seeds: Sequence[int]) -> None:
    for at in range(0, len(seeds), 20):
        cases = [case for history in yjs.histories(seeds[at : at + 20]) for case in treatments(history)]
        assert len(cases) > 200
        assert yjs.differences(cases) == []


def treatments(history: Any) -> Iterator[Case]:
    dice = random.Random(history.seed)
    log = history.log
    layouts = [parse(update) for update in log]
    # An upload repeats others' structs, as its client's document has them: it comes after what it repeats.
    edits = [layout for index, layout in enumerate(layouts) if index not in history.uploads]
    uploads = [layouts[index] for index in sorted(history.uploads)]
    shuffled = [*dice.sample(edits, len(edits)), *uploads]

    def case(name: str, *actual: bytes) -> Case:
        return Case(f"seed {history.seed}, {name}", log, actual)

    yield case("merged at once", merge(layouts))
    yield case("merged in another order", merge(shuffled))
    batches = [merge(batch) for batch in slices(dice, layouts)]
    yield case("merged in batches", *batches)
    yield case("merged batches merged", merge([parse(batch) for batch in batches]))

    whole = compact(log)
    assert compact([whole.state]) == whole
    yield case("compacted at once", whole.state)
    yield case("compacted in another order", compact([layout.update for layout in shuffled]).state)
    yield case("compacted onto all", *log, whole.state)
    middle = dice.randrange(len(log) + 1)
    base = compact(log[:middle]).state
    yield case("compacted in two steps", compact([base, *log[middle:]]).state)
    yield case("compacted, then live", base, *log[middle:])
    yield case("compacted, then merged", merge([parse(base), *layouts[middle:]]))

    vector = known(layouts[:middle]).vector()
    yield case("diff of what is missing", *log[:middle], diff(whole.state, vector))
    older = {client: dice.choice(clocks(layouts[:middle], client)) for client in vector}
    yield case("diff of more than is missing", *log[:middle], diff(whole.state, older))
    yield case("diff of the merged log", *log[:middle], diff(merge(layouts), older))

    kept = [index for index in range(len(log)) if dice.random() < 0.8 and index not in history.uploads]
    lost = [log[index] for index in range(len(log)) if index not in set(kept)]
    some = [log[index] for index in kept]
    half = len(some) // 2
    for name, update in (
        ("merged with gaps", merge([layouts[index] for index in kept])),
        ("compacted with gaps", compact(some).state),
        ("compacted with gaps in two steps", compact([compact(some[:half]).state, *some[half:]]).state),
    ):
        yield Case(f"seed {history.seed}, {name}", some, [update], lost)
    yield case("compacted with gaps, then without", compact([compact(some).state, *lost]).state)


def slices(dice: random.Random, layouts: Sequence[Layout]) -> Iterator[Sequence[Layout]]:
    at = 0
    while at < len(layouts):
        size = dice.randrange(1, 8)
        yield layouts[at : at + size]
        at += size


def known(layouts: Sequence[Layout]) -> Known:
    held = Known()
    for layout in layouts:
        held.add(layout)
    return held


def clocks(layouts: Sequence[Layout], client: int) -> list[int]:
    """The clocks at which someone may have stopped reading `client`: never inside an emoji."""
    return [known(layouts[:count]).vector().get(client, 0) for count in range(0, len(layouts) + 1, 5)]
