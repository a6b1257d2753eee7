"""Passwords of links: argon2id, in threads (the library lets go of the GIL), a few at once."""

import asyncio
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api_shim.problems import TryLater

__all__ = ["Passwords"]

WAITING = 100
"""Passwords that wait to be hashed; beyond that the server is being flooded."""


class Passwords:
    """`memory` in bytes."""

    def __init__(self, *, time: int, memory: int) -> None:
        self._hasher = PasswordHasher(time_cost=time, memory_cost=memory >> 10, parallelism=1)
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "argon2")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """In PHC's format. Raises TryLater."""
        return await self._run(self._hash, password)

    async def check(self, stored: str, password: str) -> bool:
        """Whether it is the password. Raises TryLater."""
        return await self._run(self._verify, stored, password) == stored

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_prepared(password))

    def _verify(self, stored: str, password: str) -> str:
        try:
            self._hasher.verify(stored, _prepared(password))
        except (VerificationError, InvalidHashError):
            return ""
        return stored

    async def _run(self, function, *arguments: str) -> str:  # type: ignore[no-untyped-def]
        if self._waiting >= WAITING:
            raise TryLater("Too many passwords are being checked.")
        self._waiting += 1
        try:
            return str(await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments))
        finally:
            self._waiting -= 1


def _prepared(password: str) -> bytes:
    """One text for all the ways that keyboards write it (RFC 8265's OpaqueString is NFC too)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
