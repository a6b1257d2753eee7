"""benchmarks/compare/traces.py, and what is made of a trace: habits, typist, replay, attribution, playback."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Passing, Swaps, doubles, loses, server, whole
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare.attribution import Attribution, Edit
from benchmarks.compare.habits import PROFILES, TYPE, Author, Habit, Profile, Sizes, measured, profile
from benchmarks.compare.load import run
from benchmarks.compare.order import Order
from benchmarks.compare.replay import load, prepared, script, stretch, text_of
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.traces import NoTrace, Patch, Trace, Transaction, read
from benchmarks.compare.traces import _trace as parsed
from benchmarks.compare.typist import written
from benchmarks.compare.updates import FIRST, Unreadable, changes_in

ALONE = {
    "startContent": "",
    "endContent": "h_llo, you",
    "txns": [
        {"patches": [[0, 0, "hallo"]]},
        {"patches": [[1, 1, "é"]]},
        {"patches": [[5, 0, ", world"]]},
        {"patches": [[9, 3, ""], [7, 2, "you"]]},
    ],
}
TOGETHER = {
    "kind": "concurrent",
    "endContent": "yoooo ho ho\n",
    "numAgents": 2,
    "txns": [
        {"parents": [], "agent": 0, "patches": [[0, 0, "hi there\n"]]},
        {"parents": [0], "agent": 0, "patches": [[0, 8, ""], [0, 0, "yoooo"]]},
        {"parents": [0], "agent": 1, "patches": [[8, 0, " ho"]]},
        {"parents": [1, 2], "agent": 1, "patches": [[8, 0, " ho"]]},
    ],
}


def stored(directory: Path, said: Any, pack: Callable[[bytes], bytes] = gzip.compress) -> Path:
    path = directory / "some.json.gz"
    path.write_bytes(pack(json.dumps(said).encode()))
    return path


def small(name: str, transactions: int = 400) -> Trace:
    """A short one by a public trace's habits."""
    whole = profile(name)
    authors = tuple(
        Author(transactions // len(whole.authors), a.habits, a.jumps, a.places, a.burst) for a in whole.authors
    )
    return written(Profile(name, authors, 500, whole.delay), seed=3)


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gz", "plain"])
def test_one_author(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """A trace is read with what is not ASCII as _, and its updates make the text that it says."""
    trace = read(stored(tmp_path, ALONE, pack))
    assert (trace.name, trace.agents, trace.text) == ("some", 1, "h_llo, you")
    made = script(trace, live=2)
    assert text_of([made.past]) == "h_llo"
    assert text_of([made.past, *(step.update for step in made.steps)]) == made.text == trace.text


def test_two_authors(tmp_path: Path) -> None:
    """Each one's positions are understood behind its parents, and each needs just what it presumes of the other's."""
    made = script(read(stored(tmp_path, TOGETHER)), live=4)
    assert made.text == "yoooo ho ho\n"
    assert text_of([made.past, *(step.update for step in made.steps)]) == made.text
    assert [(step.writer, step.number, step.needs) for step in made.steps] == [
        (0, 0, ()), (0, 1, ()), (1, 0, ((0, 1),)), (1, 1, ((0, 2),)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ([], "`txns`"),
        ({"txns": 3}, "`txns`"),
        ({"txns": []}, "endContent"),
        ({"txns": [], "endContent": ""}, "no transactions"),
        ({**ALONE, "startContent": "x"}, "startContent"),
        ({**ALONE, "txns": [7]}, "transaction 0: `patches`"),
        ({**ALONE, "txns": [{"patches": [[0, 0]]}]}, "a patch is"),
        ({**ALONE, "txns": [{"patches": [[0, 0, ""]]}]}, "a patch is"),
        ({**ALONE, "txns": [{"patches": [[-1, 0, "x"]]}]}, "a patch is"),
        ({**ALONE, "txns": [{"patches": [[True, 0, "x"]]}]}, "a patch is"),
        ({**ALONE, "txns": [{"patches": []}, *ALONE["txns"]]}, "transaction 0: no patches"),  # type: ignore[misc]
        ({**TOGETHER, "numAgents": 0}, "numAgents"),
        ({**TOGETHER, "numAgents": 1}, "transaction 2: `agent`"),
        ({**TOGETHER, "txns": [{"parents": [0], "agent": 0, "patches": [[0, 0, "x"]]}]}, "earlier"),
    ],
)
def test_what_is_no_trace(tmp_path: Path, said: Any, wrong: str) -> None:
    """A file of another shape is refused, with what is wrong and where."""
    with pytest.raises(NoTrace, match=wrong):
        read(stored(tmp_path, said))


@given(cut=st.integers(0, 150), noise=st.binary(max_size=30))
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes) -> None:
    """One cut short, or anything else that is not the format, is refused."""
    directory = tmp_path_factory.mktemp("damaged")
    packed = gzip.compress(json.dumps(ALONE).encode())
    for data in (packed[: min(cut, len(packed) - 1)], noise, b"\x1f\x8b" + noise, packed[:-20] + noise):
        path = directory / "some.json.gz"
        path.write_bytes(data)
        with pytest.raises(NoTrace):
            read(path)


def test_a_trace_that_contradicts_itself(tmp_path: Path) -> None:
    """Positions that there are not, another text at the end, and one author in two places are found in replaying."""
    for said in (
        {**ALONE, "endContent": "else"},
        {**ALONE, "txns": [{"patches": [[0, 0, "ab"]]}, {"patches": [[9, 1, ""]]}]},
        {**TOGETHER, "endContent": "else"},
        {**TOGETHER, "txns": [*TOGETHER["txns"], {"parents": [0], "agent": 0, "patches": [[99, 0, "x"]]}]},  # type: ignore[misc]
        {**TOGETHER, "txns": [*TOGETHER["txns"], {"parents": [3], "agent": 0, "patches": [[99, 0, "x"]]}]},  # type: ignore[misc]
    ):
        with pytest.raises(NoTrace):
            script(read(stored(tmp_path, said)), live=2)


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.json")))
def test_made_traces(name: str) -> None:
    """One by a public trace's habits is a trace whose updates make its text, and the same seed makes the same one."""
    trace = small(name)
    assert trace == small(name)
    made = script(trace, live=150)
    assert len(made.steps) == 150
    assert text_of([made.past, *(step.update for step in made.steps)]) == made.text
    whole = script(trace, live=len(trace.transactions))
    assert whole.text == trace.text


def test_made_traces_have_the_habits_of_the_public_one() -> None:
    """Measured again: lengths of runs, what comes behind what, and whether the cursor stays are about the same."""
    public = profile("sveltecomponent")
    made = measured(written(public, seed=1))
    for kind, habit in public.authors[0].habits.items():
        again = made.authors[0].habits[kind]
        assert again.length.single == pytest.approx(habit.length.single, abs=0.1)
        assert again.stays == pytest.approx(habit.stays, abs=0.1)
        assert again.then[TYPE] == pytest.approx(habit.then[TYPE], abs=0.1)
    several = profile("clownschool")
    assert measured(written(several, seed=1)).delay == pytest.approx(several.delay, abs=2)


def test_sizes() -> None:
    """What was measured is what is drawn."""
    habit = Habit(Sizes.of([1, 1, 1, 5]), Sizes.of([]), Sizes.of([0]), 1.0, {})
    assert habit.length == Sizes(0.75, (5,))
    assert habit.inserted == Sizes(1.0, ())


def test_the_stretch_that_is_like_the_whole() -> None:
    """Of a trace that ends with nothing but deletions, another part is replayed."""
    trace = small("rustcode", 300)
    ending = [Transaction(0, (), (Patch(0, 1, ""),))] * 60
    assert stretch(trace._replace(transactions=[*trace.transactions, *ending]), 60) <= 300 - 30


def test_what_an_update_brings() -> None:
    """Edits are told by all that they insert and delete, however they were merged; half of one is refused."""
    edits = [
        Edit(0, 0, [(FIRST, 0, 2)], []),
        Edit(0, 1, [(FIRST, 2, 3)], [(1000, 5, 7)]),
        Edit(0, 2, [], [(FIRST, 0, 1), (1000, 9, 10)]),
        Edit(1, 0, [(FIRST + 1, 0, 4)], []),
    ]
    attribution = Attribution()
    attribution.add(0, edits)
    merged = [(FIRST, 0, 3), (FIRST + 1, 0, 4)], [(FIRST, 0, 1), (1000, 5, 7), (1000, 9, 10), (1000, 50, 60)]
    assert attribution.found(*merged) == [(0, 0, 3), (1, 0, 1)]
    assert attribution.found([], [(1000, 9, 10), (FIRST, 0, 1)]) == [(0, 2, 3)]
    for half in (([(FIRST, 0, 1)], []), ([(FIRST, 2, 3)], [(1000, 5, 6)]), ([], [(1000, 9, 10)]), ([(7, 0, 1)], [])):
        with pytest.raises(Unreadable):
            attribution.found(*half)


def test_what_two_delete_at_once_tells_of_neither() -> None:
    """An edit that only deletes what another does as well has no number, and the rest are counted without it."""
    said = {
        **TOGETHER,
        "endContent": "there\n",
        "txns": [
            {"parents": [], "agent": 0, "patches": [[0, 0, "hi there\n"]]},
            {"parents": [0], "agent": 0, "patches": [[0, 3, ""]]},
            {"parents": [0], "agent": 1, "patches": [[0, 3, ""]]},
        ],
    }
    made = script(_trace(said), live=3)
    assert [step.number for step in made.steps] == [0, -1, -1]
    assert made.text == "there\n"


def _trace(said: Any) -> Trace:
    return parsed("some", said)


def test_deletions_in_an_update() -> None:
    """What touches is one range."""
    made = script(_trace(ALONE), live=2)
    _, deleted = changes_in(made.steps[-1].update)
    assert sum(end - clock for _, clock, end in deleted) == 5


def test_scripts_are_kept(tmp_path: Path) -> None:
    """What is made once is read the second time, and is the same; another trace is another file."""
    path = prepared(str(stored(tmp_path, TOGETHER)), tmp_path, 3, 16)
    before = path.stat().st_mtime_ns
    assert prepared(str(stored(tmp_path, TOGETHER)), tmp_path, 3, 16) == path
    assert path.stat().st_mtime_ns == before
    assert load(path) == script(_trace(TOGETHER)._replace(name="some"), 3, 16)
    assert prepared(str(stored(tmp_path, ALONE)), tmp_path, 3, 16) != path


def falsifies(count: int, message: bytes, send: Callable[[bytes], None]) -> None:
    """Other letters from the 20th on."""
    send(message if count < 20 else message[:-3] + message[-3:].replace(b"e", b"a"))


@pytest.mark.parametrize(
    ("name", "passing", "wrong"),
    [
        ("sveltecomponent", whole, "none"),
        ("sveltecomponent", loses, "1 lost, 1 differing"),
        ("sveltecomponent", doubles, "1 doubled"),
        ("sveltecomponent", Swaps(), "1 disordered"),
        ("sveltecomponent", falsifies, "1 differing"),
        ("friendsforever", whole, "none"),
        ("friendsforever", loses, "3 lost, 1 differing"),  # each of three clients misses one; the last is looked at
        ("friendsforever", doubles, "3 doubled"),
    ],
)
def test_a_server_is_found_out(tmp_path: Path, name: str, passing: Passing, wrong: str) -> None:
    """What a server does to a single edit of a trace is what the result says."""
    path = tmp_path / "small.json.gz"
    trace = small(name)
    path.write_bytes(gzip.compress(json.dumps(_written(trace)).encode()))
    kept = prepared(str(path), tmp_path, 150, 0)
    scenario = Scenario("test", "", "trace", clients=trace.agents + 1, writers=trace.agents, rate=300, traces=(name,))
    with server(passing) as target:
        result = run(Order(scenario, target, scripts=(str(kept),), prewarm=0, warmup=0.1, seconds=0.2, drain=0.5))
    assert result["faults"] == wrong
    assert result["count"] > 20


def _written(trace: Trace) -> dict[str, Any]:
    shape = {"kind": "concurrent", "numAgents": trace.agents} if trace.agents > 1 else {}
    return shape | {"endContent": trace.text, "txns": [t._asdict() for t in trace.transactions]}
