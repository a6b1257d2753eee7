"""Real clients against a real `relay serve`: processes on both sides, nothing of the relay is imported here."""

import json
import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from relay_process import Relay

HERE = Path(__file__).parent


class Play:
    """A scenario running in Node, which may stop at steps for the test to do something to the server."""

    def __init__(self, noun: str, scenario: str, relay: Relay, deadline: float, arguments: Mapping[str, Any]) -> None:
        self._relay = relay
        self._deadline = time.monotonic() + deadline + 3
        given = {"url": relay.url, "deadline": deadline, **arguments}
        self._process = subprocess.Popen(
            ["node", "run.mjs", noun, scenario, json.dumps(given)],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._noise: list[str] = []
        self._threads = [threading.Thread(target=read, daemon=True) for read in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        self._noise.extend(self._process.stderr)

    def _next(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=max(0.1, self._deadline - time.monotonic()))
        except queue.Empty:
            line = None
        message = {"error": "the scenario said nothing more"} if line is None else json.loads(line)
        if "error" in message:
            noise = "".join(self._noise[-20:])
            pytest.fail(f"{message['error']}\n--- node\n{noise}\n--- relay\n{self._relay.tail()}", pytrace=False)
        return dict(message)

    def meet(self, step: str) -> None:
        """Wait until the scenario stands at `step`; `go` lets it continue."""
        self.at(step)

    def at(self, step: str) -> dict[str, Any]:
        """Likewise; what it says there."""
        message = self._next()
        assert message.get("step") == step, message
        return message

    def go(self, answer: object = True) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(answer) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What the scenario found; fails with its error and the relay's log."""
        message = self._next()
        assert "result" in message, message
        return dict(message["result"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(2)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="session")
def node() -> None:
    """Node with the clients' packages; installed once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are needed for real clients")
    if (HERE / "node_modules" / ".package-lock.json").exists():
        return
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=HERE, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Relay]]:
    """Starts relays with the given flags; all of them are stopped, cleanly, at the end of the module."""
    started: list[Relay] = []

    def start(*flags: str) -> Relay:
        relay = Relay(tmp_path_factory.mktemp("relay"), flags)
        started.append(relay)
        return relay

    yield start
    for relay in started:
        relay.stop()


@pytest.fixture(scope="module")
def relay(relays: Callable[..., Relay]) -> Relay:
    """One open relay for a module; its tests use rooms of their own."""
    return relays()


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A document's name that no other test uses."""
    return re.sub(r"[^\w-]+", "-", request.node.name)


@pytest.fixture
def stage(node: None) -> Iterator[Callable[..., Play]]:
    """`stage(noun, scenario, relay, **arguments)` starts a scenario of scenarios/<noun>.mjs."""
    plays: list[Play] = []

    def start(noun: str, scenario: str, relay: Relay, *, deadline: float = 60, **arguments: Any) -> Play:
        plays.append(Play(noun, scenario, relay, deadline, arguments))
        return plays[-1]

    yield start
    for play in plays:
        play.close()


@pytest.fixture
def play(stage: Callable[..., Play]) -> Callable[..., dict[str, Any]]:
    """Like `stage`, to the end: returns the scenario's result."""

    def run(*arguments: Any, **named: Any) -> dict[str, Any]:
        return stage(*arguments, **named).result()

    return run


class Issuer:
    """Whom the relay trusts: makes tokens, and knows how to make wrong ones."""

    def __init__(self, directory: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.public = directory / "issuer.pem"
        self.public.write_bytes(
            self._key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def token(self, rooms: Mapping[str, str], *, lasts: float = 300, sub: str = "ada", key: object = None) -> str:
        claims = {"sub": sub, "name": "Ada Lovelace", "exp": int(time.time() + lasts), "rooms": dict(rooms)}
        return jwt.encode(claims, key or self._key, algorithm="RS256")

    def forged(self, rooms: Mapping[str, str]) -> str:
        return self.token(rooms, key=rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer"))
