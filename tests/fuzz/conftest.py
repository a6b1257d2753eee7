"""A relay with everything on, tokens included, for the whole folder; its log must stay free of tracebacks."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fidelity.conftest import yjs as yjs
from relay_process import Relay

Mint = Callable[[str], str]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def mint(directory: Path) -> Mint:
    """Makes tokens that open the rooms of a pattern."""
    key = Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (directory / "public.pem").write_bytes(key.public_key().public_bytes(*form))

    def token(pattern: str) -> str:
        claims = {"sub": "ada", "name": "Ada", "exp": int(time.time()) + 7200, "rooms": {pattern: "read-write"}}
        return jwt.encode(claims, key, algorithm="EdDSA")

    return token


@pytest.fixture(scope="module")
def relay(directory: Path, mint: Mint) -> Iterator[Relay]:
    process = Relay(directory, ("--jwt-key", str(directory / "public.pem"), "--idle-unload", "3"))
    yield process
    process.stop()


@pytest.fixture
def unharmed(relay: Relay) -> Iterator[None]:
    """The same process before and after, and nothing in between that it had no answer to."""
    pid = relay.pid
    yield
    assert relay.running
    assert relay.pid == pid
    metrics = relay.metrics()
    wrong = [f'relay_errors_total{{kind="{kind}"}}' for kind in ("internal", "codec", "poison")]
    assert [name for name in wrong if name in metrics] == []
    traces = [line for line in relay.log.read_text().splitlines() if '"exception"' in line]
    assert traces == [], traces[0]
