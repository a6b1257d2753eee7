"""One room and its journal: what is on its way there, who waits to hear "saved", and what happens while it is away.

Appends leave in the order of the flushes and are answered in that order. When one is refused, everything from there on
is kept and appended again once the journal is back: repeating an edit does no harm, losing the order of two would.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from relay.errors import RelayError
from relay.protocol import ywebsocket as message
from relay.room.gather import gather
from relay.types import Position

if TYPE_CHECKING:
    from relay.journal import Journal
    from relay.room.backlog import Backlog
    from relay.room.fanout import Group
    from relay.room.log import Flush
    from relay.room.member import Member
    from relay.room.room import Room

__all__ = ["Saving"]

AGAIN = 256 << 10
"""Bytes of one room on their way to a journal that is back after an outage."""
ENDED = -1
"""The term of a room that has left memory: no answer to an append is of it."""
ECHO_WINDOW = 0.5
"""Seconds that the echoes of an author's own edits gather."""


class Saving:
    """`epoch`: of the stream appended to. `away`: the journal refused; nothing is acknowledged until it has taken what
    was kept. `tail`: bytes from which on the room's owner is told that it has grown."""

    __slots__ = (
        "_again",
        "_echoes",
        "_in_flight",
        "_journal",
        "_kept",
        "_on_failed",
        "_room",
        "_tail",
        "_term",
        "awaited",
        "away",
        "backlog",
        "epoch",
    )

    def __init__(
        self,
        room: Room,
        journal: Journal,
        epoch: int,
        backlog: Backlog,
        tail: int,
        on_failed: Callable[[Room, RelayError], None],
    ) -> None:
        self.epoch = epoch
        self.away = False
        self.awaited = 0  # flushes on their way whose authors wait for each other's edits
        self.backlog = backlog
        self._room = room
        self._journal = journal
        self._tail = tail
        self._on_failed = on_failed
        self._echoes: dict[Member, list[bytes]] = {}
        self._again: deque[Flush] | None = None  # kept through an outage, and not yet given to the journal again
        self._kept = 0  # bytes of the backlog that are this room's
        self._in_flight = 0  # bytes given to the journal and not yet answered
        self._term = 0  # counts outages: answers to appends made before the last one mean nothing

    # -- on its way --

    def take(self, flush: Flush) -> None:
        """Everybody else has `flush`: give it to the journal, or keep it until that is back."""
        if self.away:
            self._keep(flush.size)
            self._tell_early(flush)
        elif self._again is not None:
            self._tell_early(flush)
            self._again.append(flush)
        else:
            # With several authors each waits for the others' edits; one alone waits only for its own to be saved.
            several = len(flush.authors) > 1
            self.awaited += several
            self._append(flush, soon=several or self._room.on_saved is not None)

    def _append(self, flush: Flush, *, soon: bool = True) -> None:
        flush.queued = perf_counter()
        self._in_flight += flush.size
        done = partial(self._appended, flush, self._term)
        self._journal.append(self._room.name, self.epoch, flush.edits, done, soon=soon)

    def _appended(self, flush: Flush, term: int, result: Position | RelayError) -> None:
        if term != self._term:
            return  # something was refused since: this flush is appended again behind it
        self._in_flight -= flush.size
        if isinstance(result, RelayError):
            self.fail(result)
        else:
            self._room.counters.journal_append_seconds.observe(perf_counter() - flush.queued)
            several = len(flush.authors) > 1
            self.saved(flush, result)
            if several and self.awaited:
                self.awaited -= 1
                self._room.go_on(len(flush.edits))
            if self._again is not None:
                self._append_again(self._again)

    def saved(self, flush: Flush, position: Position) -> None:
        """The journal has `flush`: tell its authors."""
        flush.position = position
        self._room.log.saved += 1
        authors, frames, writers = flush.authors, flush.frames, flush.writers
        flush.authors, flush.frames, flush.writers = {}, {}, []
        alone = len(authors) == 1
        reached = 0
        for member, count in authors.items():
            if member not in self._room.members:
                continue
            if member.behind is not None:
                member.behind = min(member.behind, flush.number - 1)
            else:
                reached += 1
                if alone:
                    if member.echo:
                        self._echo_later(member, flush, frames)
                elif not flush.told:
                    self._echo(member, flush, frames)
                elif member.echo:  # it has the others' edits already
                    self._write(member, [e.update for e, writer in zip(flush.edits, writers) if writer is member])
            member.acknowledge(count)
        if reached > 1:  # each of them has got all but its own
            self._room.counters.edits_out += len(flush.edits) * (reached - 1)
        if self._room.on_saved is not None:
            self._room.on_saved(self._room)
        if self._room.log.tail_size > self._tail and not self._room.closed:
            self._room.on_grown(self._room)

    def acknowledge_after_last(self, authors: dict[Member, int]) -> None:
        """Nothing new, so nothing to journal; but what it repeats may itself still be on its way to the journal."""
        last = next(reversed(self._room.log.flushes), None)
        if last is not None and last.position is None:
            for member, count in authors.items():
                last.authors[member] = last.authors.get(member, 0) + count
            return
        for member, count in authors.items():
            if member in self._room.members:
                member.acknowledge(count)

    # -- what authors get back --

    def _echo(self, member: Member, flush: Flush, frames: dict[Group, bytes]) -> None:
        group = member.group
        if group is None:
            return
        if len(flush.payloads) == 1 and group in frames:
            self._room.write(member, frames[group])
            return
        for payload in flush.payloads:
            self._room.write(member, group.frame(message.update(payload)))

    def _echo_later(self, member: Member, flush: Flush, frames: dict[Group, bytes]) -> None:
        """Nobody's edits but its own are in `flush`: it knows them, and only wants to see that they came back. The
        echoes of a moment go in one write, which saves an author a write a keystroke."""
        group = member.group
        if group is None or len(flush.payloads) != 1 or group not in frames:
            self._echo(member, flush, frames)
            return
        if not self._echoes:
            asyncio.get_running_loop().call_later(ECHO_WINDOW, self._write_echoes)
        self._echoes.setdefault(member, []).append(frames[group])

    def _write_echoes(self) -> None:
        echoes, self._echoes = self._echoes, {}
        for member, frames in echoes.items():
            if member.behind is not None:
                member.behind = -1  # rare enough to send it everything again
            elif member.group is not None:
                self._room.write(member, b"".join(frames), frames=len(frames))

    # -- the journal is away --

    def fail(self, error: RelayError) -> None:
        """The journal did not take a flush: keep all unsaved ones, acknowledge nothing, and have somebody retry."""
        if self.away or self._term == ENDED:
            return
        self.away = True
        self._term += 1
        if self._again is not None:
            self._again.clear()
            self._again = None
        self._in_flight = 0
        self._keep(sum(flush.size for flush in self._room.log.unsaved()))
        self.tell_all_early()
        self._on_failed(self._room, error)

    def tell_all_early(self) -> None:
        """Authors of what is not saved yet get the others' edits now, in order, before anything later."""
        self.awaited = 0
        for flush in self._room.log.unsaved():
            self._tell_early(flush)

    def _tell_early(self, flush: Flush) -> None:
        """An author waits for its own edit to be saved, but not for the edits of others that share its flush.

        Its own stay out of it: some clients count an edit as saved when it comes back.
        """
        if flush.told or len(flush.authors) < 2:
            return
        flush.told = True
        for member in flush.authors:
            if member in self._room.members:
                self._write(member, flush.of_others(member))

    def _write(self, member: Member, updates: list[bytes]) -> None:
        if member.group is not None:
            for update in gather(updates):
                self._room.write(member, member.group.frame(message.update(update)))

    def resume(self, epoch: int) -> None:
        """The journal is back: append again what it does not have."""
        self.epoch = epoch
        self.away = False
        self.let_go_of_backlog()
        self._again = deque(self._room.log.unsaved())
        self._append_again(self._again)

    def _append_again(self, again: deque[Flush]) -> None:
        """All at once may be more than the journal queues: it would be refused again, and for ever."""
        while again and self._in_flight < AGAIN:
            self._append(again.popleft())
        if not again:
            self._again = None

    def _keep(self, size: int) -> None:
        self._kept += size
        self.backlog.size += size

    def let_go_of_backlog(self) -> None:
        """What was kept through an outage is on its way, or the room is gone."""
        self._keep(-self._kept)

    def end(self) -> None:
        """The room leaves memory and owes nobody anything any more. Each would keep the other until the garbage
        collector comes, which is seldom: documents that nobody has open would fill the memory until then."""
        if self._term != ENDED:
            self._term = ENDED
            self._again = None
            self._echoes.clear()
            self.let_go_of_backlog()
            del self._room
