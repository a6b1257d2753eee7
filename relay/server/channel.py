"""One document on one connection: joins its room, then hands it what the client says, in the client's order.

What takes long (loading, reading a large update, a diff of a large document) happens off the loop; what the client
says meanwhile waits here, bounded, and nobody else waits.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from relay import closing
from relay.closing import Closing
from relay.control import Recheck
from relay.errors import CodecDied, Deny, Malformed, Quarantined, Unavailable
from relay.grants import Grant, Principal
from relay.hooks import GrantChanged, JoinAsked, Joined, Left
from relay.protocol.messages import Message, Presence, QueryPresence, Step1, Update
from relay.room.join import EMPTY_UPDATE, answer, answer_after_diff, needs_codec
from relay.room.load import summarise
from relay.room.member import Member
from relay.room.room import Room
from relay.server.context import Context
from relay.tasks import begin, spawn
from relay.types import RoomId
from relay.yjs.update import TooManyStructs, parse

if TYPE_CHECKING:
    from relay.server.connection import Connection

__all__ = ["Channel", "room_id"]

log = logging.getLogger("relay.channel")
MAX_NAME = 512
LARGE = 1 << 20
"""Bytes from which on a document is sent to a few clients at a time."""
RECHECKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries to find out what a client may still do."""
JOIN_PATIENCE = 1.0
"""Seconds that a client may take its turn for a large document; then it gets the rest beside others."""


def room_id(name: str) -> RoomId:
    """A room's name, checked: 1..512 bytes of UTF-8, no control characters. Raises Deny."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise Deny("a document name has 1 to 512 bytes", closing.NOT_FOUND.code)
    if not name.isprintable() and any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in name):
        raise Deny("a document name has no control characters", closing.NOT_FOUND.code)
    return RoomId(name)


class Channel:
    """Subclassed by each protocol for what differs: how a join ends, how a refusal is said."""

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "connection",
        "context",
        "ended",
        "member",
        "name",
        "principal",
        "room",
    )

    def __init__(self, context: Context, connection: "Connection", name: RoomId) -> None:
        self.context = context
        self.connection = connection
        self.name = name
        self.room: Room | None = None
        self.member: Member | None = None
        self.principal: Principal | None = None  # once it is in
        self.ended = False
        self._backlog: deque[Message] | None = deque()  # None when what arrives is handled at once
        self._backlog_bytes = 0

    # -- what protocols say differently --

    def make_member(self, grant: Grant) -> Member:
        raise NotImplementedError

    def joined(self, member: Member, room: Room) -> None:
        """The client is in; say so."""
        raise NotImplementedError

    def refused(self, error: Deny) -> None:
        """The client is not let in (or its grant ended); say why."""
        raise NotImplementedError

    def write_refused(self, nothing_new: bool) -> None:
        """A read-only client sent edits; they were not applied."""
        raise NotImplementedError

    def before_answer(self, room: Room) -> None:
        """About to answer a Step1."""

    def overstepped(self, error: Deny) -> None:
        """The client asked for what the room does not allow (a document that is full)."""
        self.connection.close(closing.CLOSINGS[error.code], error.reason)

    def let_go(self, why: Closing) -> None:
        """The room is no longer to be had, for good: deleted or quarantined."""
        raise NotImplementedError

    def revoked(self, error: Deny) -> None:
        """The client was in, and may not be any more."""
        raise NotImplementedError

    def granted(self, was: Grant, grant: Grant) -> None:
        """The client may do something else than before, or for longer; say so where the protocol has a word for it."""
        raise NotImplementedError

    # -- join --

    async def join(self, principal: Principal) -> None:
        """Ask for a grant, open the room, become a member. Raises nothing that is the client's or a service's fault."""
        try:
            grant = await self.context.dispatch.ask_join(JoinAsked(principal, self.name, self.connection.address))
            while True:
                room = await self.context.registry.open(self.name)
                if self.ended:
                    return
                if not room.closed:
                    break
            member = self.make_member(grant)
            self.context.registry.join(room, member)
        except Unavailable as error:
            self.refuse(Deny(f"the document can't be opened now: {error}", closing.OVERLOADED.code))
        except Quarantined:
            self.refuse(Deny(closing.QUARANTINED.reason, closing.QUARANTINED.code))
        except Deny as error:
            self.refuse(error)
        else:
            self.room, self.member, self.principal = room, member, principal
            self.joined(member, room)
            self.context.tell(Joined(self.name, grant.actor, grant.name, principal.session, grant.readonly))

    def refuse(self, error: Deny) -> None:
        """The client is not let in, if it still wants to be."""
        if not self.ended:
            self.refused(error)

    # -- a grant that changes --

    def concerns(self, whose: Recheck) -> bool:
        """Whether this client is in, and one of those."""
        principal = self.principal
        return (
            principal is not None
            and not self.ended
            and whose.room in (None, self.name)
            and whose.actor in (None, principal.actor)
            and whose.session in (None, principal.session)
        )

    async def recheck(self) -> None:
        """Ask again what the client may do. When nobody can say it for a while it is sent away: what may have been
        revoked ends, and who may come back comes back."""
        assert self.principal is not None
        for wait in RECHECKS:
            try:
                await self.regrant(self.principal)
                return
            except Deny as error:
                if self.ended:
                    return
                if not closing.CLOSINGS[error.code].reconnect:
                    self.context.counters.denied.add(error.reason)
                    self.revoked(error)
                    return
            await asyncio.sleep(wait)
        self.connection.close(closing.OVERLOADED)

    async def regrant(self, principal: Principal) -> None:
        """Ask what `principal` may do, and let it from now on. Raises Deny."""
        grant = await self.context.dispatch.ask_join(JoinAsked(principal, self.name, self.connection.address))
        member = self.member
        if member is None or self.ended:
            return
        was, member.grant, self.principal = member.grant, grant, principal
        self.granted(was, grant)
        if was.readonly != grant.readonly:
            self.context.tell(GrantChanged(self.name, grant.actor, principal.session, grant.readonly))

    def start(self, joining: Coroutine[Any, Any, None]) -> None:
        """Run the join, all of it at once where nothing has to be waited for; what the client says meanwhile is handled
        in order afterwards."""
        begin(f"join {self.name}", self._work(joining))

    def leave(self) -> None:
        """The client is gone, or leaves this document."""
        was, self.ended = self.ended, True
        if self.room is not None and self.member is not None:
            self.context.registry.leave(self.room, self.member)
            if not was and self.principal is not None:
                self.context.tell(Left(self.name, self.member.grant.actor, self.principal.session))
            if self._backlog is None:  # else edits that it sent before are still being read
                self.room = self.member = None

    # -- what the client says --

    def type(self, update: bytes) -> None:
        """`receive` of a small Update, which is most of what clients say. Raises Malformed."""
        room, member = self.room, self.member
        if self._backlog is not None or room is None or member is None or room.closed or member.grant.readonly:
            self.receive(Update(update, False))
            return
        try:
            room.submit(member, update)
        except Deny as error:
            self.overstepped(error)

    def receive(self, message: Message) -> None:
        """Raises Malformed, and Deny for what ends the connection."""
        if self._backlog is not None:
            self._wait(message)
            return
        try:
            work = self._handle(message)
        except Deny as error:
            self.overstepped(error)
            return
        if work is not None:
            self._backlog = deque()
            spawn(f"work for {self.name}", self._work(work))

    def _wait(self, message: Message) -> None:
        backlog = self._backlog
        assert backlog is not None
        limits = self.context.limits
        self._backlog_bytes += weight(message)
        backlog.append(message)
        if self.member is None:
            size, count = self.waiting()
            too_much = size > limits.preauth_bytes or count > limits.preauth_messages
        else:
            too_much = self._backlog_bytes > limits.message or len(backlog) > limits.preauth_messages * 100
        if too_much:
            raise Deny("too much sent before the document was open", closing.RESET.code)

    def waiting(self) -> tuple[int, int]:
        """Bytes and messages that this connection sent before it was let in."""
        return self._backlog_bytes, len(self._backlog or ())

    async def _work(self, first: Coroutine[Any, Any, None]) -> None:
        """Do what takes long, then what has gathered behind it."""
        try:
            await first
            while self._backlog:
                message = self._backlog.popleft()
                self._backlog_bytes -= weight(message)
                if (work := self._handle(message)) is not None:
                    await work
            if self.member is not None:
                self._backlog = None
            if self.ended:
                self.room = self.member = None
        except Malformed as error:
            self.context.counters.errors.add("malformed")
            log.info("malformed message", extra={"address": self.connection.address, "error": str(error)})
            self.connection.close(closing.MALFORMED)
        except Deny as error:
            self.overstepped(error)
        except CodecDied as error:
            self.context.counters.errors.add("codec")
            log.error("codec process died", extra={"room": self.name, "error": str(error)})
            self.connection.close(closing.MALFORMED)
        except Unavailable as error:
            self.connection.close(closing.OVERLOADED, str(error))
        except BaseException:
            self.connection.close(closing.INTERNAL)
            raise

    def _handle(self, message: Message) -> Coroutine[Any, Any, None] | None:
        """Do it, or say what has to be awaited to do it. Raises Malformed and Deny."""
        room, member = self.room, self.member
        if room is None or member is None or room.closed:
            return None  # it left while this waited
        if isinstance(message, Update):
            update = message.update
            if member.grant.readonly:
                return self._refuse_write(room, message)
            if message.step2 and update == EMPTY_UPDATE and member.acknowledgement is None:
                return None  # a newcomer without a document
            if len(update) > self.context.limits.inline_parse:
                return self._submit_large(room, member, update)
            try:
                room.submit(member, update)
            except TooManyStructs:
                return self._submit_large(room, member, update)
        elif self.ended:
            return None  # its edits count, but there is nobody to answer
        elif isinstance(message, Presence):
            room.announce(member, message.states)
        elif isinstance(message, Step1):
            self.before_answer(room)
            if room.log.size > LARGE:
                return self._answer_large(room, member, message.vector)
            if needs_codec(room, message.vector):
                return answer_after_diff(room, member, message.vector, self.context.registry.codec)
            answer(room, member, message.vector)
        elif isinstance(message, QueryPresence):
            room.tell_presence(member)
        return None

    async def _answer_large(self, room: Room, member: Member, vector: bytes) -> None:
        """A large document waits its turn, and gives it up once the client has it, or takes too long."""
        async with self.context.large_joins:
            if needs_codec(room, vector):
                await answer_after_diff(room, member, vector, self.context.registry.codec)
            elif member in room.members:
                answer(room, member, vector)
            await self.connection.drained(JOIN_PATIENCE)

    async def _submit_large(self, room: Room, member: Member, update: bytes) -> None:
        update, clocks = await summarise(room.known, update, self.context.registry.codec)
        if not room.closed:
            room.submit_large(member, update, clocks)

    def _refuse_write(self, room: Room, message: Update) -> Coroutine[Any, Any, None] | None:
        """A Step2 with nothing new is no attempt to write: every client answers a Step1."""
        if not message.step2:
            self._say_refused(False)
            return None
        if len(message.update) > self.context.limits.inline_parse:
            return self._refuse_large(room, message.update)
        try:
            self._say_refused(room.known.holds(parse(message.update, 500)))
        except TooManyStructs:
            return self._refuse_large(room, message.update)
        return None

    async def _refuse_large(self, room: Room, update: bytes) -> None:
        update, clocks = await self.context.registry.codec.summarise(update)
        self._say_refused(room.known.covers(clocks, update))

    def _say_refused(self, nothing_new: bool) -> None:
        if self.ended:
            return
        if not nothing_new:
            self.context.counters.errors.add("readonly")
        self.write_refused(nothing_new)


def weight(message: Message) -> int:
    """Bytes a waiting message holds on to."""
    return 0 if isinstance(message, QueryPresence) else len(message[0])
