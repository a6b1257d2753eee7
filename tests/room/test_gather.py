"""Many updates into few, without holding up the loop."""

import pytest
from fakes import deleted, deletes, held, typed
from hypothesis import given
from hypothesis import strategies as st

from relay.room import gather as module
from relay.room.gather import gather


def test_small_ones_are_one() -> None:
    """Updates that build on each other become one."""
    (one,) = gather([typed(1, clock) for clock in range(10)] + [deleted(1, 0)])
    assert held([one]) == {(1, clock) for clock in range(10)}
    assert deletes([one]) == {(1, 0)}


def test_nothing() -> None:
    """Nothing gathers to nothing, one update to itself."""
    assert gather([]) == []
    assert gather([typed(1, 0)]) == [typed(1, 0)]


def test_large_one_keeps_its_place() -> None:
    """An update too large to be looked into stays as it is, behind what came before it and before what came after."""
    large = typed(1, 2, "x" * 20_000)
    out = gather([typed(1, 0), typed(1, 1), large, typed(1, 20_002), typed(1, 20_003)])
    assert len(out) == 3
    assert out[1] == large
    assert held(out[:1]) == {(1, 0), (1, 1)}
    assert held(out[2:]) == {(1, 20_002), (1, 20_003)}


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many bytes are merged here; the rest goes as it is."""
    monkeypatch.setattr(module, "BYTES", 30)
    updates = [typed(1, clock) for clock in range(20)]
    out = gather(updates)
    assert 1 < len(out) < 20
    assert held(out) == held(updates)


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(0, 8))
def test_nothing_is_lost(sizes: list[int], structs: int) -> None:
    """Whatever the bound, all that came in goes out, in an order of dependence."""
    updates, clock = [], 0
    for size in sizes:
        if size:
            updates.append(typed(1, clock, "x" * size))
            clock += size
        else:
            updates.append(deleted(1, 0))
    before = module.STRUCTS
    module.STRUCTS = structs
    try:
        out = gather(updates)
    finally:
        module.STRUCTS = before
    assert held(out) == held(updates)
    assert deletes(out) == deletes(updates)
    starts = [min(c for _, c in held([update])) for update in out if held([update])]
    assert starts == sorted(starts)
