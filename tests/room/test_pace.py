"""When a room may flush next."""

import pytest

from relay.room import pace as module
from relay.room.pace import Pace


class Clock:
    """Time that moves when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", clock)
    return clock


def arrived(pace: Pace, clock: Clock, *, first: bool) -> None:
    pace.last = clock.now
    if first:
        pace.first = clock.now


def flush(pace: Pace, clock: Clock, took: float, arrivals: list[float]) -> float:
    """Edits arrive so long after the flush before, the flush takes `took`; the pause it earns."""
    begun = clock.now
    for number, offset in enumerate(arrivals):
        clock.now = begun + offset
        arrived(pace, clock, first=number == 0)
    clock.now = max(clock.now, pace.ready)
    started = clock.now
    clock.now = started + took
    assert pace.flushed(started, len(arrivals)) == pytest.approx(took)
    return pace.ready - clock.now


def test_idle_room_never_waits(clock: Clock) -> None:
    """An edit now and then is sent at once: the flush before it earned next to no pause."""
    pace = Pace(4.0, 0.008)
    flush(pace, clock, 0.0003, [0.01])
    assert flush(pace, clock, 0.0003, [0.1]) == 0.0


def stream(pace: Pace, clock: Clock, took: float, every: float) -> list[float]:
    """Edits come every so often, for long; the pauses once they have settled."""
    pauses: list[float] = []
    arrives = clock.now + every
    for _ in range(200):
        gathered = 0
        while not gathered or arrives <= max(clock.now, pace.ready):
            clock.now = max(clock.now, arrives)
            arrived(pace, clock, first=gathered == 0)
            gathered += 1
            arrives += every
        clock.now = started = max(clock.now, pace.ready)
        clock.now += took
        pace.flushed(started, gathered)
        pauses.append(pace.ready - clock.now)
    return pauses[100:]


def test_busy_room_gathers(clock: Clock) -> None:
    """A room that could do nothing but flush earns a multiple of what a flush takes."""
    pace = Pace(4.0, 0.008)
    for _ in range(100):
        pause = flush(pace, clock, 0.001, [0.0005 * number for number in range(1, 11)])
    assert pause == pytest.approx(0.004)


def test_steady_stream_is_gathered(clock: Clock) -> None:
    """Edits that come evenly, faster than they are worth a flush each, share one; the pauses settle."""
    pauses = stream(Pace(8.0, 0.008), clock, 0.001, 0.0025)
    assert 0.003 < min(pauses) <= max(pauses) <= 0.008001


def test_rare_edits_are_not_held_back(clock: Clock) -> None:
    """However long a flush takes, a pause in which no other edit can be expected gains nothing."""
    assert set(stream(Pace(8.0, 0.008), clock, 0.01, 0.04)) == {0.0}


def test_pause_is_bounded(clock: Clock) -> None:
    """However long a flush took, the next is not held back for longer than `most`."""
    pace = Pace(4.0, 0.008)
    for _ in range(100):
        pause = flush(pace, clock, 0.1, [0.001 * number for number in range(1, 100)])
    assert pause == pytest.approx(0.008)


def test_without_pauses_it_is_busy(clock: Clock) -> None:
    """A room that flushes all the time all the same takes edits for answers."""
    pace = Pace(0.0, 0.008)
    stream(pace, clock, 0.001, 0.0005)
    assert pace.busy


def test_pause_ends_with_the_clump(clock: Clock) -> None:
    """Edits that come in a clump after each flush are waited for, and not longer."""
    pace = Pace(4.0, 0.008)
    for _ in range(100):
        pause = flush(pace, clock, 0.004, [0.0005, 0.0006, 0.0007, 0.0008])
    assert pause == pytest.approx(0.001, rel=0.1)
