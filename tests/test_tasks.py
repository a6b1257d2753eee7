"""Background tasks: kept alive, named, never silent."""

import asyncio
import gc
import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from relay.tasks import begin, end, running, spawn


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


async def from_the_loop(work: Coroutine[Any, Any, None]) -> None:
    """As a protocol's callback does: in no task."""
    asyncio.get_running_loop().call_soon(begin, "begun", work)
    await asyncio.sleep(0)


async def test_what_need_not_wait_is_done_at_once() -> None:
    """Without a task, and without a turn of the loop."""
    done: list[str] = []
    tasks = asyncio.all_tasks()

    async def part() -> str:
        return "part"

    async def work() -> None:
        done.append(await part())
        assert asyncio.all_tasks() == tasks

    def at_once() -> None:
        begin("begun", work())
        assert done == ["part"]
        done.append("callback")

    asyncio.get_running_loop().call_soon(at_once)
    await asyncio.sleep(0)
    assert done == ["part", "callback"]


async def test_what_waits_goes_on_in_a_task() -> None:
    """From where it began to wait, with what it waited for; then it is a task like any other."""
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    said: list[int] = []

    async def work() -> None:
        said.append(await asyncio.shield(answer))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            said.append(await asyncio.sleep(0.001, 6))

    await from_the_loop(work())
    assert said == []
    assert "begun" in {task.get_name() for task in running}
    answer.set_result(5)
    while len(said) < 2:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    assert said == [5, 6]
    assert "begun" not in {task.get_name() for task in running}


async def test_begun_work_hears_of_a_failure_and_a_cancellation() -> None:
    """What it waits for may fail, it may wait for something else then, and be cancelled."""
    broken: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    heard: list[str] = []

    async def work() -> None:
        try:
            await broken
        except ValueError:
            heard.append("failed")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    await from_the_loop(work())
    broken.set_exception(ValueError("boom"))
    (task,) = (task for task in running if task.get_name() == "begun")
    while heard != ["failed"]:
        await asyncio.sleep(0)
    await end(task)
    assert heard == ["failed", "cancelled"]
    assert task.cancelled()


@pytest.mark.parametrize("waits", [False, True])
async def test_failure_of_begun_work_is_logged(caplog: pytest.LogCaptureFixture, waits: bool) -> None:
    """Whether it failed at once or later, and whoever began it goes on."""

    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        raise ValueError("boom")

    with caplog.at_level(logging.ERROR, "relay.tasks"):
        await from_the_loop(work())
        while not caplog.records:
            await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.task == "begun"  # type: ignore[attr-defined]


async def test_begun_in_a_task() -> None:
    """A task's own deadline and cancellation are not those of what it begins: that is another task from the start."""
    inside: list[object] = []

    async def work() -> None:
        inside.append(asyncio.current_task())

    begin("begun", work())
    assert inside == []
    await asyncio.sleep(0)
    assert inside[0] not in (None, asyncio.current_task())
