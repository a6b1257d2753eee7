"""A loop that stands still ends its process, and says on what it stood."""

import subprocess
import sys

STALLS = """
import asyncio, time
from api_shim.watchdog import watch
async def main():
    watching = asyncio.create_task(watch(0.5))
    await asyncio.sleep(0.1)
    {then}
asyncio.run(main())
"""


def run(then: str) -> subprocess.CompletedProcess[str]:
    code = STALLS.format(then=then)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)


def test_stalled() -> None:
    """It ends with an error, and the stack is on stderr."""
    done = run("time.sleep(60)")
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in main" in done.stderr


def test_busy() -> None:
    """A loop that turns is left alone."""
    done = run("await asyncio.sleep(0.3); watching.cancel(); await asyncio.wait([watching]); time.sleep(1)")
    assert (done.returncode, done.stderr) == (0, "")
