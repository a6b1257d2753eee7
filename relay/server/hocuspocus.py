"""A Hocuspocus connection: any number of documents, each with its own authentication, on one socket."""

from time import time
from typing import TYPE_CHECKING

from relay import closing
from relay.closing import Closing
from relay.errors import Deny, Malformed
from relay.grants import Grant, Principal
from relay.hooks import ConnectAsked
from relay.protocol import hocuspocus as protocol
from relay.protocol import ywebsocket
from relay.protocol.frames import frame
from relay.protocol.messages import Message, Step1, Update
from relay.room.member import Member
from relay.room.room import Room
from relay.server.channel import Channel, room_id
from relay.server.context import Context
from relay.tasks import spawn

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from relay.server.connection import Connection

__all__ = ["HocuspocusSession"]

REFRESH_AHEAD = 30.0
"""Seconds before a grant ends at which its client is asked for another token."""


class HocuspocusChannel(Channel):
    """One document. Everything but Auth waits until the grant is known, then is handled in order."""

    __slots__ = ("_expiry", "_joining", "prefix", "session")

    def __init__(self, session: "HocuspocusSession", address: str, prefix: bytes) -> None:
        super().__init__(session.context, session.connection, room_id(protocol.room_of(address)))
        self.session = session
        self.prefix = prefix
        self._joining = False
        self._expiry: TimerHandle | None = None

    # -- authentication --

    def authenticate(self, token: str) -> None:
        """An Auth message: the first decides the join, a later one refreshes the grant."""
        ask = ConnectAsked(token, self.connection.address, self.session.origin)
        if self.member is not None:
            spawn(f"refresh {self.name}", self._refresh(ask))
        elif not self._joining:
            self._joining = True
            self.start(self._open(ask))

    def admit(self) -> None:
        """No token is needed: join at the first message."""
        if self.member is None and not self._joining:
            self._joining = True
            self.start(self._open(ConnectAsked("", self.connection.address, self.session.origin)))

    async def _open(self, ask: ConnectAsked) -> None:
        principal = await self._principal(ask)
        if principal is not None:
            await self.join(principal)

    async def _principal(self, ask: ConnectAsked) -> Principal | None:
        try:
            return await self.context.dispatch.ask_connect(ask)
        except Deny as error:
            self.refuse(error)
            return None

    async def _refresh(self, ask: ConnectAsked) -> None:
        """A newer token for an open document: silence is success."""
        try:
            await self.regrant(await self.context.dispatch.ask_connect(ask))
        except Deny as error:
            # What may be decided otherwise in a moment leaves the grant as it is: it still ends when it ends.
            if not self.ended and not closing.CLOSINGS[error.code].reconnect:
                self._close(error.reason)

    def granted(self, was: Grant, grant: Grant) -> None:
        if was.readonly != grant.readonly:
            self.connection.write(frame(protocol.authenticated(self.prefix, grant.readonly)))
        self._watch_expiry(grant)

    def revoked(self, error: Deny) -> None:
        self._close(error.reason)

    def _watch_expiry(self, grant: Grant) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if grant.expires is None:
            return
        left = grant.expires - time()
        if left > 1:
            # A token that lasts less than that is asked for ever more rarely, not for ever and at once.
            self._expiry = self.context.expire(grant.expires - min(REFRESH_AHEAD, left / 2), self._ask_again)
        else:
            self._expiry = self.context.expire(grant.expires, self._expired)

    def _ask_again(self) -> None:
        if self.member is not None and self.member.grant.expires is not None:
            self.connection.write(frame(protocol.ask_token(self.prefix)))
            self._expiry = self.context.expire(self.member.grant.expires, self._expired)

    def _expired(self) -> None:
        self.context.counters.denied.add("the token has expired")
        self._close("the token has expired")

    # -- what this protocol says in its own way --

    def make_member(self, grant: Grant) -> Member:
        acknowledgement = protocol.sync_status(self.prefix, True)
        return Member(self.connection, grant, self.let_go, prefix=self.prefix, acknowledgement=acknowledgement)

    def joined(self, member: Member, room: Room) -> None:
        self._joining = False
        self.connection.write(frame(protocol.authenticated(self.prefix, member.grant.readonly)))
        self._watch_expiry(member.grant)

    def refused(self, error: Deny) -> None:
        """The socket stays: another token for this document may follow. What can be tried again later asks for that by
        closing the socket, since a provider that was denied never asks again by itself."""
        self._joining = False
        self.context.counters.denied.add(error.reason)
        why = closing.CLOSINGS[error.code]
        if why.reconnect:
            self.connection.close(why, error.reason)
            return
        self._backlog = type(self._backlog)() if self._backlog is not None else None
        self._backlog_bytes = 0
        self.connection.write(frame(protocol.denied(self.prefix, error.reason)))

    def write_refused(self, nothing_new: bool) -> None:
        self.connection.write(frame(protocol.sync_status(self.prefix, nothing_new)))

    def waiting(self) -> tuple[int, int]:
        channels = [channel for channel in self.session.channels() if channel.member is None]
        return sum(c._backlog_bytes for c in channels), sum(len(c._backlog or ()) for c in channels)

    def before_answer(self, room: Room) -> None:
        if self.member is not None and self.member.asked is not None:
            return  # asked again before it has read the answer
        self.connection.write(frame(self.prefix + ywebsocket.step1(room.known.encoded_vector())))

    def overstepped(self, error: Deny) -> None:
        """Other documents on the socket go on; what can be tried again later still asks for that."""
        if closing.CLOSINGS[error.code].reconnect:
            super().overstepped(error)
        else:
            self.context.counters.denied.add(error.reason)
            self._close(error.reason)

    def let_go(self, why: Closing) -> None:
        self._close(why.reason)

    def _close(self, reason: str) -> None:
        """Let go of the document for good. Providers that give no version may be too old to know the word for it."""
        say = protocol.closed if self.session.version else protocol.denied
        self.connection.write(frame(say(self.prefix, reason)))
        self.session.forget(self)

    def leave(self) -> None:
        super().leave()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


class HocuspocusSession:
    """Messages of one Hocuspocus socket, by document address."""

    __slots__ = ("_channels", "_last", "_timeout", "connection", "context", "origin", "version")
    name = "hocuspocus"

    def __init__(self, context: Context, connection: "Connection", origin: str) -> None:
        self.context = context
        self.connection = connection
        self.origin = origin
        self._channels: dict[str, HocuspocusChannel] = {}
        self._last: HocuspocusChannel | None = None  # whose frames come first: most sockets have one document
        self.version = 0  # the provider's major version; only 4 and later tell
        self._timeout: TimerHandle | None = context.loop.call_later(context.limits.auth_timeout, self._idle)

    def receive(self, message: bytes) -> None:
        last = self._last
        if last is not None and message.startswith(last.prefix):
            update = ywebsocket.keystroke(message, len(last.prefix))
            if update:
                last.type(update)
                return
        if len(message) == 1:
            if message == protocol.PING:
                if self.connection.paused:
                    return  # it will hear of us when it has read what it was sent
                self.connection.write(frame(protocol.PONG))
            elif message != protocol.PONG:
                raise Malformed("one byte that is neither ping nor pong")
            return
        address, prefix, said = protocol.decode(message)
        channel = self._channels.get(address)
        if channel is None:
            if isinstance(said, protocol.Close) or (isinstance(said, Update) and not said.step2):
                return  # said before it heard that the document is closed; a client that opens one begins otherwise
            if len(self._channels) >= self.context.limits.documents:
                raise Deny("too many documents on one connection", closing.RESET.code)
            try:
                channel = self._channels[address] = HocuspocusChannel(self, address, prefix)
            except Deny as error:  # no such name; the socket's other documents go on
                self.connection.write(frame(protocol.denied(prefix, error.reason)))
                return
        self._last = channel
        self._receive(channel, said)

    def _receive(self, channel: HocuspocusChannel, said: object) -> None:
        if isinstance(said, protocol.Token):
            major = said.version.partition(".")[0]
            self.version = int(major) if major.isdecimal() and len(major) < 4 else 0
            channel.authenticate(said.token)
        elif isinstance(said, protocol.Close):
            self.connection.write(frame(protocol.closed(channel.prefix, "provider_initiated")))
            self.forget(channel)
        elif isinstance(said, protocol.Broadcast):
            self.connection.write(frame(protocol.closed(channel.prefix, "Reset Connection")))
            self.forget(channel)
        elif isinstance(said, protocol.Stateless):
            return  # an application's own words; nobody here listens to them
        else:
            message: Message = said  # type: ignore[assignment]
            if not self.context.authenticated and isinstance(message, Step1 | Update):
                channel.admit()
            channel.receive(message)

    def forget(self, channel: HocuspocusChannel) -> None:
        """The document is left; its address may be opened again."""
        channel.leave()
        if self._last is channel:
            self._last = None
        for address, open_ in list(self._channels.items()):
            if open_ is channel:
                del self._channels[address]

    def lost(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
        for channel in self._channels.values():
            channel.leave()
        self._channels.clear()
        self._last = None

    def tick(self) -> None:
        """Providers from version 4 on give up on a socket that is silent for 30 s."""
        if self.version >= 4:
            self.connection.write(frame(protocol.PING))

    def _idle(self) -> None:
        self._timeout = None
        if not any(channel.member is not None for channel in self._channels.values()):
            self.connection.close(closing.AUTH_TIMEOUT)

    def channels(self) -> list[HocuspocusChannel]:
        return list(self._channels.values())

    def places(self) -> list[tuple[Room, Member]]:
        return [(c.room, c.member) for c in self._channels.values() if c.room is not None and c.member is not None]
