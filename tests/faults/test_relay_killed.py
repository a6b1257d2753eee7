"""kill -9 of the relay while people type: nothing that was acknowledged is lost."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from relay_process import Relay, still_there
from typists import Typist, until


async def kill_repeatedly(relay: Relay, crowd: Any, count: Any, rounds: int) -> None:
    dice = random.Random(rounds)
    everybody: list[Typist] = []
    away: list[float] = []
    for turn in range(rounds):
        authors = await crowd(relay, [f"kill-{turn % 3}-{n}" for n in range(4)], 4)
        typing = [asyncio.ensure_future(author.keep_typing(50)) for author in authors]  # noqa: TID251
        await asyncio.sleep(dice.uniform(0.2, 1.0))
        await until(lambda authors=authors: any(a.acknowledged for a in authors), 20, "something is saved")
        below = list(relay.descendants())
        killed = time.monotonic()
        relay.kill(children=turn % 3 == 1)
        assert still_there(below, 20) == [], "children outlived the relay"
        relay.start()
        away.append(time.monotonic() - killed)
        await asyncio.gather(*typing)
        await until(lambda authors=authors: all(a.closed for a in authors), 20, "everybody was cut off")
        everybody += authors
        found = await count(relay, authors)
        assert found.acknowledged > 0
        assert (found.lost, found.wrong) == (0, 0), f"round {turn}: {found}"
    found = await count(relay, everybody)
    print(f"{rounds} kills, {found}, back after {sorted(away)[len(away) // 2]:.2f} s, {max(away):.2f} s at most")
    assert (found.lost, found.wrong) == (0, 0)


async def test_killed_under_load(relays: Callable[..., Relay], crowd: Any, count: Any) -> None:
    """Killed twice while 16 people type: each acknowledged character is there, and no child stays behind."""
    await kill_repeatedly(relays(), crowd, count, 2)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_killed_fifty_times(relays: Callable[..., Relay], crowd: Any, count: Any) -> None:
    """As above, fifty times on the same data."""
    await kill_repeatedly(relays("--snapshot-bytes", "4KiB"), crowd, count, 50)
