"""Passwords: argon2id, off the loop (the library lets go of the GIL), so many at once and no more."""

import asyncio
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar, TypeVarTuple, Unpack

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api_shim.problems import FieldError, Invalid, TryLater

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

__all__ = ["LONGEST", "Checked", "Passwords"]

LONGEST = 256
"""Characters; longer ones only cost time."""
WAITING = 200
"""Passwords that wait to be hashed; beyond that the server is being flooded."""


class Checked(NamedTuple):
    """right: it is the password. stale: and its hash is of weaker parameters than today's."""

    right: bool
    stale: bool


class Passwords:
    """`memory` in bytes. `at_once` 0: one for each core."""

    def __init__(self, *, time: int, memory: int, lanes: int, at_once: int = 0, shortest: int = 8) -> None:
        self._hasher = PasswordHasher(time_cost=time, memory_cost=memory >> 10, parallelism=lanes)
        workers = at_once or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(workers, "argon2")
        self._waiting = 0
        self._shortest = shortest
        self._nobody = self._hasher.hash("nobody's password")

    def require_good(self, password: str, pointer: str, *about: str) -> None:
        """Raises Invalid for one that is too short, or is the name or address it protects."""
        if len(password) < self._shortest:
            raise Invalid(errors=[FieldError(
                pointer=pointer, code="too_short", detail=f"A password has at least {self._shortest} characters."
            )])  # fmt: skip
        if password.casefold() in {part.casefold() for text in about for part in (text, text.partition("@")[0])}:
            raise Invalid(errors=[FieldError(pointer=pointer, code="guessable", detail="Is your name or address.")])

    async def hash(self, password: str) -> str:
        """In PHC's format. Raises TryLater."""
        return await self._run(self._hasher.hash, _prepared(password))

    async def check(self, stored: str | None, password: str) -> Checked:
        """Compare; without a stored hash it takes as long, and is wrong. Raises TryLater."""
        right = await self._run(self._verify, stored or self._nobody, _prepared(password))
        right = right and stored is not None
        return Checked(right, right and self._hasher.check_needs_rehash(stored or ""))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, function: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        if self._waiting >= WAITING:
            raise TryLater("Too many people log in at this moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            self._waiting -= 1


def _prepared(password: str) -> bytes:
    """One text for all the ways that keyboards write it (RFC 8265's OpaqueString is NFC too)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
