"""What Hocuspocus clients rely on beyond sync."""

from collections.abc import Callable
from typing import Any

import pytest

KINDS = ["hp2", "hp3", "hp4"]
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def relay(relays: Callable[..., Any]) -> Any:
    """A relay that pings often."""
    return relays("--ping-interval", "1")


@pytest.mark.parametrize("kind", KINDS)
def test_acknowledged(relay: Any, play: Run, room: str, kind: str) -> None:
    """Each update is acknowledged exactly once, so the count of unsynced changes returns to zero."""
    found = play("hocuspocus", "acknowledged", relay, room=room, kind=kind, edits=200)
    assert found["live"] == found["updates"]
    assert found["refused"] == 0
    assert found["least"] == 0


def test_sessions(relay: Any, play: Run, room: str) -> None:
    """Two views of one document share a socket; closing one leaves the other."""
    found = play("hocuspocus", "sessions", relay, room=room)
    assert sorted(found["text"].split()) == ["one", "still", "two"]
    assert found["closes"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_stateless(relay: Any, play: Run, room: str, kind: str) -> None:
    """A stateless message harms nobody."""
    assert play("hocuspocus", "stateless", relay, room=room, kind=kind) == {"closes": [], "text": "after"}


def test_gathered_changes(relay: Any, play: Run, room: str) -> None:
    """A client that gathers its changes gets one acknowledgement for each message it sends."""
    found = play("hocuspocus", "gathered", relay, room=room)
    assert found["text"] == "x" * 50
    assert found["messages"] < 30


def test_pings(relay: Any, play: Run, room: str) -> None:
    """Version 4 is pinged while the document is silent, earlier versions never; all of them stay connected."""
    found = play("hocuspocus", "pings", relay, room=room, lasts=2000, pinged=2)
    assert all(found[kind]["closes"] == [] for kind in KINDS)
    assert found["hp4"]["pings"] >= 2
    assert found["hp2"]["pings"] == found["hp3"]["pings"] == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_silence(relays: Callable[..., Any], play: Run, room: str) -> None:
    """Nobody reconnects in 70 s of silence, though clients give up after 30 s without a word from the server."""
    found = play("hocuspocus", "pings", relays(), room=room, lasts=70_000, deadline=100)
    assert all(found[kind]["closes"] == [] for kind in KINDS)
