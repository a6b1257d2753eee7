"""benchmarks/model/growth.py"""

import dataclasses

import pytest

from benchmarks.model.growth import Costs, Hosts, Workload, limits, load_of, needed, parsed_sizes

COSTS = Costs(
    edit={"edit": 5.0, "flush": 35.0, "write": 6.0}, cursor={"move": 30.0, "write": 5.0},
    warm={"join": 100.0, "kb": 0.2}, cold={"join": 1000.0, "kb": 2.0}, connection_kb=3.0, room_kb=4.0, ping_us=20.0,
    keepalive=30.0, held_per_byte=1.0, valkey_us=5.0, entry_bytes=80.0, aof_bytes=160.0,
    snapshot={"segment": 600.0, "byte": 0.1}, wal={"segment": 1000.0, "byte": 0.5},
    codec={"segment": 300.0, "byte": 0.2}, kept_per_byte=0.5, frame_bytes=34.0, cursor_bytes=60.0,
)  # fmt: skip
PAIRS = Workload(active=0.5, reading=0.0, room_size="2:1", edits_per_second=2, moves_per_second=0, renewal=1e9)


def test_pairs() -> None:
    """1,000 users in pairs, half of whom type twice a second: 1,000 edits, each for one reader, 46 µs."""
    load = load_of(1000, PAIRS, COSTS)
    assert (load.rooms, load.edits, load.delivered) == (500, 1000, 1000)
    assert load.editing_us == pytest.approx(46_000)
    assert load.stores == pytest.approx(500 * 0.75 / 60)  # in three of four rooms somebody types


def test_need_grows_with_users() -> None:
    """Ten times the users, ten times of everything but nodes."""
    one, ten = (needed(users, PAIRS, Hosts(), COSTS) for users in (10_000, 100_000))
    assert ten.cores == pytest.approx(10 * one.cores)
    assert ten.redis_ops == pytest.approx(10 * one.redis_ops)
    assert ten.storage_gb == pytest.approx(10 * one.storage_gb)
    assert one.nodes == 2  # one does, and one more


def test_large_rooms_cost_more() -> None:
    """The same typing before more readers is more work."""
    large = dataclasses.replace(PAIRS, room_size="100:1")
    assert load_of(1000, large, COSTS).delivered == 99 * 1000
    assert needed(1000, large, Hosts(), COSTS).cores > 10 * needed(1000, PAIRS, Hosts(), COSTS).cores


def test_pings_only_where_nobody_says_anything() -> None:
    """Clients that say that they are there are not pinged."""
    silent = needed(3000, dataclasses.replace(PAIRS, renewal=1e9), Hosts(), COSTS)
    assert silent.relay["pings"] == pytest.approx(3000 / 30 * 20e-6)
    assert needed(3000, dataclasses.replace(PAIRS, renewal=15), Hosts(), COSTS).relay["pings"] == 0


def test_the_first_limit() -> None:
    """A tight Redis is full first after a relay process; a room that fills a process is named."""
    slow = COSTS._replace(valkey_us=1000.0)
    names = [what for what, _, _ in limits(PAIRS, Hosts(), slow)]
    assert "Redis" in names[0]
    hot = limits(dataclasses.replace(PAIRS, room_size="5000:1"), Hosts(), COSTS)
    assert any(what.startswith("a room of 5000") for what, _, _ in hot)
    full = limits(PAIRS, Hosts(), COSTS)
    assert [users for _, users, _ in full] == sorted(users for _, users, _ in full)


def test_a_limit_is_where_need_meets_it() -> None:
    """At the users that a limit names, Redis is used as far as it may be."""
    users = next(users for what, users, _ in limits(PAIRS, Hosts(), COSTS) if "Redis" in what)
    assert needed(round(users), PAIRS, Hosts(), COSTS).redis_cores == pytest.approx(Hosts().redis_headroom, rel=0.01)


@pytest.mark.parametrize("text", ["", "2:0.5", "0:1", "2:x", "2"])
def test_sizes_that_make_no_sense(text: str) -> None:
    """Shares that are not 1 together, and what can't be read, are errors."""
    with pytest.raises(ValueError):
        parsed_sizes(text)


def test_shares_that_make_no_sense() -> None:
    """More than everybody can't be busy."""
    with pytest.raises(ValueError, match="shares"):
        Workload(active=0.7, reading=0.7)
