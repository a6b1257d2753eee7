"""Secrets at rest."""

import pytest

from plugins.auth.seal import Seal, derive


def test_sealed_and_opened() -> None:
    """What was sealed opens with the same secret and purpose, and never looks the same twice."""
    seal = Seal(b"secret")
    assert seal.open(seal.seal(b"key", "row 1"), "row 1") == b"key"
    assert seal.seal(b"key", "row 1") != seal.seal(b"key", "row 1")


def test_other_secret_or_place() -> None:
    """Another secret, another row or changed bytes open nothing."""
    sealed = Seal(b"secret").seal(b"key", "row 1")
    for seal, what, about in (
        (Seal(b"other"), sealed, "row 1"),
        (Seal(b"secret"), sealed, "row 2"),
        (Seal(b"secret"), sealed[:-1] + bytes([sealed[-1] ^ 1]), "row 1"),
        (Seal(b"secret"), b"", "row 1"),
    ):
        with pytest.raises(ValueError, match="another secret"):
            seal.open(what, about)


def test_purposes_differ() -> None:
    """One secret gives each purpose a key of its own."""
    assert derive(b"s", "a") != derive(b"s", "b") != b"s"
