"""Work off the loop: results come back, exceptions too, and what dies or hangs costs its own call alone."""

import asyncio
import os
import signal
import time

import pytest

from api_shim.work import Work
from relay.errors import CodecDied


async def test_results_and_errors() -> None:
    """A function's value, or what it raised."""
    work = Work(1)
    assert await work(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await work(divmod, 7, 0)
    work.close()


async def test_dies() -> None:
    """A process that ends costs the call it was for; the next has another."""
    work = Work(1)
    with pytest.raises(CodecDied, match="died while it ran"):
        await work(signal.raise_signal, signal.SIGKILL)
    assert await work(abs, -3) == 3
    work.close()


async def test_hangs() -> None:
    """One that takes too long is killed; the loop goes on meanwhile."""
    work = Work(1)
    pid = await work(os.getpid)
    work._deadline = 0.5  # for what hangs alone: a process needs a while to start
    with pytest.raises(CodecDied, match="ran past its deadline"):
        await asyncio.wait_for(work(time.sleep, 60), 30)
    work._deadline = 30.0
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("it is still there")
    assert await work(abs, -3) == 3
    work.close()
