"""A y-websocket connection: one room, named in the URL."""

from typing import TYPE_CHECKING

from relay import closing
from relay.closing import Closing
from relay.errors import Deny
from relay.grants import Grant
from relay.hooks import ConnectAsked
from relay.protocol import ywebsocket as protocol
from relay.protocol.frames import frame
from relay.room.member import Member
from relay.room.room import Room
from relay.server.channel import Channel
from relay.server.context import Context
from relay.types import RoomId

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from relay.server.connection import Connection

__all__ = ["YWebsocketSession"]


class YWebsocketChannel(Channel):
    """The one document of a y-websocket connection; what ends it ends the connection."""

    __slots__ = ("acknowledge", "expiry")

    def __init__(self, context: Context, connection: "Connection", name: RoomId, acknowledge: bool) -> None:
        super().__init__(context, connection, name)
        self.acknowledge = acknowledge
        self.expiry: TimerHandle | None = None

    async def open(self, ask: ConnectAsked) -> None:
        """Find out who it is, then join."""
        try:
            principal = await self.context.dispatch.ask_connect(ask)
        except Deny as error:
            self.refuse(error)
            return
        await self.join(principal)

    def make_member(self, grant: Grant) -> Member:
        acknowledgement = protocol.ACKNOWLEDGED if self.acknowledge else None
        return Member(self.connection, grant, self.let_go, echo=True, acknowledgement=acknowledgement)

    def joined(self, member: Member, room: Room) -> None:
        self.connection.write(frame(protocol.step1(room.known.encoded_vector())))
        self._watch_expiry(member.grant)

    def granted(self, was: Grant, grant: Grant) -> None:
        """The protocol has no word for what changed; an expiry may have moved."""
        self._watch_expiry(grant)

    def revoked(self, error: Deny) -> None:
        self.refused(error)

    def _watch_expiry(self, grant: Grant) -> None:
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        if grant.expires is not None:
            self.expiry = self.context.expire(grant.expires, self._expired)

    def _expired(self) -> None:
        self.refused(Deny("the token has expired", closing.UNAUTHORIZED.code))

    def refused(self, error: Deny) -> None:
        self.context.counters.denied.add(error.reason)
        self.connection.write(frame(protocol.denied(error.reason)))
        self.connection.close(closing.CLOSINGS[error.code], error.reason)

    def write_refused(self, nothing_new: bool) -> None:
        """The protocol has no word for it, except to those who opted in: the edit is ignored."""
        if self.acknowledge:
            self.connection.write(frame(protocol.ACKNOWLEDGED if nothing_new else protocol.REFUSED))

    def let_go(self, why: Closing) -> None:
        self.connection.close(why)


class YWebsocketSession:
    """Messages of one y-websocket connection."""

    __slots__ = ("_channel",)
    name = "y-websocket"

    def __init__(
        self, context: Context, connection: "Connection", room: RoomId, ask: ConnectAsked, acknowledge: bool
    ) -> None:
        self._channel = YWebsocketChannel(context, connection, room, acknowledge)
        connection.session = self  # it may be refused before this returns
        self._channel.start(self._channel.open(ask))

    def receive(self, message: bytes) -> None:
        if update := protocol.keystroke(message, 0):
            self._channel.type(update)
        else:
            self._channel.receive(protocol.decode(message))

    def lost(self) -> None:
        self._channel.leave()
        if self._channel.expiry is not None:
            self._channel.expiry.cancel()

    def tick(self) -> None:
        """Nothing to do: clients hear their own awareness."""

    def channels(self) -> "list[YWebsocketChannel]":
        return [self._channel]

    def places(self) -> list[tuple[Room, Member]]:
        room, member = self._channel.room, self._channel.member
        return [(room, member)] if room is not None and member is not None else []
