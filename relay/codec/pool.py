"""The pool of codec processes: started when first needed, one job at a time each, replaced when one dies."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from relay.codec.message import HEAD, lengths, pack, unpack
from relay.errors import CodecDied, Malformed, Unavailable

if TYPE_CHECKING:
    from relay.metrics import Counters

__all__ = ["CodecPool"]

log = logging.getLogger("relay.codec")
PIECE = 1 << 18
"""Bytes of an answer that are read at a time."""
Pieces = Sequence[bytes | memoryview]


class _Died(CodecDied):
    """The process died; a job that ran past its deadline is not worth another one."""


class CodecPool:
    """Runs jobs in up to `processes` processes; more jobs wait their turn.

    deadline: seconds after which a job's process is killed. Every job raises Malformed when the bytes are not what they
    should be, CodecDied when two processes died on it (one may have been killed while it was idle) or it ran past its
    deadline, and Unavailable when the pool is closed or no process can be started.
    """

    def __init__(self, processes: int, counters: "Counters", deadline: float = 120.0) -> None:
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()
        self._counters = counters
        self._deadline = deadline
        self._closed = False

    async def summarise(self, update: bytes, known: bytes | None = None) -> tuple[bytes, bytes]:
        """Validate a large update: as every client can read it (nearly always as it is), and its `clocks`. Without the
        structs that `known` says are there already, a summary as of `Known.shared`."""
        rewritten, clocks = await self._run("summarise", update, known)
        return rewritten or update, clocks

    async def compact(self, updates: Sequence[bytes]) -> tuple[bytes, bytes]:
        """One update with the same content as all of them, and its `clocks`."""
        state, clocks = await self._run("compact", list(updates))
        return state, clocks

    async def diff(self, update: bytes, vector: bytes) -> bytes:
        """What a client with this encoded state vector lacks of `update`."""
        result: bytes = await self._run("diff", update, vector)
        return result

    async def read(self, updates: Sequence[bytes], form: str) -> bytes:
        """The document's content as `json` or `text`, encoded (see `relay.codec.content`)."""
        result: bytes = await self._run("read", list(updates), form)
        return result

    async def _run(self, job: str, *arguments: object) -> Any:
        self._counters.codec_queue += 1
        started = perf_counter()
        try:
            async with self._slots:
                message = pack((job, arguments))
                try:
                    done, result = await self._attempt(job, message)
                except _Died:
                    done, result = await self._attempt(job, message)
        finally:
            self._counters.codec_queue -= 1
            self._counters.codec_seconds[job].observe(perf_counter() - started)
        if done:
            return result
        if isinstance(result, Malformed):
            raise result
        raise CodecDied(f"a {job} job failed: {result!r}")

    async def _attempt(self, job: str, message: Pieces) -> tuple[bool, Any]:
        process = self._idle.pop() if self._idle else await self._start()
        try:
            answer = await asyncio.wait_for(self._ask(process, message), self._deadline)
        except BaseException as error:
            self._kill(process)
            await process.wait()
            if self._closed and not isinstance(error, asyncio.CancelledError):
                raise Unavailable("the codec pool is closed") from None
            if isinstance(error, TimeoutError):
                raise CodecDied(f"a {job} job ran past its deadline") from None
            if isinstance(error, OSError | asyncio.IncompleteReadError):
                log.error("codec process died", extra={"job": job, "pid": process.pid})
                raise _Died(f"a codec process died on a {job} job") from None
            raise
        self._idle.append(process)
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        if self._closed:
            raise Unavailable("the codec pool is closed")
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "relay.codec.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
        except OSError as error:
            raise Unavailable(f"no codec process can be started: {error.strerror}") from None
        self._all.add(process)
        return process

    async def _ask(self, process: asyncio.subprocess.Process, message: Pieces) -> tuple[bool, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.writelines(message)
        await process.stdin.drain()
        size, count = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
        sizes = lengths(await process.stdout.readexactly(8 * count))
        body = await _read(process.stdout, size)
        answer: tuple[bool, Any] = unpack(body, [await _read(process.stdout, each) for each in sizes])
        return answer

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        self._all.discard(process)
        if process.returncode is None:
            process.kill()

    async def close(self) -> None:
        """End all processes; jobs under way fail with Unavailable."""
        self._closed = True
        self._idle.clear()
        for process in list(self._all):
            self._kill(process)
            await process.wait()


async def _read(source: asyncio.StreamReader, size: int) -> bytes:
    """As `readexactly`, which copies large bytes twice and all at once."""
    pieces = []
    while size:
        piece = await source.read(min(size, PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
