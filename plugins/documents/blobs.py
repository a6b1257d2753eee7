"""Bytes of attachments, each kept once however often it is attached: in PostgreSQL, or in a directory.

Bytes are stored as they arrive, and named by their SHA-256 when all are there. `touch` in the transaction that
attaches them keeps them from being swept: what nobody has attached is removed an hour after it was last touched.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from asyncpg import Pool

from api_shim.ids import uuid7

__all__ = ["Blobs", "DatabaseBlobs", "DirectoryBlobs", "Stored"]

CHUNK = 256 << 10
UNUSED = "interval '1 hour'"
_ADD = """
INSERT INTO documents.blob (sha256, size) VALUES ($1, $2)
ON CONFLICT (sha256) DO UPDATE SET touched = now()
"""


class Stored(NamedTuple):
    """What was stored: its name, size, and first bytes."""

    sha256: bytes
    size: int
    head: bytes


class Blobs(Protocol):
    """Where the bytes are. The same bytes are kept once; a crash leaves at most what a sweep removes."""

    async def put(self, pieces: AsyncIterator[bytes], check: Callable[[bytes], None]) -> Stored:
        """Store what comes. `check` is called with the first bytes, before any are stored, and may raise."""
        ...

    def read(self, sha256: bytes, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end), in pieces. Raises FileNotFoundError."""
        ...

    async def touch(self, connection: Any, sha256: bytes) -> bool:
        """Keep from being swept until the transaction ends, and for a while; False when they are gone already."""
        ...

    async def sweep(self) -> None:
        """Remove what nobody has attached for an hour, and what was begun and never ended."""
        ...


async def _touch(connection: Any, sha256: bytes) -> bool:
    return bool(
        await connection.fetchval("UPDATE documents.blob SET touched = now() WHERE sha256 = $1 RETURNING true", sha256)
    )


async def _chunks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in chunks of one size, the last one apart; at least one."""
    held = bytearray()
    first = True
    async for piece in pieces:
        held += piece
        while len(held) >= CHUNK:
            yield bytes(held[:CHUNK])
            first = False
            del held[:CHUNK]
    if held or first:
        yield bytes(held)


class DatabaseBlobs:
    """In rows of `documents.chunk`, 256 KiB each: a piece of a large file is read without the rest."""

    def __init__(self, database: Pool) -> None:
        self._database = database

    async def put(self, pieces: AsyncIterator[bytes], check: Callable[[bytes], None]) -> Stored:
        upload, digest, size, head, number = uuid7(), hashlib.sha256(), 0, b"", 0
        try:
            async for chunk in _chunks(pieces):
                if number == 0:
                    check(chunk)
                    head = chunk[:64]
                    await self._database.execute("INSERT INTO documents.upload (id) VALUES ($1)", upload)
                digest.update(chunk)
                size += len(chunk)
                await self._database.execute(
                    "INSERT INTO documents.chunk (upload, number, data) VALUES ($1, $2, $3)", upload, number, chunk
                )
                number += 1
            name = digest.digest()
            async with self._database.acquire() as connection, connection.transaction():
                await connection.execute(_ADD, name, size)
                # Whoever stored the same bytes before keeps theirs.
                taken = await connection.fetchval("SELECT true FROM documents.upload WHERE sha256 = $1", name)
                what = "DELETE FROM documents.upload" if taken else "UPDATE documents.upload SET sha256 = $2"
                await connection.execute(f"{what} WHERE id = $1", upload, *(() if taken else (name,)))
        except BaseException:
            with suppress(Exception):
                await self._database.execute("DELETE FROM documents.upload WHERE id = $1 AND sha256 IS NULL", upload)
            raise
        return Stored(name, size, head)

    async def read(self, sha256: bytes, start: int, end: int) -> AsyncIterator[bytes]:
        upload = await self._database.fetchval("SELECT id FROM documents.upload WHERE sha256 = $1", sha256)
        at = start
        while at < end:
            number, offset = divmod(at, CHUNK)
            piece = await self._database.fetchval(
                "SELECT substring(data FROM $3 FOR $4) FROM documents.chunk WHERE upload = $1 AND number = $2",
                upload, number, offset + 1, end - at,
            )  # fmt: skip
            if not piece:
                raise FileNotFoundError(sha256.hex())
            yield piece
            at += len(piece)

    async def touch(self, connection: Any, sha256: bytes) -> bool:
        return await _touch(connection, sha256)

    async def sweep(self) -> None:
        await self._database.execute(
            f"""DELETE FROM documents.blob b WHERE touched < now() - {UNUSED}
                AND NOT EXISTS (SELECT FROM documents.attachment WHERE sha256 = b.sha256)"""  # noqa: S608
        )
        await self._database.execute(
            f"DELETE FROM documents.upload WHERE sha256 IS NULL AND began < now() - {UNUSED}"  # noqa: S608
        )


class DirectoryBlobs:
    """In files named by their hash, in 256 folders; `directory` is shared by all API processes."""

    def __init__(self, database: Pool, directory: Path) -> None:
        self._database = database
        self._directory = directory

    def _file(self, sha256: bytes) -> Path:
        name = sha256.hex()
        return self._directory / name[:2] / name

    async def put(self, pieces: AsyncIterator[bytes], check: Callable[[bytes], None]) -> Stored:
        digest, size, head = hashlib.sha256(), 0, b""
        begun = self._directory / "begun" / uuid7().hex
        file = None
        try:
            async for chunk in _chunks(pieces):
                if file is None:
                    check(chunk)
                    head = chunk[:64]
                    begun.parent.mkdir(parents=True, exist_ok=True)
                    file = begun.open("xb")
                digest.update(chunk)
                size += len(chunk)
                await asyncio.to_thread(file.write, chunk)
            assert file is not None
            await asyncio.to_thread(_settle, file)
            name = digest.digest()
            # The row first: while it is there and fresh, no sweep removes the file.
            await self._database.execute(_ADD, name, size)
            final = self._file(name)
            final.parent.mkdir(parents=True, exist_ok=True)
            begun.replace(final)
        finally:
            if file is not None:
                file.close()
                begun.unlink(missing_ok=True)
        return Stored(name, size, head)

    async def read(self, sha256: bytes, start: int, end: int) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(self._file(sha256).open, "rb") as file:
            file.seek(start)
            at = start
            while at < end:
                piece = await asyncio.to_thread(file.read, min(CHUNK, end - at))
                if not piece:
                    raise FileNotFoundError(sha256.hex())
                yield piece
                at += len(piece)

    async def touch(self, connection: Any, sha256: bytes) -> bool:
        return await _touch(connection, sha256)

    async def sweep(self) -> None:
        async with self._database.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                f"""DELETE FROM documents.blob b WHERE touched < now() - {UNUSED}
                    AND NOT EXISTS (SELECT FROM documents.attachment WHERE sha256 = b.sha256)
                    RETURNING sha256"""  # noqa: S608
            )
            for row in rows:  # before the commit: whoever stores the same again waits for it, and then writes the file
                self._file(row["sha256"]).unlink(missing_ok=True)
        old = await asyncio.to_thread(_old, self._directory / "begun")
        for path in old:
            path.unlink(missing_ok=True)


def _settle(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _old(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    before = time.time() - 3600
    return [path for path in directory.iterdir() if path.stat().st_mtime < before]
