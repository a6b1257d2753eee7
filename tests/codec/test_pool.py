"""The pool of codec processes: work comes back, poison and kills cost nobody else anything."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from fakes import held, typed, until

from relay.codec import worker
from relay.codec.pool import CodecPool
from relay.errors import CodecDied, Malformed, Unavailable
from relay.metrics import Counters
from relay.yjs.vector import encode_vector


@pytest.fixture
async def pool() -> AsyncIterator[CodecPool]:
    pool = CodecPool(1, Counters(), deadline=20.0)
    yield pool
    await pool.close()


def pids(pool: CodecPool) -> list[int]:
    return [process.pid for process in pool._all]


async def test_jobs(pool: CodecPool) -> None:
    """Summaries, compaction and diffs are what the codec says, through a process that is kept."""
    update = typed(1, 0, "abc")
    assert await pool.summarise(update) == (update, worker.JOBS["summarise"](update)[1])
    state, _ = await pool.compact([update, typed(1, 3)])
    assert held([state]) == {(1, clock) for clock in range(4)}
    assert held([await pool.diff(state, encode_vector({1: 2}))]) == {(1, 2), (1, 3)}
    assert len(pids(pool)) == 1


async def test_malformed(pool: CodecPool) -> None:
    """Bytes that are no update raise Malformed, and the process goes on."""
    with pytest.raises(Malformed):
        await pool.summarise(b"\1\1\1")
    first = pids(pool)
    assert (await pool.summarise(b"\0\0"))[0] == b"\0\0"
    assert pids(pool) == first


async def test_large_payload(pool: CodecPool) -> None:
    """Megabytes go in and come out whole."""
    update = typed(1, 0, "x" * (8 << 20))
    state, _ = await pool.compact([update])
    assert state == update


async def test_process_killed_while_idle(pool: CodecPool) -> None:
    """A process that died with nothing to do is replaced; no document is blamed for it."""
    await pool.summarise(b"\0\0")
    (pid,) = pids(pool)
    os.kill(pid, signal.SIGKILL)
    assert (await pool.summarise(b"\0\0"))[0] == b"\0\0"
    assert pid not in pids(pool)


async def killer(pool: CodecPool) -> None:
    """Kills every process of the pool as soon as it has started."""
    while True:
        for process in list(pool._all):
            if process.returncode is None:
                process.kill()
        await asyncio.sleep(0)


async def test_job_that_kills_its_processes(pool: CodecPool) -> None:
    """A job on which two processes die raises CodecDied; the next job works, and nothing is left of the dead."""
    killing = asyncio.get_running_loop().create_task(killer(pool))
    with pytest.raises(CodecDied):
        await pool.summarise(typed(1, 0, "x" * 100_000))
    killing.cancel()
    assert pids(pool) == []
    assert (await pool.summarise(b"\0\0"))[0] == b"\0\0"


async def test_deadline() -> None:
    """A job that runs too long is ended, once."""
    counters = Counters()
    pool = CodecPool(1, counters, deadline=0.001)
    started: list[object] = []
    start = pool._start

    async def counted() -> asyncio.subprocess.Process:
        started.append(1)
        return await start()

    pool._start = counted  # type: ignore[method-assign]
    try:
        with pytest.raises(CodecDied, match="deadline"):
            await pool.summarise(typed(1, 0, "x" * 10_000_000))
        assert len(started) == 1
        assert pids(pool) == []
    finally:
        await pool.close()


async def test_failing_job(pool: CodecPool) -> None:
    """An error that is not about the bytes is the job's failure too, whatever its type."""
    with pytest.raises(CodecDied, match="failed"):
        await pool.read([b"\0\0"], "no such form")


async def test_cancelled_job(pool: CodecPool) -> None:
    """Giving up on a job ends its process: the next one never reads the other's answer."""
    waiting = asyncio.get_running_loop().create_task(pool.summarise(typed(1, 0, "x" * 1_000_000)))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await pool.summarise(b"\0\0") == (b"\0\0", worker.JOBS["summarise"](b"\0\0")[1])


async def test_more_jobs_than_processes(pool: CodecPool) -> None:
    """Jobs wait for their turn, and all are done by the one process."""
    found = await asyncio.gather(*(pool.summarise(typed(1, clock)) for clock in range(5)))
    assert [update for update, _ in found] == [typed(1, clock) for clock in range(5)]
    assert len(pids(pool)) == 1


async def test_closed_under_a_job() -> None:
    """Stopping is no reason to blame a document: jobs under way and later ones raise Unavailable, not CodecDied."""
    pool = CodecPool(1, Counters())
    jobs = [asyncio.get_running_loop().create_task(pool.compact([typed(1, 0, "x" * 3_000_000)])) for _ in range(3)]
    await until(lambda: pool._all)
    await pool.close()
    found = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(error) for error in found] == [Unavailable] * 3
    with pytest.raises(Unavailable):
        await pool.summarise(b"\0\0")


async def test_no_process_to_be_had(pool: CodecPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that can't start a process is not a document's fault either."""

    async def fail(*args: object, **kwargs: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    with pytest.raises(Unavailable, match="temporarily"):
        await pool.summarise(b"\0\0")
