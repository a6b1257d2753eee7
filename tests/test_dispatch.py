"""Asking plugins fails closed."""

import asyncio

import pytest

from relay import closing
from relay.dispatch import Dispatch
from relay.errors import Deny, Unavailable
from relay.grants import ANYONE, Grant, Principal
from relay.hooks import ConnectAsked, JoinAsked, Plugin, RoomOpened
from relay.tasks import begin
from relay.types import Actor, RoomId

CONNECT = ConnectAsked("token", "127.0.0.1", "")
JOIN = JoinAsked(ANYONE, RoomId("doc"), "127.0.0.1")
ADA = Principal(Actor("ada"), "Ada", None)
GRANT = Grant(Actor("ada"), "Ada", False)


class Answers(Plugin):
    """Answers every ask with the same."""

    def __init__(self, name: str, answer: object) -> None:
        self.name = name
        self.answer = answer
        self.asked: list[object] = []

    async def _say(self, ask: object) -> object:
        self.asked.append(ask)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def ask_connect(self, ask: ConnectAsked) -> Principal | None:
        return await self._say(ask)  # type: ignore[return-value]

    async def ask_join(self, ask: JoinAsked) -> Grant | None:
        return await self._say(ask)  # type: ignore[return-value]


async def test_first_answer_stands() -> None:
    """Plugins are asked in order; who has no opinion is passed over, who comes after an answer is not asked."""
    shy, sure, late = Answers("shy", None), Answers("sure", ADA), Answers("late", ANYONE)
    assert await Dispatch([shy, sure, late]).ask_connect(CONNECT) is ADA
    assert (shy.asked, late.asked) == ([CONNECT], [])


async def test_deny_ends_it() -> None:
    """A Deny goes to the client as it is."""
    no = Deny("not you", closing.NOT_FOUND.code)
    with pytest.raises(Deny) as denied:
        await Dispatch([Answers("no", no), Answers("yes", GRANT)]).ask_join(JOIN)
    assert denied.value is no


async def test_nobody_has_an_opinion() -> None:
    """Without any answer nobody comes in."""
    plugins = Dispatch([Answers("shy", None)])
    with pytest.raises(Deny) as denied:
        await plugins.ask_connect(CONNECT)
    assert denied.value.code == closing.UNAUTHORIZED.code
    with pytest.raises(Deny) as denied:
        await plugins.ask_join(JOIN)
    assert denied.value.code == closing.FORBIDDEN.code


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError("bug"), closing.INTERNAL.code), (Unavailable("away"), closing.OVERLOADED.code)]
)
async def test_failing_plugin(error: Exception, code: int) -> None:
    """A plugin that breaks, or whose service is away, denies for now: the client may come back."""
    with pytest.raises(Deny) as denied:
        await Dispatch([Answers("broken", error), Answers("yes", GRANT)]).ask_join(JOIN)
    assert denied.value.code == code
    assert closing.CLOSINGS[code].reconnect
    assert "bug" not in denied.value.reason


async def test_unknown_close_code() -> None:
    """A plugin that denies with a code that nobody knows denies with one that everybody knows."""
    with pytest.raises(Deny) as denied:
        await Dispatch([Answers("own", Deny("no", 4999))]).ask_join(JOIN)
    assert (denied.value.reason, denied.value.code) == ("no", closing.FORBIDDEN.code)


async def test_slow_plugin() -> None:
    """A plugin that does not answer in time denies for now."""

    class Slow(Plugin):
        name = "slow"

        async def ask_join(self, ask: JoinAsked) -> Grant | None:
            await asyncio.sleep(60)
            return GRANT

    with pytest.raises(Deny) as denied:
        await Dispatch([Slow()], deadline=0.01).ask_join(JOIN)
    assert denied.value.code == closing.OVERLOADED.code


async def test_asked_outside_a_task() -> None:
    """Who answers without waiting is answered for at once, without a timer; who waits has the deadline all the same."""
    heard: list[object] = []

    class Slow(Plugin):
        name = "slow"

        async def ask_join(self, ask: JoinAsked) -> Grant | None:
            await asyncio.get_running_loop().create_future()
            return GRANT

    async def ask(dispatch: Dispatch) -> None:
        try:
            heard.append(await dispatch.ask_join(JOIN))
        except Deny as denied:
            heard.append(denied.code)

    def from_the_loop() -> None:
        begin("ask", ask(Dispatch([Answers("at once", GRANT)])))
        heard.append("asked")
        begin("ask", ask(Dispatch([Slow()], deadline=0.01)))

    asyncio.get_running_loop().call_soon(from_the_loop)
    async with asyncio.timeout(5):
        while len(heard) < 3:
            await asyncio.sleep(0.001)
    assert heard == [GRANT, "asked", closing.OVERLOADED.code]


def test_unknown_hook() -> None:
    """A misspelt hook fails at load, not in silence."""

    class Typo(Plugin):
        name = "typo"

        async def on_room_opend(self, fact: RoomOpened) -> None: ...

    with pytest.raises(ValueError, match="on_room_opend"):
        Dispatch([Typo()])


def test_one_name_twice() -> None:
    """Two plugins of one name are a mistake."""
    with pytest.raises(ValueError, match="one name"):
        Dispatch([Answers("same", None), Answers("same", None)])


async def test_who_keeps_failing_is_not_waited_for() -> None:
    """After some failures in a row the answer is a Deny at once; nobody waits for a deadline over and over."""
    broken = Answers("broken", ValueError("bug"))
    plugins = Dispatch([broken])
    for _ in range(20):
        with pytest.raises(Deny) as denied:
            await plugins.ask_join(JOIN)
        assert denied.value.code == closing.INTERNAL.code
    assert len(broken.asked) == 5
