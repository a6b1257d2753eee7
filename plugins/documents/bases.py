"""Contents as they were read or written, kept for a while: what a stale body is compared with.

Without the state that a body was made from nobody can tell what its author changed in it. States are kept in
PostgreSQL, compressed, when somebody who may write reads or writes them; how long and how many are settings.
"""

from collections import OrderedDict
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from plugins.documents.library import Library

__all__ = ["Bases"]

KNOWN = 10_000


class Bases:
    """Those of all documents."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._fresh: OrderedDict[tuple[UUID, str], float] = OrderedDict()

    def fresh(self, document: UUID, tag: str) -> bool:
        """Whether it was kept so lately that keeping it again would change nothing worth a write."""
        kept = self._fresh.get((document, tag))
        return kept is not None and self._library.context.clock() - kept < self._library.settings.base_window / 10

    async def keep(self, document: UUID, tag: str, packed: bytes) -> None:
        """Keep a state, and let go of the document's oldest beyond what may be kept."""
        library = self._library
        settings = library.settings
        if self.fresh(document, tag) or len(packed) > settings.base_bytes:
            return
        await library.database.execute(
            """WITH added AS (
                 INSERT INTO documents.base (document, tag, state, used) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (document, tag) DO UPDATE SET used = excluded.used
               ), others AS (
                 SELECT tag, row_number() OVER recent AS number, sum(length(state)) OVER recent AS size
                 FROM documents.base WHERE document = $1 AND tag <> $2
                 WINDOW recent AS (ORDER BY used DESC, tag ROWS UNBOUNDED PRECEDING)
               )
               DELETE FROM documents.base b USING others o
               WHERE b.document = $1 AND b.tag = o.tag AND (o.number >= $5 OR o.size > $6)""",
            document, tag, packed, library.now, settings.bases, settings.base_bytes - len(packed),
        )  # fmt: skip
        self._fresh[document, tag] = library.context.clock()
        self._fresh.move_to_end((document, tag))
        if len(self._fresh) > KNOWN:
            self._fresh.popitem(last=False)

    async def find(self, document: UUID, tags: Collection[str]) -> bytes | None:
        """The latest of the states of these tags, packed."""
        library = self._library
        found: bytes | None = await library.database.fetchval(
            """UPDATE documents.base SET used = $3 WHERE document = $1 AND tag = (
                 SELECT tag FROM documents.base WHERE document = $1 AND tag = ANY($2) AND used > $4
                 ORDER BY used DESC LIMIT 1
               ) RETURNING state""",
            document, list(tags), library.now, self._oldest(),
        )  # fmt: skip
        return found

    async def purge(self) -> None:
        """Let go of what is out of the window."""
        await self._library.database.execute("DELETE FROM documents.base WHERE used <= $1", self._oldest())

    def _oldest(self) -> object:
        return self._library.now - timedelta(seconds=self._library.settings.base_window)
