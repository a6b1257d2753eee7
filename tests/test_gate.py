"""Who comes in when no plugin says otherwise."""

from typing import Any

import pytest

from relay.errors import Deny
from relay.gate import Gate, Strangers
from relay.grants import ANYONE, Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked
from relay.types import Actor, RoomId

ADA = Principal(Actor("ada"), "Ada", {"docs/*": "readonly"}, 9e9)


class Knows:
    """A verifier that knows one token."""

    async def verify(self, token: str) -> Principal:
        if token != "good":
            raise Deny("the token is not valid", 4401)
        return ADA


def gate(verifier: Any) -> Gate:
    return Gate(verifier)


async def test_open_server() -> None:
    """Without a verifier everybody is anybody, whatever token they bring, and opens every room."""
    assert await gate(None).ask_connect(ConnectAsked("junk", "", "")) is ANYONE
    grant = await gate(None).ask_join(JoinAsked(ANYONE, RoomId("doc"), ""))
    assert grant == Grant(Actor(""), "", False)


@pytest.mark.parametrize("token", ["", "bad"])
async def test_without_a_good_token(token: str) -> None:
    """With a verifier, no token and a bad one are denied as unauthorized."""
    with pytest.raises(Deny) as denied:
        await gate(Knows()).ask_connect(ConnectAsked(token, "", ""))
    assert denied.value.code == 4401


async def test_good_token() -> None:
    """A good token opens the rooms it names, as it says; its expiry goes with the grant."""
    door = gate(Knows())
    assert await door.ask_connect(ConnectAsked("good", "", "")) is ADA
    assert await door.ask_join(JoinAsked(ADA, RoomId("docs/a"), "")) == Grant(Actor("ada"), "Ada", True, 9e9)


async def test_room_the_token_does_not_name() -> None:
    """Other rooms are forbidden."""
    with pytest.raises(Deny) as denied:
        await gate(Knows()).ask_join(JoinAsked(ADA, RoomId("other"), ""))
    assert denied.value.code == 4403


@pytest.mark.parametrize("token", ["", "bad"])
async def test_stranger(token: str) -> None:
    """Behind plugins that know people, no token and an unknown one are denied as unauthorized."""
    with pytest.raises(Deny) as denied:
        await Strangers().ask_connect(ConnectAsked(token, "", ""))
    assert denied.value.code == 4401
