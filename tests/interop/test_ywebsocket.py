"""What y-websocket clients can have beyond sync."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("kind", ["yws2", "yws3"])
def test_acknowledged(relays: Callable[..., Any], issuer: Any, play: Run, room: str, kind: str) -> None:
    """Who opted in with `?ack=1` hears 1 for each saved update and 0 for a refused one; nobody else hears either."""
    guarded = relays("--jwt-key", str(issuer.public))
    write, read = issuer.token({room: "read-write"}), issuer.token({room: "readonly"})
    found = play("ywebsocket", "acknowledged", guarded, room=room, kind=kind, edits=100, write=write, read=read)
    assert found["acks"] == [1] * found["updates"]
    assert found["plain"] == []
    assert found["reader"] == [1, 0]
