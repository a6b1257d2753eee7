"""What crosses comes out as it went in, and what is no message of ours is named."""

import asyncio
import dataclasses
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.crossing import wire
from relay.errors import Deny, Malformed, Unavailable
from relay.grants import ACCESS, Grant, Principal
from relay.hooks import FACTS, ConnectAsked, JoinAsked, RoomEdited
from relay.types import Actor, NodeId, RoomId

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PRINCIPALS = st.builds(
    Principal,
    TEXT.map(Actor),
    TEXT,
    st.none() | st.dictionaries(TEXT, st.sampled_from(ACCESS)),
    st.none() | st.floats(0, 1e11),
    TEXT,
    st.sampled_from(["human", "agent", "service", "guest"]),
    st.none() | st.frozensets(TEXT),
)


def crossed(said: object) -> Any:
    framed = wire.frame(said)
    assert int.from_bytes(framed[:4], "big") == len(framed) - 4
    return orjson.loads(framed[4:])


@given(PRINCIPALS)
def test_answers(principal: Principal) -> None:
    """A principal arrives with all that it is."""
    kind, said = crossed(wire.answer(principal))
    assert wire.value(kind, said) == principal


@given(PRINCIPALS, TEXT)
def test_join_asked(principal: Principal, room: str) -> None:
    """So does who asks to join."""
    ask = JoinAsked(principal, RoomId(room), "::1")
    assert wire.argument("ask_join", crossed(ask)) == ask


def test_other_asks_and_answers() -> None:
    """A connection, a grant, no opinion, and both kinds of no."""
    ask = ConnectAsked("token", "10.0.0.1", "")
    assert wire.argument("ask_connect", crossed(ask)) == ask
    grant = Grant(Actor("a"), "A", True, 12.5)
    assert wire.value(*crossed(wire.answer(grant))) == grant
    assert wire.value(*crossed(wire.answer(None))) is None
    with pytest.raises(Deny, match="go away") as denied:
        wire.value(*crossed(wire.answer(Deny("go away", 4404))))
    assert denied.value.code == 4404
    with pytest.raises(Unavailable, match="not now"):
        wire.value(*crossed(wire.answer(Unavailable("not now"))))


@pytest.mark.parametrize("kind", FACTS.values(), ids=lambda kind: kind.__name__)
def test_facts(kind: Any) -> None:
    """Every fact survives the stream."""
    values: dict[str, Any] = {"int": 7, "bool": True}
    fields = {f.name: values.get(getattr(f.type, "__name__", ""), "text") for f in dataclasses.fields(kind)}
    if kind is RoomEdited:
        fields["actors"] = (Actor("a"), Actor("b"))
    fact = kind(**fields)
    hook, node, at, told = wire.told(wire.fact(fact, NodeId("n"), 5.5))
    assert (FACTS[hook], node, at, told) == (kind, "n", 5.5, fact)


def test_fields_of_a_newer_side_are_left_out() -> None:
    """A rolling upgrade has both versions talking to each other."""
    assert wire.argument("ask_connect", {"token": "t", "address": "a", "origin": "", "agent": "x"}) == ConnectAsked(
        "t", "a", ""
    )


@pytest.mark.parametrize(
    "hostile",
    [
        lambda: wire.argument("ask_nothing", {}),
        lambda: wire.argument("ask_join", []),
        lambda: wire.argument("ask_join", {"principal": 5}),
        lambda: wire.value("thing", None),
        lambda: wire.value("grant", {"actor": "a"}),
        lambda: wire.value("principal", []),
        lambda: wire.told(b"nonsense"),
        lambda: wire.told(b'["on_nothing","n",1,{}]'),
        lambda: wire.told(b"[1,2]"),
    ],
)
def test_malformed(hostile: Any) -> None:
    """What is of another shape is Malformed, and nothing else."""
    with pytest.raises(Malformed):
        hostile()


@pytest.mark.parametrize("length", [wire.MAX_FRAME + 1, 5])
async def test_frames_are_bounded(length: int) -> None:
    """A frame that is too long or no JSON is not read on."""
    reader = asyncio.StreamReader()
    reader.feed_data(length.to_bytes(4, "big") + b"nojsn")
    with pytest.raises(Malformed):
        await wire.receive(reader)
