"""Connections that break or stay away: edits merge, cursors go."""

from collections.abc import Callable
from typing import Any

import pytest

KINDS = ["yws2", "yws3", "hp2", "hp3", "hp4"]
Run = Callable[..., dict[str, Any]]


def test_merge(relay: Any, play: Run, room: str) -> None:
    """Everyone edits while offline; back online all edits of all are there."""
    found = play("offline", "merge", relay, room=room, kinds=KINDS)
    assert "shared" not in found["text"]
    assert all(f" {kind}" in found["text"] for kind in KINDS)
    assert sorted(x for x in found["array"] if isinstance(x, str)) == sorted(KINDS)


@pytest.mark.parametrize("kind", ["yws3", "hp4"])
def test_deletes_only(relay: Any, play: Run, room: str, kind: str) -> None:
    """Deletions made offline, which no state vector shows, reach the others and the store."""
    assert play("offline", "deletes", relay, room=room, kind=kind) == {"text": "keep keep"}


def test_broken_connection(relay: Any, play: Run, room: str) -> None:
    """A socket that breaks takes its cursor along within a second; the client returns with what it typed."""
    found = play("offline", "broken", relay, room=room, kinds=KINDS)
    assert max(found["gone"]) < 1000
    assert sorted(found["text"].split()) == sorted(KINDS)


def test_leaving(relay: Any, play: Run, room: str) -> None:
    """Who closes the document is gone for the others."""
    play("offline", "leaving", relay, room=room, kinds=KINDS)
