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


def flush(pace: Pace, clock: Clock, took: float, arrivals: list[float]) -> float:
    """Edits arrive so long after the flush before, the flush takes `took`; the pause it earns."""
    begun = clock.now
    for number, offset in enumerate(arrivals):
        clock.now = begun + offset
        pace.arrived(number == 0)
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


def test_busy_room_gathers(clock: Clock) -> None:
    """A room that is always flushing earns a multiple of what a flush takes."""
    pace = Pace(4.0, 0.008)
    for _ in range(10):
        pause = flush(pace, clock, 0.001, [0.0])
    assert pause == pytest.approx(0.004)
    assert pace.busy


def test_steady_stream_is_gathered(clock: Clock) -> None:
    """Edits that come evenly, faster than they are worth a flush each, share one; the pauses settle."""
    pace = Pace(8.0, 0.008)
    pauses = [flush(pace, clock, 0.001, [0.0025 * (1 + number) for number in range(3)]) for _ in range(40)][20:]
    assert 0.005 < min(pauses) <= max(pauses) <= 0.008
    assert not pace.busy


def test_pause_is_bounded(clock: Clock) -> None:
    """However long a flush took, the next is not held back for longer than `most`."""
    pace = Pace(4.0, 0.008)
    for _ in range(3):
        pause = flush(pace, clock, 0.1, [0.0])
    assert pause == pytest.approx(0.008)


def test_pause_ends_with_the_clump(clock: Clock) -> None:
    """Edits that come in a clump after each flush are waited for, and not longer."""
    pace = Pace(4.0, 0.008)
    for _ in range(10):
        pause = flush(pace, clock, 0.004, [0.0005, 0.0006, 0.0007, 0.0008])
    assert pause == pytest.approx(0.001, rel=0.1)
