"""Tokens: what they open, how they are refused, and what happens when they end."""

from collections.abc import Callable
from typing import Any

import pytest

KINDS = ["yws2", "yws3", "hp2", "hp3", "hp4"]
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def guarded(relays: Callable[..., Any], issuer: Any) -> Any:
    """A relay that wants tokens of `issuer`, without leeway."""
    return relays("--jwt-key", str(issuer.public), "--jwt-leeway", "0")


@pytest.mark.parametrize("kind", KINDS)
def test_readonly(guarded: Any, issuer: Any, play: Run, room: str, kind: str) -> None:
    """A reader gets every edit and is seen by others; its own edit is refused and reaches nobody."""
    write, read = issuer.token({room: "read-write"}), issuer.token({"*": "read-write", room: "readonly"}, sub="eve")
    found = play("auth", "readonly", guarded, room=room, kind=kind, write=write, read=read)
    assert found["text"] == "before after"
    assert found["closes"] == []
    if kind.startswith("hp"):
        assert found["scope"] == "readonly"
        assert found["allowed"] == [1], "the empty step 2 of a reader is acknowledged"
        assert found["statuses"] == [1, 0]
        assert found["unsynced"] == 1


@pytest.mark.parametrize("fault", ["forged", "expired", "garbage", "missing", "elsewhere", "none"])
def test_refused(guarded: Any, issuer: Any, play: Run, room: str, fault: str) -> None:
    """Whoever has no right to a document is told so, gets no content, leaves no trace and is not let in later."""
    rooms = {room: "read-write"}
    token = {
        "forged": issuer.forged(rooms),
        "expired": issuer.token(rooms, lasts=-5),
        "garbage": "not.a.token",
        "missing": "",
        "elsewhere": issuer.token({"other/*": "read-write"}),
        "none": issuer.token({"*": "read-write", room: "none"}),
    }[fault]
    kinds = [kind for kind in KINDS if (kind, fault) != ("hp2", "missing")]  # it sends no token then, and waits
    found = play("auth", "refused", guarded, room=room, kinds=kinds, token=token, write=issuer.token(rooms))
    assert found.pop("theirs") == "secret"
    for kind, client in found.items():
        assert client["text"] == "intrusion"
        assert not client["synced"]
        if kind.startswith("hp"):
            assert len(client["denied"]) >= 1, kind
            assert client["closes"] == [], kind
            assert client["connected"], kind
        else:
            assert set(client["closes"]) == {4403 if fault in {"elsewhere", "none"} else 4401}, kind
    assert len(found["yws3"]["closes"]) == 1, "this client knows that reconnecting is of no use"


@pytest.mark.parametrize("kind", ["hp3", "hp4"])
def test_second_try(guarded: Any, issuer: Any, play: Run, room: str, kind: str) -> None:
    """A denied document opens on the same socket when a good token follows."""
    bad, write = issuer.token({"other": "readonly"}), issuer.token({room: "read-write"})
    found = play("auth", "secondTry", guarded, room=room, kind=kind, bad=bad, write=write)
    assert found == {"denied": 1, "closes": []}


def test_carriers(guarded: Any, issuer: Any, play: Run, room: str) -> None:
    """A token works as query parameter, as bearer header, as subprotocol and as Hocuspocus message."""
    found = play("auth", "carriers", guarded, room=room, write=issuer.token({room: "read-write"}))
    assert found == {"array": [0, 1, 2, 3, 4]}


def test_refresh(guarded: Any, issuer: Any, stage: Callable[..., Any], room: str) -> None:
    """The server asks for the next token before the old one ends, and the document stays open."""
    rooms = {room: "read-write"}
    kinds = ["hp3", "hp4"]
    scene = stage("auth", "refresh", guarded, room=room, kinds=kinds, lasts=4500, write=issuer.token(rooms))
    scene.meet("ready")
    scene.go([issuer.token(rooms, lasts=4), issuer.token(rooms)])
    found = scene.result()
    assert min(found["asked"]) >= 2
    assert (found["closes"], found["denied"]) == ([], [])
    assert sorted(found["text"].split()) == kinds


@pytest.mark.parametrize("kinds", [["yws2", "yws3", "hp3", "hp4"], ["hp2"]], ids=["most", "hp2"])
def test_expiry(guarded: Any, issuer: Any, stage: Callable[..., Any], room: str, kinds: list[str]) -> None:
    """No connection outlives its token: its presence goes and its edits are not taken; version 2 throws on CLOSE."""
    rooms = {room: "read-write"}
    scene = stage("auth", "expiry", guarded, room=room, kinds=kinds, lasts=4000, write=issuer.token(rooms))
    scene.meet("ready")
    scene.go(issuer.token(rooms, lasts=4))
    found = scene.result()
    assert found["text"] == ""
    for kind in kinds:
        if kind.startswith("hp"):
            assert kind in found["closed"] or found["denied"][kind], kind
        else:
            assert set(found["closes"][kind]) == {4401}, kind
