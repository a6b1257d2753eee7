"""Clients cross from one worker to another whole: nothing lost, nothing twice, and nobody waits for who is away."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any
from zlib import crc32

import pytest
from fakes import until

from relay.shard.handoff import MAX_BYTES, Handoff, Passed, Place
from relay.types import RoomId


def room_of(number: int, workers: int = 2) -> RoomId:
    """A room that belongs to this worker."""
    return next(RoomId(f"room-{n}") for n in range(1000) if crc32(f"room-{n}".encode()) % workers == number)


class Worker:
    """One end of the mesh, and who arrived there."""

    def __init__(self, mesh: str, number: int, workers: int) -> None:
        self.arrived: list[Passed] = []
        place = Place(number, workers, mesh, socket.socket())
        self.handoff = Handoff(place, self.arrived.append, lambda: b"counts of %d" % number)
        place.listener.close()
        self.handoff.start()

    def close(self) -> None:
        self.handoff.close()
        for passed in self.arrived:
            passed.socket.close()


Mesh = Callable[..., list[Worker]]


@pytest.fixture
async def mesh() -> Any:
    """`mesh(2)`: that many workers that find each other."""
    made: list[Worker] = []
    before = open_files()

    def start(workers: int) -> list[Worker]:
        name = f"test-{token_hex(8)}"
        made.extend(Worker(name, number, workers) for number in range(workers))
        return made[-workers:]

    yield start
    for worker in made:
        worker.close()
    assert open_files() <= before, "descriptors are left open"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's end, and ours."""
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


async def test_passed_on(mesh: Mesh, client: tuple[socket.socket, socket.socket]) -> None:
    """The socket arrives with what was read from it; it works, and its first owner may close it."""
    one, two = mesh(2)
    outside, inside = client
    assert one.handoff.pass_on(room_of(1), inside.fileno(), b"GET /ws/x", answered=True)
    inside.close()
    await until(lambda: two.arrived)
    (passed,) = two.arrived
    assert passed.data == b"GET /ws/x"
    assert passed.answered
    assert passed.socket.send(b"hello") == 5
    assert outside.recv(9) == b"hello"
    outside.setblocking(False)
    with pytest.raises(BlockingIOError):
        outside.recv(1)  # still open


async def test_everybody(mesh: Mesh) -> None:
    """All are there, or somebody is not; a worker alone is everybody."""
    one, two = mesh(2)
    assert one.handoff.everybody()
    assert two.handoff.everybody()
    (alone,) = mesh(1)
    assert alone.handoff.everybody()
    three, four, five = mesh(3)
    five.close()
    assert not three.handoff.everybody()
    assert not four.handoff.everybody()


async def test_own_room(mesh: Mesh, client: tuple[socket.socket, socket.socket]) -> None:
    """A room of this worker's is served here."""
    one, two = mesh(2)
    assert not one.handoff.pass_on(room_of(0), client[1].fileno(), b"", answered=False)
    await asyncio.sleep(0.01)
    assert two.arrived == []


async def test_too_much_was_said(mesh: Mesh, client: tuple[socket.socket, socket.socket]) -> None:
    """What fits is passed on to the last byte; a client that said more stays where it is."""
    one, two = mesh(2)
    assert not one.handoff.pass_on(room_of(1), client[1].fileno(), bytes(MAX_BYTES + 1), answered=False)
    assert one.handoff.pass_on(room_of(1), client[1].fileno(), b"x" * MAX_BYTES, answered=False)
    await until(lambda: two.arrived)
    assert two.arrived[0].data == b"x" * MAX_BYTES


async def test_away(mesh: Mesh, client: tuple[socket.socket, socket.socket]) -> None:
    """Who is away is passed over, for the same other one whoever asks; and is found again when it is back."""
    workers = mesh(3)
    room, descriptor = room_of(1, 3), client[1].fileno()
    assert workers[0].handoff.pass_on(room, descriptor, b"1", answered=False)
    await until(lambda: workers[1].arrived)
    workers[1].handoff.close()
    assert workers[0].handoff.pass_on(room, descriptor, b"2", answered=False)
    assert not workers[2].handoff.pass_on(room, descriptor, b"3", answered=False)
    await until(lambda: workers[2].arrived)
    assert [passed.data for passed in workers[2].arrived] == [b"2"]
    workers[1].handoff.start()
    assert workers[0].handoff.pass_on(room, descriptor, b"4", answered=False)
    await until(lambda: len(workers[1].arrived) == 2)


async def test_all_away(mesh: Mesh, client: tuple[socket.socket, socket.socket]) -> None:
    """The last worker serves everything."""
    one, two = mesh(2)
    two.handoff.close()
    assert not one.handoff.pass_on(room_of(1), client[1].fileno(), b"", answered=False)


async def test_storm(mesh: Mesh, client: tuple[socket.socket, socket.socket]) -> None:
    """More clients in one moment than the kernel takes all arrive, in order."""
    one, two = mesh(2)
    room = room_of(1)
    for n in range(500):
        assert one.handoff.pass_on(room, client[1].fileno(), b"%d" % n, answered=False)
    await until(lambda: len(two.arrived) == 500)
    assert [int(passed.data) for passed in two.arrived] == list(range(500))


async def test_gone_in_a_storm(mesh: Mesh, client: tuple[socket.socket, socket.socket]) -> None:
    """A worker that leaves takes in what it was sent; what had not been sent yet comes back. Nobody is lost."""
    one, two = mesh(2)
    room = room_of(1)
    for n in range(500):
        assert one.handoff.pass_on(room, client[1].fileno(), b"%d" % n, answered=False)
    two.handoff.close()
    assert 0 < len(two.arrived) < 500
    await until(lambda: len(one.arrived) + len(two.arrived) == 500)
    assert sorted(int(passed.data) for passed in one.arrived + two.arrived) == list(range(500))


async def test_counts(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each says what it counted; one that is away or silent is None, in time."""
    one, two, three = mesh(3)
    assert await one.handoff.ask(2) == b"counts of 2"
    two.handoff.close()
    assert await one.handoff.ask(1) is None
    monkeypatch.setattr("relay.shard.handoff.ASK_PATIENCE", 0.05)
    loop = asyncio.get_running_loop()
    loop.remove_reader(next(iter(three.handoff._heard)))
    assert await one.handoff.ask(2) is None


async def test_foreign_user(mesh: Mesh, client: tuple[socket.socket, socket.socket], monkeypatch: Any) -> None:
    """Another user of the machine can knock, and is not heard."""
    one, two = mesh(2)
    user = os.geteuid()
    monkeypatch.setattr("relay.shard.handoff.os.geteuid", lambda: user + 1)
    one.handoff.pass_on(room_of(1), client[1].fileno(), b"", answered=False)
    await asyncio.sleep(0.02)
    assert two.arrived == []
