"""kill -9 of the service under open editors."""

from collections.abc import Callable
from typing import Any

import pytest

KINDS = ["yws2", "yws3", "hp2", "hp3", "hp4"]


@pytest.mark.parametrize("children", [False, True], ids=["relay-alone", "with-its-databases"])
def test_editors_survive(relay: Any, stage: Callable[..., Any], room: str, children: bool) -> None:
    """Editors of every kind return by themselves with what was typed meanwhile; presence returns too."""
    scene = stage("restart", "survives", relay, room=room, kinds=KINDS, deadline=60)
    scene.meet("kill")
    relay.kill(children=children)
    scene.go()
    scene.meet("start")
    relay.start()
    scene.go()
    found = scene.result()
    assert sorted(found["text"].split()) == sorted(KINDS)
    assert found["array"] == sorted(f"{kind} offline" for kind in KINDS)


@pytest.mark.parametrize("kind", ["yws3", "hp4"])
def test_acknowledged_is_kept(relay: Any, stage: Callable[..., Any], room: str, kind: str) -> None:
    """Edits acknowledged right before everything is killed are there for a client that never met their author."""
    scene = stage("restart", "acknowledged", relay, room=room, kind=kind, edits=100, deadline=60)
    scene.meet("kill")
    relay.kill(children=True)
    scene.go()
    scene.meet("start")
    relay.start()
    scene.go()
    found = scene.result()
    assert found["kept"] == found["written"] != ""


@pytest.mark.slow
def test_typing_through_kills(relay: Any, stage: Callable[..., Any], room: str) -> None:
    """The service is killed again and again while people type: every word is there once."""
    rounds = 4
    scene = stage("restart", "typing", relay, room=room, kinds=KINDS, rounds=rounds, deadline=110)
    for _ in range(rounds + 1):
        scene.meet("kill")
        relay.kill(children=True)
        scene.go()
        scene.meet("start")
        relay.start()
        scene.go()
    found = scene.result()
    assert found["words"] == found["typed"] == found["distinct"]
