"""A plugin that blocks the loop can't be stopped from within it: a thread sees that, and ends the process.

The supervisor starts another; the rooms, in processes of their own, go on meanwhile.
"""

import asyncio
import faulthandler

__all__ = ["watch"]

PATIENCE = 15.0
"""Seconds that the loop may stand still; what it stood on is written to stderr before the process ends."""
EVERY = 1.0


async def watch(patience: float = PATIENCE) -> None:
    """Until cancelled."""
    try:
        while True:
            faulthandler.dump_traceback_later(patience, exit=True)
            await asyncio.sleep(EVERY)
    finally:
        faulthandler.cancel_dump_traceback_later()
