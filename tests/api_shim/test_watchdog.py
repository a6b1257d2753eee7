"""A loop that stands still ends its process, and says on what it stood."""

import faulthandler
import subprocess
import sys

import pytest
from fakes import until

from api_shim import watchdog as module
from relay.tasks import end, spawn

STALLS = """
import asyncio, time
from api_shim.watchdog import watch
async def main():
    watching = asyncio.create_task(watch(0.5))
    await asyncio.sleep(0)
    time.sleep(60)
asyncio.run(main())
"""


def test_stalled() -> None:
    """It ends with an error, and the stack is on stderr."""
    done = subprocess.run([sys.executable, "-c", STALLS], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in main" in done.stderr


async def test_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that turns is left alone: its end is put off again and again, and called off in the end."""
    done: list[str] = []
    monkeypatch.setattr(module, "EVERY", 0.01)
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda patience, exit: done.append("put off"))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: done.append("called off"))
    watching = spawn("watchdog", module.watch())
    await until(lambda: len(done) > 3, 10)
    await end(watching)
    assert set(done[:-1]) == {"put off"}
    assert done[-1] == "called off"
