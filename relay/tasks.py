"""Background tasks: named, kept alive, and never silent about a failure."""

import asyncio
import logging
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

__all__ = ["begin", "end", "go_on", "running", "spawn"]

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


def begin(name: str, work: Coroutine[Any, Any, None]) -> None:
    """As `spawn`, but what `work` can do without waiting it has done when this returns; only the rest is a task.

    Called by the loop, not by a task, that first part is in no task: what needs one (`asyncio.timeout`) sees to it by
    `await asyncio.sleep(0)`.
    """
    if asyncio.current_task() is not None:
        spawn(name, work)
        return
    try:
        waits = work.send(None)
    except StopIteration:
        pass
    except Exception as error:
        _failed(name, error)
    else:
        spawn(name, go_on(work, waits))


async def go_on(work: Coroutine[Any, Any, T], waits: Any) -> T:
    """The rest of a coroutine that has begun; `waits` is what its first `send` gave."""
    ended: T = await _rest(work, waits)
    return ended


@types.coroutine
def _rest(work: Coroutine[Any, Any, Any], waits: Any) -> Generator[Any, Any, Any]:
    try:
        while True:
            try:
                yield waits
            except BaseException as error:
                waits = work.throw(error)
            else:
                return (yield from work)
    except StopIteration as ended:
        return ended.value


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
    _failed(task.get_name(), error)


def _failed(name: str, error: BaseException) -> None:
    log.error("task failed", extra={"task": name}, exc_info=error)
