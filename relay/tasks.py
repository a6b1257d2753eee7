"""Background tasks: named, kept alive, and never silent about a failure."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["end", "running", "spawn"]

T = TypeVar("T")
log = logging.getLogger("relay.tasks")
running: set[asyncio.Task[Any]] = set()


def spawn(
    name: str, work: Coroutine[Any, Any, T], *, expected: tuple[type[BaseException], ...] = ()
) -> "asyncio.Task[T]":
    """Start `work` as a task. The loop itself keeps only weak references, so we hold it until it ends.

    expected: failures that whoever awaits the task deals with; any other is logged here.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    running.add(task)
    task.add_done_callback(lambda task: _ended(task, expected))
    return task


async def end(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task and wait until it has ended. A library may swallow a cancellation that comes while its own timeout
    ends (redis-py does), so it is said again until it is heard."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.2)


def _ended(task: "asyncio.Task[Any]", expected: tuple[type[BaseException], ...]) -> None:
    running.discard(task)
    if task.cancelled() or (error := task.exception()) is None or isinstance(error, expected):
        return
    log.error("task failed", extra={"task": task.get_name()}, exc_info=error)
