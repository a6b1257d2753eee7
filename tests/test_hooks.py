"""The base of every plugin has no opinion."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest

from relay.grants import ANYONE
from relay.hooks import ASKS, FACTS, ConnectAsked, JoinAsked, Plugin, RoomOpened, heard, markdown
from relay.types import RoomId


async def test_no_opinion() -> None:
    """Asked, it answers None; told, it does nothing."""
    plugin = Plugin()
    assert await plugin.ask_connect(ConnectAsked("", "", "")) is None
    assert await plugin.ask_join(JoinAsked(ANYONE, RoomId("doc"), "")) is None
    for hook in FACTS:
        fact: Any = None
        assert await getattr(plugin, hook)(fact) is None


def test_hooks_are_documented() -> None:
    """Every hook says when it is called, takes the one argument that the tables name, and is in a table."""
    tables = ASKS | FACTS
    hooks = [name for name in dir(Plugin) if name.startswith(("ask_", "on_"))]
    assert sorted(hooks) == sorted(tables)
    for name in hooks:
        assert inspect.getdoc(getattr(Plugin, name)), name
        (argument,) = list(inspect.signature(getattr(Plugin, name)).parameters.values())[1:]
        assert argument.annotation is tables[name]


@pytest.mark.parametrize("kind", [*ASKS.values(), *FACTS.values()])
def test_arguments_are_frozen_and_documented(kind: Any) -> None:
    """What a hook is given can't be changed by one plugin before another sees it."""
    assert kind.__dataclass_params__.frozen
    assert kind.__doc__
    assert not kind.__doc__.startswith(kind.__name__ + "(")
    assert dataclasses.fields(kind)


def test_reference_page_is_current() -> None:
    """contrib/hooks.md says what the code says; `python -m relay.hooks > contrib/hooks.md` writes it."""
    assert (Path(__file__).parent.parent / "contrib" / "hooks.md").read_text() == markdown()


def test_heard() -> None:
    """What a plugin overrides, and only that, is called."""

    class Hears(Plugin):
        async def on_room_opened(self, fact: RoomOpened) -> None: ...
        async def ask_join(self, ask: JoinAsked) -> None: ...

    assert heard(Hears()) == ("ask_join", "on_room_opened")
    assert heard(Plugin()) == ()


def test_unknown_hook() -> None:
    """A hook that nobody calls is named."""

    class Typo(Plugin):
        name = "typo"

        async def on_room_opend(self, fact: RoomOpened) -> None: ...

    with pytest.raises(ValueError, match=r"'typo'.*'on_room_opend'"):
        heard(Typo())
