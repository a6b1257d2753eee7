"""Background tasks: kept alive, named, never silent."""

import asyncio
import gc
import logging

import pytest

from relay.tasks import end, running, spawn


async def test_result_is_the_task() -> None:
    """A spawned task is awaitable and carries its name."""

    async def work() -> int:
        return 5

    task = spawn("count", work())
    assert task.get_name() == "count"
    assert await task == 5


async def test_task_is_kept_until_it_ends() -> None:
    """Nobody else holding it, a task survives a collection, and is let go when done."""
    gate, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    spawn("waiting", work())
    await asyncio.sleep(0)
    gc.collect()
    assert "waiting" in {task.get_name() for task in running}
    gate.set()
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0)
    assert "waiting" not in {task.get_name() for task in running}


async def test_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A task that nobody awaits reports its error with its name and traceback."""

    async def work() -> None:
        raise ValueError("boom")

    with caplog.at_level(logging.ERROR, "relay.tasks"):
        task = spawn("fails", work())
        await asyncio.wait([task])
        await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.task == "fails"  # type: ignore[attr-defined]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_cancellation_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Stopping a task on purpose is not logged."""
    task = spawn("cancelled", asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert task.cancelled()
    assert not caplog.records
    assert task not in running


async def test_end_insists() -> None:
    """A task that swallows the first cancellation is cancelled again."""
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    task = spawn("deaf", deaf())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    assert swallowed == 2
    await end(task)
    await end(None)
