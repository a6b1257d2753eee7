"""CPU-heavy work of plugins, in processes of its own: the loop that answers requests never waits for a core."""

import asyncio
import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ParamSpec, TypeVar

from relay.errors import CodecDied

__all__ = ["Work"]

P = ParamSpec("P")
T = TypeVar("T")
DEADLINE = 60.0


def _calm_the_collector() -> None:
    """Trees of a document's nodes are many objects and hardly a cycle: a large Markdown takes 40 % less."""
    gc.set_threshold(50_000, 20, 20)


class Work:
    """`processes` at most, started when first needed. A process that dies or hangs costs the call it was for."""

    def __init__(self, processes: int, deadline: float = DEADLINE) -> None:
        self._processes = processes
        self._deadline = deadline
        self._pool: ProcessPoolExecutor | None = None

    async def __call__(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """What a module's function returns for these arguments, which can be pickled. Raises what it raises, and
        CodecDied when its process ended or took longer than the deadline."""
        assert not named, "positional arguments only"
        pool = self._pool
        if pool is None:
            # Not forked: a copy of this process would share its sockets.
            context = multiprocessing.get_context("spawn")
            pool = self._pool = ProcessPoolExecutor(self._processes, context, _calm_the_collector)
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
        except BrokenProcessPool:
            self._replace(pool)
            raise CodecDied(f"a process died while it ran {function.__name__}") from None
        except TimeoutError:
            self._replace(pool)
            raise CodecDied(f"{function.__name__} ran past its deadline") from None

    def _replace(self, pool: ProcessPoolExecutor) -> None:
        if self._pool is pool:
            self._pool = None
        children: dict[int, Any] = getattr(pool, "_processes", None) or {}
        for child in list(children.values()):
            child.kill()  # what hangs is not waited for
        pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End all processes."""
        if self._pool is not None:
            self._replace(self._pool)
