"""Two relays on the same Redis and PostgreSQL: one document wherever one connects, and either may die."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from relay_process import Relay
from typists import Typist, percentile, until

FLAGS = ("--snapshot-bytes", "2KiB", "--snapshot-idle", "0.5")


def start(relays: Callable[..., Relay], database: str, valkey: str) -> list[Relay]:
    return [relays(*FLAGS, postgres=database, valkey=valkey) for _ in range(2)]


async def test_one_document(relays: Callable[..., Relay], database: str, own_valkey: Any, count: Any) -> None:
    """What is typed on either relay is read on both within moments, and held whole by both."""
    first, second = start(relays, database, own_valkey.url)
    ada = await Typist.join(first.port, "shared", 11)
    bob = await Typist.join(second.port, "shared", 12, hocuspocus=True, watch=[ada])
    eve = await Typist.join(first.port, "shared", 13, watch=[bob])
    ada.type()
    bob.type()
    await until(lambda: len(bob.text(11)) == 1 and len(eve.text(12)) == 1, 20, "first characters crossed")
    await asyncio.gather(ada.keep_typing(40, 3), bob.keep_typing(40, 3))
    await until(lambda: ada.saved == ada.typed and bob.saved == bob.typed, 20, "all saved")
    await until(lambda: len(bob.text(11)) == ada.typed and len(ada.text(12)) == bob.typed, 20, "all read across")
    p50, p95 = (percentile(bob.latencies, share) * 1e3 for share in (0.5, 0.95))
    print(f"across relays: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    for relay in (first, second):
        found = await count(relay, [ada, bob])
        assert (found.lost, found.wrong) == (0, 0)


async def mistreat(relays: list[Relay], count: Any, rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    everybody: list[Typist] = []
    numbers = iter(range(1000 * seed + 100, 2**31))
    for turn in range(rounds):
        authors = []
        for room in ("one", "two", "three"):
            for relay in relays:
                for hocuspocus in (True, False):
                    author = await Typist.join(relay.port, room, next(numbers), hocuspocus=hocuspocus)
                    authors.append(author)
        typing = [asyncio.ensure_future(author.keep_typing(30, 3)) for author in authors]  # noqa: TID251
        await asyncio.sleep(dice.uniform(0.3, 1.5))
        dead = relays[turn % 2]
        dead.kill()
        await asyncio.sleep(dice.uniform(0.2, 1.0))
        dead.start()
        await asyncio.gather(*typing)
        everybody += authors
        left = [author for author in authors if author.closed is None]
        assert len(left) == len(authors) // 2
        await until(lambda left=left: all(a.saved == a.typed for a in left), 20, "the survivors' edits are saved")
        for relay in relays:
            found = await count(relay, everybody)
            assert found.acknowledged > 0
            assert (found.lost, found.wrong) == (0, 0), f"round {turn}: {found}"
        for author in authors:
            author.leave()
    print(f"{rounds} kills, {found}")


async def test_either_killed(relays: Callable[..., Relay], database: str, own_valkey: Any, count: Any) -> None:
    """One relay is killed while people type on both: nothing acknowledged is lost, on either."""
    await mistreat(start(relays, database, own_valkey.url), count, 1, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_either_killed_often(relays: Callable[..., Relay], database: str, own_valkey: Any, count: Any) -> None:
    """As above, twenty times in turn, on the same three documents."""
    await mistreat(start(relays, database, own_valkey.url), count, 20, 2)
