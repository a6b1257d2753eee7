"""Passwords."""

import asyncio

import pytest

from api_shim.problems import Invalid, TryLater
from plugins.auth import passwords
from plugins.auth.passwords import Passwords


@pytest.fixture
def weak():
    made = Passwords(time=1, memory=64 << 10, lanes=1, at_once=2)
    yield made
    made.close()


async def test_right_and_wrong(weak: Passwords) -> None:
    """The password matches its hash, another does not, and nobody's never does."""
    stored = await weak.hash("correct horse")
    assert stored.startswith("$argon2id$")
    assert await weak.check(stored, "correct horse") == (True, False)
    assert await weak.check(stored, "correct horsf") == (False, False)
    assert await weak.check(None, "nobody's password") == (False, False)
    assert await weak.check("no hash", "correct horse") == (False, False)


async def test_same_letters(weak: Passwords) -> None:
    """A composed and a decomposed letter are one; half a surrogate pair is a character like others."""
    stored = await weak.hash("caf\u00e9 \ud800")
    assert (await weak.check(stored, "cafe\u0301 \ud800")).right


async def test_stale(weak: Passwords) -> None:
    """A hash of weaker parameters is right, and stale."""
    stored = await weak.hash("correct horse")
    strong = Passwords(time=2, memory=64 << 10, lanes=1)
    assert await strong.check(stored, "correct horse") == (True, True)
    strong.close()


async def test_the_loop_goes_on() -> None:
    """While passwords are hashed the loop runs, and no more are hashed at once than may be."""
    slow = Passwords(time=3, memory=32 << 20, lanes=1, at_once=1)
    turns = 0
    hashing = asyncio.gather(*(slow.check(None, "x") for _ in range(4)))
    while not hashing.done():
        await asyncio.sleep(0.001)
        turns += 1
    await hashing
    slow.close()
    # A hash on the loop would leave one turn for each.
    assert turns > 8


async def test_flood(weak: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound nobody waits."""
    monkeypatch.setattr(passwords, "WAITING", 2)
    answers = await asyncio.gather(*(weak.check(None, "x") for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, TryLater) for answer in answers) == 3


@pytest.mark.parametrize("password", ["short", "ada@example.com", "Ada Lovelace", "ADA@EXAMPLE.COM"])
def test_bad_password(weak: Passwords, password: str) -> None:
    """Too short, or what everybody knows of its owner."""
    with pytest.raises(Invalid) as refused:
        weak.require_good(password, "/password", "ada@example.com", "Ada Lovelace")
    assert refused.value.errors[0].pointer == "/password"
