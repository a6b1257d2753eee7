"""`relay serve`: starts, says where it is, stops."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay import serve as module
from relay.errors import StartError
from relay.serve import greeting, serve
from relay.settings import Settings


def node(**settings: Any) -> Any:
    return SimpleNamespace(settings=Settings(**settings), port=4321)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1:4321"), ("0.0.0.0", "localhost:4321"), ("::", "localhost:4321"), ("::1", "[::1]:4321")],
)
def test_greeting(host: str, shown: str) -> None:
    """A person is told an address that works, for each kind of client, and where the data is."""
    text = greeting(node(host=host, data=Path("/data/here")))
    assert f"http://{shown}/" in text
    assert f"ws://{shown}/ws" in text
    assert "/data/here" in text


def test_greeting_without_own_services() -> None:
    """With services of its own making there is no data directory to speak of."""
    text = greeting(node(database_url="postgresql://h/d", redis_url="redis://h", data=Path("/data/here")))
    assert "/data/here" not in text


class FakeNode:
    """Starts or fails, and notes that it was stopped."""

    stopped = 0
    error: Exception | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.id = "node"
        self.port = 1

    async def start(self) -> None:
        if FakeNode.error is not None:
            raise FakeNode.error

    async def wait(self) -> None:
        pass

    async def stop(self) -> None:
        FakeNode.stopped += 1


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNode.stopped, FakeNode.error = 0, None
    monkeypatch.setattr(module, "Node", FakeNode)
    monkeypatch.setattr(module, "configure", lambda *args: None)


def test_serves_until_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """It serves until it is told to stop, says where, and its status is 0."""
    assert serve(Settings(log_format="text")) == 0
    assert FakeNode.stopped == 1
    assert "Materi Relay" in capsys.readouterr().out


def test_failed_start() -> None:
    """A start that fails stops what had been started, and says why."""
    FakeNode.error = StartError("no port")
    with pytest.raises(StartError, match="no port"):
        serve(dataclasses.replace(Settings(), log_format="text"))
    assert FakeNode.stopped == 1
