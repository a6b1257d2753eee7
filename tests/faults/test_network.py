"""The network between a relay and its services is cut, falls silent, or is slow; relays and services live on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from relay_process import Relay
from tcp_proxy import Proxy
from typists import Typist, nothing_saved, until

FLAGS = ("--snapshot-bytes", "2KiB", "--snapshot-idle", "0.5", "--journal-timeout", "1")
ROOMS = ("one", "two")


@pytest.fixture
async def proxies() -> AsyncIterator[Callable[..., Any]]:
    """`await proxies(path)`: a network to the service on that unix socket."""
    made: list[Proxy] = []

    async def make(target: Any) -> Proxy:
        made.append(await Proxy(target).start())
        return made[-1]

    yield make
    for proxy in made:
        proxy.passes()
        await proxy.close()


def redis_url(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}"


def postgres_url(proxy: Proxy, database: str) -> str:
    return f"postgresql://app@127.0.0.1:{proxy.port}/{database.partition('app@/')[2].partition('?')[0]}"


def start(relays: Callable[..., Relay], database: str, valkey: str) -> Any:
    """A relay, started while this loop serves its network."""
    return asyncio.to_thread(relays, *FLAGS, postgres=database, valkey=valkey)


async def authors_on(relays: list[Relay], numbers: int = 10) -> list[Typist]:
    """Two authors in each room on each relay, one of each protocol."""
    return [
        await Typist.join(relay.port, room, 100 * numbers + 10 * n + 2 * r + h, hocuspocus=bool(h))
        for n, relay in enumerate(relays)
        for r, room in enumerate(ROOMS)
        for h in (0, 1)
    ]


class Crowd:
    """Authors who type until told to stop."""

    def __init__(self, authors: list[Typist]) -> None:
        self.authors = authors
        self._typing = [asyncio.ensure_future(author.keep_typing(25)) for author in authors]  # noqa: TID251

    async def stop(self) -> None:
        """Everything typed is saved, by and by, and nobody was sent away."""
        for task in self._typing:
            task.cancel()
        await asyncio.gather(*self._typing, return_exceptions=True)
        assert [author.closed for author in self.authors if author.closed] == []
        await until(
            lambda: all(a.saved == a.typed for a in self.authors),
            30,
            lambda: [(a.saved, a.typed) for a in self.authors],
        )

    async def agree(self) -> None:
        """Every author reads what every other in its room has typed."""
        pairs = [(a, b) for a in self.authors for b in self.authors if a is not b and a.room == b.room]
        await until(
            lambda: all(len(a.text(b.client)) == b.typed for a, b in pairs),
            30,
            lambda: [(a.client, b.client, len(a.text(b.client)), b.typed) for a, b in pairs],
        )


async def healed(crowd: Crowd, relays: list[Relay], count: Any) -> None:
    """All is saved and read by everybody, and by who comes now, on any relay."""
    await crowd.stop()
    await crowd.agree()
    for relay in relays:
        found = await count(relay, crowd.authors)
        assert found.acknowledged == sum(author.typed for author in crowd.authors)
        assert (found.lost, found.wrong) == (0, 0), found


async def away_from_the_journal(
    relays: Callable[..., Relay], proxy: Proxy, valkey: Any, database: str, count: Any, how: str, seconds: float
) -> None:
    near = await start(relays, database, valkey.url)
    far = await start(relays, database, redis_url(proxy))
    crowd = Crowd(await authors_on([near, far]))
    here, there = crowd.authors[:4], crowd.authors[4:]
    await until(lambda: all(author.acknowledged > 5 for author in crowd.authors), 10, "typing is saved")
    {"cut": proxy.refuses, "silent": proxy.swallows, "deaf": lambda: proxy.swallows(up=False)}[how]()
    began = time.monotonic()
    before = [author.acknowledged for author in here]
    saved = await nothing_saved(there, seconds)
    assert all(now.acknowledged > then + 10 * seconds for now, then in zip(here, before)), "the other relay goes on"
    assert (await asyncio.to_thread(far.get, "/readyz"))[0] == 503
    for room in ROOMS:  # people there go on together
        those = [author for author in there if author.room == room]
        assert all(len(a.text(b.client)) > b.saved + 10 * seconds for a in those for b in those if a is not b)
    proxy.passes()
    if how != "cut":  # what was swallowed for so long never comes back on the same connection
        proxy.cut()
    await until(lambda: all(now.acknowledged > then for now, then in zip(there, saved)), 30, far.tail)
    print(f"{how}: {time.monotonic() - began:.1f} s until all is saved again")
    await healed(crowd, [near, far], count)


@pytest.mark.parametrize("how", ["cut", pytest.param("silent", marks=pytest.mark.slow)])
async def test_one_of_two_relays_loses_the_journal(
    relays: Callable[..., Relay], proxies: Any, own_valkey: Any, database: str, count: Any, how: str
) -> None:
    """People on both relays type on; nothing is acknowledged on the one that is cut off; then all read everything."""
    proxy = await proxies(own_valkey.socket)
    await away_from_the_journal(relays, proxy, own_valkey, database, count, how, 3)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["cut", "silent", "deaf"])
async def test_one_of_two_relays_loses_the_journal_for_long(
    relays: Callable[..., Relay], proxies: Any, own_valkey: Any, database: str, count: Any, how: str
) -> None:
    """As above, for 30 s. In the last form what is appended arrives, and is repeated since nobody could hear that."""
    proxy = await proxies(own_valkey.socket)
    await away_from_the_journal(relays, proxy, own_valkey, database, count, how, 30)


async def test_listening_connection_is_cut(
    relays: Callable[..., Relay], proxies: Any, own_valkey: Any, database: str, count: Any
) -> None:
    """Only the connection on which relays hear each other breaks, again and again: what others type is read at the
    latest at the next look, and nobody's edits are late to be saved."""
    proxy = await proxies(own_valkey.socket)
    pair = [await start(relays, database, url) for url in (own_valkey.url, redis_url(proxy))]
    crowd = Crowd(await authors_on(pair))
    await until(lambda: all(author.acknowledged > 5 for author in crowd.authors), 10, "typing is saved")
    for _ in range(3):
        await until(lambda: proxy.cut(b"SUBSCRIBE"), 20, "there is such a connection")
        before = [author.acknowledged for author in crowd.authors]
        await asyncio.sleep(0.7)
        await until(lambda was=before: all(now.acknowledged > n for now, n in zip(crowd.authors, was)), 20, "saved")
    await healed(crowd, pair, count)


async def away_from_the_snapshots(
    relays: Callable[..., Relay], proxy: Proxy, valkey: Any, database: str, count: Any, how: str, seconds: float
) -> None:
    near = await start(relays, database, valkey.url)
    far = await start(relays, postgres_url(proxy, database), valkey.url)
    crowd = Crowd(await authors_on([near, far]))
    await until(lambda: all(author.acknowledged > 5 for author in crowd.authors), 10, "typing is saved")
    {"cut": proxy.refuses, "silent": proxy.swallows}[how]()
    before = [author.acknowledged for author in crowd.authors]
    await asyncio.sleep(seconds)
    assert all(now.acknowledged > then + 10 * seconds for now, then in zip(crowd.authors, before))
    assert (await asyncio.to_thread(far.get, "/readyz"))[0] == 503
    proxy.passes()
    if how != "cut":
        proxy.cut()
    await healed(crowd, [near, far], count)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_one_of_two_relays_loses_the_snapshots(
    relays: Callable[..., Relay],
    proxies: Any,
    own_valkey: Any,
    postgres_server: Any,
    database: str,
    count: Any,
    how: str,
) -> None:
    """Nobody on either relay notices; afterwards both store and read the same."""
    proxy = await proxies(postgres_server.directory / ".s.PGSQL.5432")
    await away_from_the_snapshots(relays, proxy, own_valkey, database, count, how, 5)


async def test_slow_network(
    relays: Callable[..., Relay], proxies: Any, own_valkey: Any, database: str, count: Any
) -> None:
    """A journal that is far away delays "saved", and nothing else."""
    proxy = await proxies(own_valkey.socket)
    proxy.delay = 0.05
    relay = await start(relays, database, redis_url(proxy))
    author = await Typist.join(relay.port, "slow", 2)
    reader = await Typist.join(relay.port, "slow", 3, watch=[author])
    proxy.delay = 0.3
    author.type()
    took = await until(lambda: author.saved == 1, 20, "saved")
    assert took > 0.6
    assert len(reader.latencies) == 1
    assert reader.latencies[0] < 0.6
    assert (await count(relay, [author])).lost == 0
