"""Who is here: one owner for each client id, the latest state, and an end for those who left."""

import pytest
from fakes import Peer
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.protocol.presence import State, decode, encode, gone
from relay.room import presence as module
from relay.room.presence import Elsewhere, RoomPresence
from relay.types import ClientId
from relay.yjs.lib0 import write_bytes, write_uint


def state(client: int, clock: int, value: str = "{}") -> State:
    entry = write_uint(client) + write_uint(clock) + write_bytes(value.encode())
    return State(ClientId(client), clock, entry, value == "null")


def put(room: RoomPresence, member: Peer | Elsewhere, *states: State, now: float = 0.0) -> int:
    return room.put(member, list(states), now, 100, 5)[0]


def everyone(room: RoomPresence) -> list[State]:
    return decode(room.everyone() or b"\0")


@pytest.fixture
def room() -> RoomPresence:
    return RoomPresence()


def test_latest_state(room: RoomPresence) -> None:
    """The owner's newer state replaces the older one; an older one is refused."""
    ada = Peer()
    assert put(room, ada, state(1, 1, "1"), state(1, 2, "2")) == 0
    assert put(room, ada, state(1, 1, "3")) == 1
    assert everyone(room) == [state(1, 2, "2")]
    assert decode(room.take_changes()[0]) == [state(1, 2, "2")]
    assert decode(room.take_changes()[0]) == []


def test_renewal_with_the_same_clock(room: RoomPresence) -> None:
    """A state that is announced again as it was is renewed, and goes out again."""
    ada = Peer()
    put(room, ada, state(1, 1), now=0.0)
    room.take_changes()
    put(room, ada, state(1, 1), now=20.0)
    assert decode(room.take_changes()[0]) == [state(1, 1)]
    assert not room.expire(10.0)


def test_foreign_id(room: RoomPresence) -> None:
    """Only who announced a client id first may speak for it; repeating what was heard is no offence."""
    ada, bob = Peer(), Peer()
    put(room, ada, state(1, 1))
    assert put(room, bob, state(1, 1)) == 0
    assert put(room, bob, state(1, 2, "null")) == 1
    assert put(room, bob, state(1, 9, '"mine"')) == 1
    assert everyone(room) == [state(1, 1)]


def test_bounds(room: RoomPresence) -> None:
    """A state that is too big and a client id too many are refused; what was there stays."""
    ada = Peer()
    put(room, ada, state(1, 1))
    assert put(room, ada, state(1, 2, '"' + "x" * 200 + '"')) == 1
    assert put(room, ada, *(state(client, 1) for client in range(2, 9))) == 3
    assert len(room.held) == 5
    assert everyone(room)[0] == state(1, 1)


def test_null_ends_a_state(room: RoomPresence) -> None:
    """The owner's null, with the clock it had or a later one, takes the state away; of an unknown id it is nothing."""
    ada = Peer()
    put(room, ada, state(1, 1))
    room.take_changes()
    assert put(room, ada, state(1, 1, "null")) == 0
    assert room.everyone() is None
    assert decode(room.take_changes()[0]) == [state(1, 1, "null")]
    assert put(room, ada, state(7, 1, "null")) == 0
    assert decode(room.take_changes()[0]) == []


def test_drop(room: RoomPresence) -> None:
    """When a connection goes, all its ids end for the others, and nobody else's do."""
    ada, bob = Peer(), Peer()
    put(room, ada, state(1, 3), state(2, 4))
    put(room, bob, state(3, 1))
    room.take_changes()
    assert room.drop(ada)
    ended = decode(room.take_changes()[0])
    assert [(s.client, s.null) for s in ended] == [(1, True), (2, True)]
    # y-protocols heeds a null with the clock it knows
    assert all(s.clock >= clock for s, clock in zip(ended, (3, 4)))
    assert everyone(room) == [state(3, 1)]
    assert not room.drop(ada)


def test_expiry(room: RoomPresence) -> None:
    """A state that nobody renewed ends."""
    ada, bob = Peer(), Peer()
    put(room, ada, state(1, 1), now=0.0)
    put(room, bob, state(2, 1), now=20.0)
    room.take_changes()
    assert room.expire(10.0)
    assert [s.client for s in decode(room.take_changes()[0])] == [1]
    assert everyone(room) == [state(2, 1)]
    assert not room.expire(10.0)


def test_late_echo_of_who_left(room: RoomPresence) -> None:
    """A y-websocket client repeats what it heard; of somebody who has left since, that makes no ghost."""
    ada, bob = Peer(), Peer()
    put(room, ada, state(1, 3))
    room.drop(ada)
    room.take_changes()
    _, told = room.put(bob, [state(1, 3)], 0.0, 100, 5)
    assert room.everyone() is None
    assert [(s.client, s.null) for s in told] == [(1, True)]


def test_comes_back(room: RoomPresence) -> None:
    """A client that comes back with the clock it left with is told that it left; with the next one it is here."""
    ada = Peer()
    put(room, ada, state(1, 3))
    room.drop(ada)
    room.take_changes()
    again = Peer()
    _, told = room.put(again, [state(1, 3)], 0.0, 100, 5)
    assert told == [gone(ClientId(1), 3)]
    assert put(room, again, state(1, 4)) == 0
    assert everyone(room) == [state(1, 4)]


def test_remembers_so_many(room: RoomPresence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those who left only so many are remembered."""
    monkeypatch.setattr(module, "REMEMBERED", 3)
    ada = Peer()
    for client in range(10):
        put(room, ada, state(client, 1))
        room.drop(ada)
    assert len(room._left) == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 4), st.booleans()), max_size=30))
def test_changes_lead_to_what_is_held(steps: list[tuple[int, int, int, bool]]) -> None:
    """A client that hears every change ends with the states that a joiner gets."""
    room, members = RoomPresence(), (Peer(), Peer())
    heard: dict[int, State] = {}
    for who, client, clock, null in steps:
        if client == 3:
            room.drop(members[who])
        else:
            put(room, members[who], state(client, clock, "null" if null else "{}"))
        for change in decode(room.take_changes()[0]):
            if change.null:
                heard.pop(change.client, None)
            else:
                heard[change.client] = change
    assert sorted(heard.values()) == sorted(everyone(room))
    assert encode(s.entry for s in everyone(room)) == (room.everyone() or b"\0")


def test_others_relays_are_told_of_this_one_s_clients() -> None:
    """What clients of another relay announce is not sent back there."""
    room = RoomPresence()
    there, ada = Elsewhere(), Peer("ada")
    put(room, ada, state(1, 1))
    put(room, there, state(2, 1))
    everybody, here = room.take_changes()
    assert {s.client for s in decode(everybody)} == {1, 2}
    assert [s.client for s in decode(here or b"")] == [1]
    assert [s.client for s in decode(room.everyone(here=True) or b"")] == [1]
    room.drop(there)
    assert room.take_changes()[1] is None
    room.drop(ada)
    assert [s.null for s in decode(room.take_changes()[1] or b"")] == [True]


def test_client_that_comes_over_from_another_relay() -> None:
    """A client id held elsewhere belongs to the connection that announces it here, unless that is out of date."""
    room = RoomPresence()
    there, ada = Elsewhere(), Peer("ada")
    put(room, there, state(1, 5))
    assert put(room, ada, state(1, 4)) == 1
    assert put(room, ada, state(1, 5, '{"here":1}')) == 0
    assert put(room, there, state(1, 6)) == 1
    room.drop(there)
    assert [s.client for s in everyone(room)] == [1]
