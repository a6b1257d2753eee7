"""A read replica: it hands out long documents, the primary says which bytes are the right ones.

A replica lags, and nothing it says can show by itself that it does not: its chain may have grown, been deleted or set
aside since, and the journal does not know what it was trimmed of once a room is closed. So every load begins with one
row of the primary, by its key: where the chain ends and when it was last written. A chain with the same end holds the
same prefix of the log, so the replica's chain is taken only from under that very row; else the primary is read.
"""

import asyncio
import logging
import random

import asyncpg

from relay.errors import Quarantined, Unavailable
from relay.metrics import Tally
from relay.snapshot import RoomInfo, Segment
from relay.snapshot.chain import check
from relay.snapshot.database import AWAY, Database
from relay.snapshot.pieces import COLUMNS, PIECES, joined

__all__ = ["Replica"]

log = logging.getLogger("relay.replica")
PATIENCE = 2.0
"""Seconds that a replica has to answer, besides those that the bytes take."""
SLOWEST = 4 << 20
"""Bytes a second that a replica has to deliver."""
REST = (1.0, 30.0)
"""Seconds that a replica which failed is left alone, at first and at most."""

_CHAIN = f"""
SELECT {COLUMNS} FROM relay.room r, {PIECES}
WHERE r.room = $1 AND (r.upto_epoch, r.upto_ms, r.upto_seq) = ($3, $4, $5) AND r.written = $6 AND r.segments = $7
"""  # noqa: S608


class Replica:
    """Reads chains from `database`, and leaves it alone for a while when it fails. `reads` counts what came of it."""

    def __init__(self, database: Database, reads: Tally) -> None:
        self._database = database
        self._reads = reads
        self._rest = 0.0
        self._not_before = 0.0

    async def chain(self, head: RoomInfo) -> list[Segment] | None:
        """The chain under the primary's `head`; None when the primary has to be read."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            self._reads.add("replica away")
            return None
        try:
            async with asyncio.timeout(PATIENCE + head.size / SLOWEST):
                wanted = head.room, True, *head.upto, head.written, head.segments
                rows = await self._database.run(lambda connection: connection.fetch(_CHAIN, *wanted), bulk=True)
            chain = await joined(rows)
            if chain:
                check(head.room, chain, head.upto)
        except (Unavailable, Quarantined, *AWAY, asyncpg.PostgresError) as error:
            # Also a replica of an older schema, of another database, or with a damaged page: the primary decides.
            self._rest = min(max(REST[0], self._rest * 2), REST[1])
            self._not_before = loop.time() + self._rest * random.uniform(0.5, 1.0)  # noqa: S311
            log.warning("replica failed, the primary is read", extra={"room": head.room, "error": str(error)})
            self._reads.add("replica away")
            return None
        self._rest = 0.0
        self._reads.add("replica" if chain else "replica behind")
        return chain or None

    async def close(self) -> None:
        """Disconnect."""
        await self._database.close()
