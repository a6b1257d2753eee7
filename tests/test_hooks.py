"""The base of every plugin has no opinion."""

import inspect

from relay.grants import ANYONE
from relay.hooks import ConnectAsked, JoinAsked, Plugin, RoomClosed, RoomOpened
from relay.types import RoomId


async def test_no_opinion() -> None:
    """Asked, it answers None; told, it does nothing."""
    plugin = Plugin()
    assert await plugin.ask_connect(ConnectAsked("", "", "")) is None
    assert await plugin.ask_join(JoinAsked(ANYONE, RoomId("doc"), "")) is None
    assert await plugin.on_room_opened(RoomOpened(RoomId("doc"), 1)) is None
    assert await plugin.on_room_closed(RoomClosed(RoomId("doc"), 1)) is None


def test_hooks_are_documented() -> None:
    """Every hook says when it is called."""
    for name, hook in inspect.getmembers(Plugin, inspect.isfunction):
        assert not name.startswith(("ask_", "on_")) or inspect.getdoc(hook), name
