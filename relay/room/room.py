"""The hot path: an update comes in, is gathered with others for one tick, and leaves as one frame to everybody.

    session.receive -> Room.submit -> Room.flush -> Fanout.send (others, at once)
                                           └──────> Saving.take -> Journal.append -> Saving.saved -> authors

An author hears that its edit is saved only after the journal has it; everybody else has the edit by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, time
from typing import TYPE_CHECKING

from relay import closing
from relay.closing import Closing
from relay.errors import Deny, RelayError
from relay.protocol import presence as awareness
from relay.protocol import ywebsocket as message
from relay.protocol.messages import EMPTY_STATES
from relay.room.backlog import Backlog
from relay.room.fanout import Fanout
from relay.room.gather import gather
from relay.room.join import answer, send
from relay.room.log import Flush, Log
from relay.room.pace import Pace
from relay.room.presence import Elsewhere, RoomPresence
from relay.room.saving import Saving
from relay.types import Edit, RoomId
from relay.yjs.known import Known
from relay.yjs.merge import merge
from relay.yjs.update import Layout, parse

if TYPE_CHECKING:
    from relay.journal import Entry, Journal
    from relay.metrics import Counters
    from relay.room.member import Member
    from relay.snapshot import Segment

__all__ = ["Limits", "Room"]

ANSWERS = 0.001
"""Seconds in which authors answer what they have just got; the least that the loop's timers tell apart."""
CURSORS = 0.002
"""Seconds in which cursors gather: a flush costs a write for each reader, and nobody sees them come a moment later."""
_tuple = tuple.__new__  # a NamedTuple by its own name is made in Python
NOBODY: frozenset[Member] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a room may cost. Sizes in bytes, times in seconds."""

    document: int = 256 << 20
    clients: int = 5000
    presence: int = 65536
    inline_structs: int = 500
    flush_share: float = 8.0
    flush_max: float = 0.008
    compress_from: int = 4096
    tail: int = 65536


class Room:
    """A loaded document. Everything here runs on the event loop and never awaits."""

    __slots__ = (
        "_authors",
        "_due",
        "_edits",
        "_expected",
        "_held",
        "_large",
        "_layouts",
        "_limits",
        "_loop",
        "_moved",
        "_writers",
        "closed",
        "counters",
        "fanout",
        "known",
        "log",
        "members",
        "name",
        "number",
        "on_grown",
        "on_presence",
        "on_saved",
        "pace",
        "presence",
        "saving",
        "stored_at",
        "touched",
    )

    def __init__(
        self,
        name: RoomId,
        segments: Sequence[Segment],
        epoch: int,
        journal: Journal,
        counters: Counters,
        limits: Limits,
        *,
        on_grown: Callable[[Room], None],
        on_failed: Callable[[Room, RelayError], None],
        backlog: Backlog | None = None,
    ) -> None:
        self.name = name
        self.counters = counters
        self.known = Known()
        self.log = Log(segments)
        self.members: dict[Member, None] = {}
        self.fanout = Fanout(limits.compress_from, counters)
        self.presence = RoomPresence()
        self.saving = Saving(self, journal, epoch, backlog or Backlog(1 << 40), limits.tail, on_failed)
        self.pace = Pace(limits.flush_share, limits.flush_max)
        self.number = 0  # of the last flush
        self.closed = False
        self.touched = 0.0  # loop time of the last edit
        self.stored_at = time()  # Unix seconds when everything was last in a snapshot
        self.on_grown = on_grown
        # set while other relays have the room open too (see `relay.room.neighbours`)
        self.on_saved: Callable[[Room], None] | None = None
        self.on_presence: Callable[[Room, bytes], None] | None = None
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._layouts: list[Layout] = []
        self._large: list[bytes] = []
        self._edits: list[Edit] = []
        self._writers: list[Member] = []
        self._authors: dict[Member, int] = {}
        self._due = False
        self._expected = 0  # edits for which a busy room waits a moment; 0: it does not
        self._held: asyncio.TimerHandle | None = None
        self._moved: asyncio.TimerHandle | None = None

    # -- in --

    def submit(self, member: Member, update: bytes) -> None:
        """Take a client's update; it is acknowledged once journalled, or at once when it holds nothing new. What it
        repeats is cut out of it.

        Raises Malformed, Deny, and TooManyStructs: then a codec process reads it, and `submit_large` takes it.
        """
        layout = parse(update, self._limits.inline_structs)
        if self.saving.away:
            self.saving.backlog.check()
        if self.log.size > self._limits.document and not self.known.holds(layout):
            self._refuse_growth()
        fresh = self.known.add(layout)
        if fresh is not None:
            if not fresh.plain:
                fresh = parse(merge((fresh,)))
            pace = self.pace
            pace.last = now = perf_counter()
            if not self._edits:
                pace.first = now
            self._layouts.append(fresh)
            self._edits.append(_tuple(Edit, (member.grant.actor, fresh.update)))
            self._writers.append(member)
        self._authors[member] = self._authors.get(member, 0) + 1
        if not self._due:
            self._schedule()
        elif len(self._edits) == self._expected:
            self._answered()

    def submit_large(self, member: Member, update: bytes, clocks: bytes) -> None:
        """As `submit`, for an update that a codec process has read (`relay.room.load.summarise`), which has cut it too;
        `clocks` says what it holds. Raises Deny."""
        if self.saving.away:
            self.saving.backlog.check()
        if not self.known.covers(clocks, update):
            if self.log.size + len(update) > self._limits.document:
                self._refuse_growth()
            self.known.load(clocks, update)
            self._large.append(update)
            self._edits.append(Edit(member.grant.actor, update))
            self._writers.append(member)
        self._authors[member] = self._authors.get(member, 0) + 1
        if not self._due:
            self._schedule()

    def _refuse_growth(self) -> None:
        raise Deny(closing.DOCUMENT_TOO_BIG.reason, closing.DOCUMENT_TOO_BIG.code)

    def announce(self, member: Member, states: bytes) -> None:
        """Take a client's awareness update. Raises Malformed."""
        limits = self._limits
        self.counters.presence_in += 1
        decoded = awareness.decode(states)
        _, told = self.presence.put(member, decoded, self._loop.time(), limits.presence, limits.clients)
        if told and member.group is not None:
            # Hocuspocus 4 takes the hint without answering, so ask it too.
            left = message.presence(awareness.encode(state.entry for state in told))
            self.write(member, member.group.frame(left) + member.group.frame(message.query_presence()), frames=2)
        self._show()

    def _show(self) -> None:
        """Cursors have moved: everybody sees it with the next edits, or in a moment, with those that move meanwhile."""
        if self.presence.changed and not self._due and self._moved is None:
            self._moved = self._loop.call_later(CURSORS, self.flush)

    def announce_elsewhere(self, owner: Elsewhere, states: list[awareness.State]) -> None:
        """Take what clients of another relay announce."""
        self.presence.put(owner, states, self._loop.time(), self._limits.presence, self._limits.clients)
        self._show()

    def leave_elsewhere(self, owner: Elsewhere) -> None:
        """Another relay, or its last client here, is gone."""
        if self.presence.drop(owner) and self.members and not self._due:
            self._schedule()

    def tell_presence(self, member: Member) -> None:
        """Answer a client's question who is here."""
        if member.group is not None:
            self.write(member, member.group.frame(message.presence(self.presence.everyone() or EMPTY_STATES)))

    def expire_presence(self, before: float) -> None:
        """End the states that nobody has renewed since `before` (loop time)."""
        if self.presence.expire(before) and not self._due:
            self._schedule()

    def _schedule(self) -> None:
        """Flush at the end of this turn of the loop, or after the pause that the last flush earned.

        Authors who shared a flush get each other's edits when it is saved, and answer then: a flush before that would
        carry half of what one after it does, so it waits for that (`go_on`), within bounds.
        """
        self._due = True
        pause = self.pace.ready - perf_counter()
        if self.saving.awaited:
            self._held = self._loop.call_later(self._limits.flush_max, self.flush)
        elif self._expected and pause > -ANSWERS:
            self._held = self._loop.call_later(max(ANSWERS, pause), self.flush)
        elif pause <= 0:
            self._loop.call_soon(self.flush)
        else:
            self._loop.call_later(pause, self.flush)

    def go_on(self, edits: int) -> None:
        """The authors of a flush of `edits` have each other's edits; in a busy room their answers come in a moment, and
        with those that are here already make the next flush."""
        if self.pace.busy:
            self._expected = edits + len(self._edits)
        if self._held is None:
            return
        self._held.cancel()
        self._held = None
        self._schedule()

    def _answered(self) -> None:
        """All have answered."""
        if self._held is not None and not self.saving.awaited:
            self._held.cancel()
            self._held = None
            self._loop.call_soon(self.flush)

    # -- out --

    def write(self, member: Member, data: bytes, *, frames: int = 1) -> None:
        """Send one member frames; what goes to all goes through `fanout`."""
        self.counters.frames_out += frames
        self.counters.bytes_out += len(data)
        member.socket.write(data)

    def flush(self) -> None:
        """Write what has gathered to everybody, and hand it to the journal."""
        started = perf_counter()
        self._due = False
        self._expected = 0
        if self._held is not None:
            self._held.cancel()
            self._held = None
        if self._moved is not None:
            self._moved.cancel()
            self._moved = None
        if self.closed:
            return
        edits = len(self._edits)
        if self._authors:
            self._flush_edits()
        if self.presence.changed:
            changes, here = self.presence.take_changes()
            self.fanout.send(message.presence(changes), NOBODY)
            if here is not None and self.on_presence is not None:
                self.on_presence(self, here)
        self.counters.flush_seconds.observe(self.pace.flushed(started, edits))

    def _flush_edits(self) -> None:
        layouts, large, edits, writers, authors = self._layouts, self._large, self._edits, self._writers, self._authors
        self._layouts, self._edits, self._writers, self._authors = [], [], [], {}
        if not edits:
            self.saving.acknowledge_after_last(authors)
            return
        if self.saving.awaited:
            self.saving.tell_all_early()
        number = self.number + 1
        if large:  # never merged on the loop: they travel as they came, before what builds on them
            self._large = []
            payloads = [*large, merge(layouts)] if layouts else large
        else:
            payloads = [layouts[0].update if len(layouts) == 1 else merge(layouts)]
        flush = Flush(number, edits, payloads, writers, authors)
        self.log.append(flush)
        counters = self.counters
        sent = 0
        for payload in flush.payloads:
            flush.frames, sent = self.fanout.send(message.update(payload), authors)
        self.number = number  # only now: whoever was paused by one of these writes may lack the next
        counters.edits_in += len(edits)
        counters.edits_out += len(edits) * sent
        counters.edits_per_frame.observe(len(edits))
        self.touched = self._loop.time()
        self.saving.take(flush)

    # -- from other relays --

    def absorb(self, entry: Entry, payloads: list[bytes], news: list[bytes]) -> None:
        """Take in an entry that the journal has and this room did not put there; `known` has learnt it already.

        Everybody here gets `news`, what in it was new. The log has all of it: what is known may itself not be saved
        yet, and a segment must hold every entry that it claims.
        """
        flush = Flush(self.number + 1, list(entry.edits), payloads, [], {})
        flush.position = entry.position
        flush.node = entry.node
        self.log.absorb(flush)
        if self.members:
            for payload in news:
                _, sent = self.fanout.send(message.update(payload), NOBODY)
                self.counters.edits_out += len(entry.edits) * sent
        self.number = flush.number  # only now, as in a flush of our own

    def adopt(self, segments: Sequence[Segment]) -> None:
        """Another relay has stored more than this one knew of: take its chain for ours, and give everybody here what
        was news. Raises Malformed."""
        news = [segment for segment in segments if not self.known.covers(segment.clocks, segment.state)]
        for segment in news:
            self.known.load(segment.clocks, segment.state)
        number = self.number + 1
        self.log.replace(0, segments, number if news else 0)
        for segment in news:
            for member in [*self.members]:
                if member.group is not None:
                    send(self, member, b"\0\2", segment.state)
        self.number = number  # only now, as in a flush

    # -- members --

    def attach(self, member: Member) -> None:
        """Let `member` have everything from now on. Raises Deny when the room is full."""
        if len(self.members) >= self._limits.clients:
            raise Deny("too many clients in this document", closing.OVERLOADED.code)
        self.members[member] = None
        if member.socket.paused:
            member.behind = self.number
            self.counters.slow_readers += 1
        else:
            self.fanout.add(member)

    def detach(self, member: Member) -> None:
        """Let `member` go; its cursors vanish for the others, its edits stay."""
        if member not in self.members:
            return
        del self.members[member]
        if member.behind is not None:
            self.counters.slow_readers -= 1
        self.fanout.remove(member)
        somebody = self.members or self.on_presence is not None
        if self.presence.drop(member) and somebody and not self._due:
            self._schedule()

    def dismiss(self, why: Closing) -> None:
        """Let everybody go for good (deleted, quarantined)."""
        for member in list(self.members):
            member.leave(why)

    def pause(self, member: Member) -> None:
        """`member` reads too slowly: write it nothing more until it has drained."""
        if member.behind is None and member in self.members:
            member.behind = self.number
            self.fanout.remove(member)
            self.counters.slow_readers += 1

    def catch_up(self, member: Member) -> None:
        """`member` has drained: write what it missed, as few bytes as that takes."""
        behind = member.behind
        if behind is None or member not in self.members:
            return
        member.behind = None
        self.counters.slow_readers -= 1
        self.counters.catch_ups += 1
        self.fanout.add(member)
        group = member.group
        assert group is not None
        owed, member.owed = member.owed, 0
        member.acknowledge(owed)
        if member.asked is not None:
            vector, member.asked = member.asked, None
            answer(self, member, vector)
            return
        segments, flushes = self.log.after(behind)
        updates = [segment.state for segment in segments]
        missed: list[bytes] = []
        for flush in flushes:  # its own edits come back to it when they are saved, not before
            missed += flush.of_others(member) if member in flush.authors else flush.payloads
        updates += gather(missed)
        for update in updates:
            send(self, member, b"\0\2", update)
        if (states := self.presence.everyone()) is not None:
            self.write(member, group.frame(message.presence(states)))
