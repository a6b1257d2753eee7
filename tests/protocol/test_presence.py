"""Awareness updates: who and when, the state itself untouched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.protocol.presence import MAX_STATES, State, decode, encode, gone
from relay.types import ClientId
from relay.yjs.lib0 import write_bytes, write_uint

STATES = st.lists(
    st.tuples(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1), st.sampled_from(["null", "{}", '{"a":"é"}', ""])),
    max_size=6,
)


def entries(states: list[tuple[int, int, str]]) -> list[bytes]:
    return [write_uint(client) + write_uint(clock) + write_bytes(text.encode()) for client, clock, text in states]


@given(STATES)
def test_round_trip(states: list[tuple[int, int, str]]) -> None:
    """Every state comes back with its own bytes."""
    found = decode(encode(entries(states)))
    assert [(s.client, s.clock, s.null) for s in found] == [(c, k, text == "null") for c, k, text in states]
    assert encode(s.entry for s in found) == encode(entries(states))


@given(STATES, st.data())
def test_truncated(states: list[tuple[int, int, str]], data: st.DataObject) -> None:
    """No part of an awareness update passes for one, nor does one with bytes behind it."""
    whole = encode(entries(states))
    with pytest.raises(Malformed):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(Malformed):
        decode(whole + b"\0")


def test_recorded() -> None:
    """As the real provider sends its first state."""
    assert decode(bytes.fromhex("010100027b7d")) == [State(ClientId(1), 0, bytes.fromhex("0100027b7d"), False)]


def test_gone() -> None:
    """A client that left is null."""
    (state,) = decode(encode([gone(ClientId(300), 7).entry]))
    assert (state.client, state.clock, state.null) == (300, 7, True)


def test_too_many() -> None:
    """More states than anybody has are refused before they are read."""
    with pytest.raises(Malformed):
        decode(write_uint(MAX_STATES + 1))


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are an awareness update or Malformed, nothing else."""
    try:
        decode(data)
    except Malformed:
        pass
