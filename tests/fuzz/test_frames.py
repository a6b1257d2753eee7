"""Mutated frames against a live relay: it closes on them or takes them, and nobody else notices."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from relay_process import Relay
from typists import Typist, keystroke, percentile, spelled, until

FUZZER = Path(__file__).parent / "fuzzer.py"
MEGABYTE = 1 << 20
SEEDS = [7, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 30))]
Mint = Callable[[str], str]


@asynccontextmanager
async def fuzzing(relay: Relay, **given: Any) -> AsyncIterator["asyncio.Future[dict[str, Any]]"]:
    """A fuzzer at work; what it found, once it is done. Killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, FUZZER, json.dumps({"port": relay.port, **given}),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def found() -> dict[str, Any]:
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()[-2000:]
        return dict(json.loads(out))

    work = asyncio.get_running_loop().create_task(found())
    try:
        yield work
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.gather(work, return_exceptions=True)


async def apart(relay: Relay, mint: Mint, frames: int, seed: int, growth: int) -> None:
    """Two people type to each other in one room while mutants hit others."""
    good, bad = mint("good/*"), mint("fuzz/*")
    a = await Typist.join(relay.port, "good/apart", 2 * seed + 1, token=good)
    b = await Typist.join(relay.port, "good/apart", 2 * seed + 2, token=good, hocuspocus=True, watch=[a])
    before = relay.rss()
    rooms = [f"fuzz/{seed}-{number}" for number in range(8)]
    async with fuzzing(relay, frames=frames, seed=seed, rooms=rooms, token=bad) as work:
        while not work.done():
            a.type()
            b.type()
            await asyncio.sleep(0.02)
    found = await work
    await until(lambda: a.acknowledged == a.typed and b.acknowledged == b.typed, 20, "all is saved")
    await until(lambda: len(a.text(b.client)) == b.typed and len(b.text(a.client)) == a.typed, 20, "all has arrived")
    assert a.text(b.client) == spelled(b.typed)
    assert b.text(a.client) == spelled(a.typed)
    p95 = percentile(b.latencies, 0.95)
    grown = relay.rss() - before
    print(f"{found} p95 {p95 * 1000:.1f} ms, {grown / MEGABYTE:.1f} MB grown, {a.typed} edits")
    assert found["surprises"] == {}
    assert sum(found["dealt"].values()) >= frames
    assert p95 < 0.25
    assert grown < growth
    a.leave()
    b.leave()


async def test_mutants_elsewhere(relay: Relay, mint: Mint, unharmed: None) -> None:
    """20,000 mutants in other rooms: no crash, no growth, and two people see each other's every edit in order, soon."""
    await apart(relay, mint, 20_000, 1, 64 * MEGABYTE)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_million_mutants(relay: Relay, mint: Mint, unharmed: None) -> None:
    """As above, a million."""
    await apart(relay, mint, 1_000_000, 100, 192 * MEGABYTE)


class Case(NamedTuple):
    """Two readers of one document, for Yjs to compare."""

    name: str
    expected: list[bytes]
    actual: list[bytes]
    then: list[bytes]


@pytest.mark.parametrize("seed", SEEDS)
async def test_mutants_in_the_same_room(relay: Relay, mint: Mint, unharmed: None, yjs: Any, seed: int) -> None:
    """Whatever edits mutants made: in Yjs, the people in the room agree, who comes later sees the same, from memory and
    from the snapshot, and has all they typed."""
    token, room = mint("fuzz/*"), f"fuzz/same-{seed}"

    async def reader(client: int, hocuspocus: bool = False) -> Typist:
        return await Typist.join(relay.port, room, client, token=token, hocuspocus=hocuspocus, keep=True)

    a = await reader(2**40 + 1)
    b = await reader(2**40 + 2, hocuspocus=True)
    async with fuzzing(relay, frames=4000, seed=seed, rooms=[room], token=token) as work:
        while not work.done():
            a.type()
            b.type()
            await asyncio.sleep(0.02)
    found = await work
    assert found["surprises"] == {}
    await until(lambda: a.acknowledged == a.typed and b.acknowledged == b.typed, 20, "all is saved")
    late = await reader(2**40 + 3)
    for typist in (a, b, late):
        typist.leave()
    await until(lambda: relay.metrics()["relay_rooms"] == 0, 30, "the room is let go")
    cold = await reader(2**40 + 4)
    cold.leave()
    typed = [keystroke(typist.client, clock) for typist in (a, b) for clock in range(typist.typed)]
    # Authors may not have got all of their own back yet.
    live, stored, again = [*(a.updates or []), *typed], late.updates or [], cold.updates or []
    cases = [Case("the other", live, [*(b.updates or []), *typed], [])]
    cases += [Case("who came later", live, stored, []), Case("the stored room", live, again, [])]
    cases += [Case("what was typed", stored, [*stored, *typed], [])]
    assert yjs.differences(cases) == []
