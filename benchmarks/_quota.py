"""A limit on the CPU time of processes, where Linux lets us set one: control groups, version 1 or 2."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Quota"]

PERIOD = 10_000
"""Microseconds in which a share is counted: short, so that what waits for the next one waits little."""
ROOT = Path("/sys/fs/cgroup")


class Quota:
    """As long as its `with` block, each of `pids` gets at most `share` of one core.

    Entering it raises OSError where this machine or user has no such thing.
    """

    def __init__(self, pids: Iterable[int], share: float) -> None:
        self._share = share
        self._pids = list(pids)
        self._groups: list[Path] = []
        self._first = ROOT / "cpu" if (ROOT / "cpu").is_dir() else None  # version 1

    def __enter__(self) -> Self:
        try:
            for pid in self._pids:
                group = (self._first or ROOT) / f"relay-benchmark-{os.getpid()}-{pid}"
                if self._first is None:
                    (ROOT / "cgroup.subtree_control").write_text("+cpu")
                group.mkdir()
                self._groups.append(group)
                most = round(PERIOD * self._share)
                if self._first is None:
                    (group / "cpu.max").write_text(f"{most} {PERIOD}")
                else:
                    (group / "cpu.cfs_period_us").write_text(str(PERIOD))
                    (group / "cpu.cfs_quota_us").write_text(str(most))
                (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for group in self._groups:
            for pid in (group / "cgroup.procs").read_text().split():
                try:
                    ((self._first or ROOT) / "cgroup.procs").write_text(pid)
                except OSError:
                    pass  # ended meanwhile
            try:
                group.rmdir()
            except OSError:
                pass
        self._groups.clear()
