"""What connections share."""

import asyncio
import time
from typing import Any

from fakes import until

Serve = Any


async def test_timers(serve: Serve) -> None:
    """A time that has passed is now, one in the future is then, one beyond all bounds does not overflow."""
    context = (await serve()).context
    called: list[str] = []
    context.expire(time.time() - 5, lambda: called.append("past"))
    context.expire(time.time() + 0.02, lambda: called.append("soon"))
    far = context.expire(1e300, lambda: called.append("never"))
    await until(lambda: called == ["past", "soon"])
    assert not far.cancelled()
    far.cancel()
    await asyncio.sleep(0)
