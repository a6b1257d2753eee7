"""Background tasks: named, kept alive, and never silent about a failure."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["running", "spawn"]

T = TypeVar("T")
log = logging.getLogger("relay.tasks")
running: set[asyncio.Task[Any]] = set()


def spawn(name: str, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """Start `work` as a task. The loop itself keeps only weak references, so we hold it until it ends."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: "asyncio.Task[Any]") -> None:
    running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task failed", extra={"task": task.get_name()}, exc_info=error)
