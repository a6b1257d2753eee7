"""The journal's server dies, restarts, or comes back empty under open rooms."""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from relay_process import Relay
from typists import Typist, nothing_saved, until

FLAGS = "--snapshot-bytes", "16KiB"


class Scene:
    """Authors typing in rooms of a relay; `nothing_more` and `resumed` look at their acknowledgements."""

    def __init__(self, authors: list[Typist]) -> None:
        self.authors = authors
        self.typing = [asyncio.ensure_future(author.keep_typing(40)) for author in authors]  # noqa: TID251

    async def nothing_acknowledged(self, seconds: float) -> None:
        typed = [author.typed for author in self.authors]
        await nothing_saved(self.authors, seconds)
        assert all(now.typed > then for now, then in zip(self.authors, typed))

    async def resumed(self, within: float) -> float:
        before = [author.acknowledged for author in self.authors]
        return await until(
            lambda: all(now.acknowledged > then for now, then in zip(self.authors, before)), within, "saved again"
        )

    async def stop(self) -> None:
        for task in self.typing:
            task.cancel()
        await asyncio.gather(*self.typing, return_exceptions=True)
        assert [author.closed for author in self.authors if author.closed] == []
        await until(
            lambda: all(author.saved == author.typed for author in self.authors), 20, lambda: "all saved at the end"
        )


@pytest.fixture
def scene(crowd: Any) -> Callable[..., Awaitable[Scene]]:
    async def begin(relay: Relay) -> Scene:
        authors = await crowd(relay, [f"room-{n}" for n in range(4)], 3)
        playing = Scene(authors)
        await until(lambda: all(author.acknowledged > 3 for author in authors), 20, "typing is saved")
        return playing

    return begin


async def finish(relay: Relay, scene: Scene, count: Any) -> None:
    """All is saved in the end, and nobody was let go; what is saved survives the relay too."""
    await scene.stop()
    relay.kill()
    relay.start()
    found = await count(relay, scene.authors)
    print(found)
    assert (found.lost, found.wrong) == (0, 0)
    assert found.acknowledged == sum(author.typed for author in scene.authors)


async def test_killed_and_restarted(
    relays: Callable[..., Relay], own_valkey: Any, database: str, scene: Any, count: Any
) -> None:
    """Rooms live on and edits travel; nothing is acknowledged until the server is back, then all is."""
    relay = relays(*FLAGS, postgres=database, valkey=own_valkey.url)
    playing = await scene(relay)
    reader = await Typist.join(relay.port, "room-0", 1, watch=playing.authors[:3])
    for _ in range(2):
        own_valkey.kill()
        await playing.nothing_acknowledged(0.5)
        reader.latencies.clear()
        await until(lambda: len(reader.latencies) > 30, 20, "edits travel meanwhile")
        assert max(reader.latencies) < 0.5
        own_valkey.start()
        await playing.resumed(20)
    reader.leave()
    await finish(relay, playing, count)


@pytest.mark.slow
async def test_embedded_server_killed(relays: Callable[..., Relay], scene: Any, count: Any) -> None:
    """The relay starts its own server again; everything goes on."""
    relay = relays(*FLAGS)
    playing = await scene(relay)
    (pid,) = (pid for pid, name in relay.descendants().items() if name.startswith("valkey"))
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.1)
    await playing.resumed(10)
    await finish(relay, playing, count)


@pytest.mark.parametrize("how", ["flushed", pytest.param("restarted", marks=pytest.mark.slow)])
async def test_comes_back_empty(
    relays: Callable[..., Relay], own_valkey: Any, database: str, scene: Any, count: Any, how: str
) -> None:
    """Its memory is gone, with what it had acknowledged: the relay writes back what its rooms hold."""
    relay = relays(*FLAGS, postgres=database, valkey=own_valkey.url)
    playing = await scene(relay)
    if how == "flushed":
        redis.Redis(unix_socket_path=str(own_valkey.socket)).flushall()
    else:
        own_valkey.kill()
        shutil.rmtree(own_valkey.directory)
        own_valkey.directory.mkdir()
        await asyncio.sleep(0.5)
        own_valkey.start()
    await asyncio.sleep(0.3)
    await playing.resumed(10)
    await finish(relay, playing, count)


@pytest.mark.slow
async def test_quiet_rooms_are_written_back(
    relays: Callable[..., Relay], own_valkey: Any, database: str, scene: Any, count: Any
) -> None:
    """A server that restarts empty is given back what was acknowledged in rooms where nobody types any more."""
    relay = relays("--snapshot-idle", "300", postgres=database, valkey=own_valkey.url)
    playing = await scene(relay)
    await playing.stop()
    own_valkey.kill()
    shutil.rmtree(own_valkey.directory)
    own_valkey.directory.mkdir()
    own_valkey.start()
    client = redis.Redis(unix_socket_path=str(own_valkey.socket))
    rooms = {author.room for author in playing.authors}

    def streams() -> list[bytes]:
        return [key for key in client.scan_iter(_type="stream") if client.xlen(key)]

    await until(lambda: len(streams()) == len(rooms), 20, lambda: (client.keys("*"), streams(), relay.tail()))
    await asyncio.sleep(0.3)
    await finish(relay, playing, count)


@pytest.mark.slow
async def test_hangs(relays: Callable[..., Relay], own_valkey: Any, database: str, scene: Any, count: Any) -> None:
    """It stands still for longer than the relay waits: nothing is acknowledged until it goes on, then all is."""
    relay = relays(*FLAGS, "--journal-timeout", "1", postgres=database, valkey=own_valkey.url)
    playing = await scene(relay)
    own_valkey.signal(signal.SIGSTOP)
    await playing.nothing_acknowledged(3)
    assert relay.get("/readyz")[0] == 503
    own_valkey.signal(signal.SIGCONT)
    await playing.resumed(20)
    await finish(relay, playing, count)


async def test_backlog_larger_than_the_buffer(
    relays: Callable[..., Relay], own_valkey: Any, database: str, count: Any
) -> None:
    """What gathered while it was away is more than the journal queues: it is taken piece by piece, while people type
    on, and written once."""
    relay = relays("--journal-buffer", "1MiB", "--snapshot-bytes", "64MiB", postgres=database, valkey=own_valkey.url)
    author = await Typist.join(relay.port, "room", 2)
    other = await Typist.join(relay.port, "room", 3)
    own_valkey.kill()
    for _ in range(50):
        author.type(length=16384)
        await asyncio.sleep(0.002)
    await until(lambda: len(other.text(2)) == author.typed, 10, "edits travel meanwhile")
    typing = asyncio.ensure_future(other.keep_typing(100))  # noqa: TID251
    own_valkey.start()
    took = await until(lambda: author.saved == author.typed, 30, lambda: (author.saved, author.typed, relay.tail(3)))
    typing.cancel()
    await until(lambda: other.saved == other.typed, 20, "typing goes on")
    client = redis.Redis(unix_socket_path=str(own_valkey.socket))
    (stream,) = client.scan_iter(_type="stream")
    written = client.memory_usage(stream, samples=0)
    print(f"{author.typed / 2**20:.1f} MB taken in {took:.2f} s, {written / 2**20:.1f} MB written")
    assert written < 1.5 * author.typed
    relay.kill()
    relay.start()
    found = await count(relay, [author, other])
    assert (found.lost, found.wrong) == (0, 0), found


async def test_outage_that_fills_the_memory_meant_for_it(
    relays: Callable[..., Relay], own_valkey: Any, database: str, count: Any
) -> None:
    """Edits beyond what may be kept are refused and their author is asked to come back; what was kept is saved."""
    relay = relays("--journal-buffer", "1MiB", postgres=database, valkey=own_valkey.url)
    author = await Typist.join(relay.port, "room", 2)
    reader = await Typist.join(relay.port, "room", 3)
    before = relay.rss()
    own_valkey.kill()
    for _ in range(300):
        author.type(length=16384)
        await asyncio.sleep(0.002)
    await until(lambda: author.closed, 20, "the author was refused")
    assert author.closed is not None
    assert author.closed[0] == 1013
    assert author.acknowledged == 0
    await until(lambda: len(reader.text(2)) >= 2**20, 20, "what was not refused is read")
    assert len(reader.text(2)) < 2 * 2**20
    assert relay.rss() - before < 40 * 2**20
    own_valkey.start()
    await until(lambda: relay.metrics()["relay_journal_unacknowledged"] == 0, 10, "what was kept is saved")
    relay.kill()
    relay.start()
    again = await Typist.join(relay.port, "room", 4)
    await until(lambda: again.text(2) == reader.text(2), 20, "the reader had read all of it")
