"""One WebSocket: bytes from the socket become messages for the session; frames for the client become bytes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from websockets.extensions import Extension

from relay import closing
from relay.closing import Closing
from relay.errors import Deny, Malformed
from relay.protocol.frames import Inbox, close_frame
from relay.server.context import Context

if TYPE_CHECKING:
    from relay.room.member import Member
    from relay.room.room import Room
    from relay.server.channel import Channel

__all__ = ["CLOSE_TIMEOUT", "Connection", "Session"]

log = logging.getLogger("relay.connection")
PING = b"\x89\0"
CLOSE_TIMEOUT = 2.0
"""Seconds for a client to agree to a close."""
FAILED_TIMEOUT = 0.2
"""Seconds likewise after it broke the framing: what it says then is not understood, its agreement neither."""


class Session(Protocol):
    """What the messages of a connection mean."""

    name: str

    def receive(self, message: bytes) -> None:
        """One whole message. Raises Malformed and Deny, which close the connection."""

    def lost(self) -> None:
        """The connection is gone."""

    def tick(self) -> None:
        """Called every ping interval."""

    def places(self) -> "list[tuple[Room, Member]]":
        """The rooms this connection is in."""

    def channels(self) -> "Sequence[Channel]":
        """The documents it has asked for."""


class Connection(asyncio.Protocol):
    """A client's socket after the handshake. It is the `Socket` that members of rooms write to."""

    __slots__ = (
        "_allowance",
        "_byte_allowance",
        "_context",
        "_drained",
        "_heard",
        "_inbox",
        "_lingering",
        "_pinged",
        "_refilled",
        "_throttled",
        "address",
        "closed",
        "deflate",
        "paused",
        "session",
        "transport",
        "write",
    )

    def __init__(
        self, context: Context, transport: asyncio.Transport, address: str, extension: Extension | None
    ) -> None:
        limits = context.limits
        self._context = context
        self._inbox = Inbox(limits.message, extension)
        self._allowance = float(limits.burst_messages)
        self._byte_allowance = float(limits.burst_bytes)
        self._refilled = context.loop.time()
        self._throttled = False
        self._drained: asyncio.Future[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._heard = True
        self._pinged = False
        self.address = address
        self.deflate = extension is not None
        self.paused = False
        self.closed = False
        self.transport = transport
        self.write: Callable[[bytes], None] = transport.write
        self.session: Session = cast(Session, None)  # set before the first byte arrives
        transport.set_write_buffer_limits(high=limits.slow_reader)
        context.connections[self] = None

    # -- from the client --

    def data_received(self, data: bytes) -> None:
        if self.closed:
            self._await_close(data)
            return
        self._heard = True
        inbox = self._inbox
        messages = inbox.receive(data)
        counters = self._context.counters
        counters.bytes_in += len(data)
        self._byte_allowance -= len(data)
        self._allowance -= len(messages)
        try:
            if inbox.reply and inbox.before < len(messages):  # a ping among fragments is answered before they are
                for message in messages[: inbox.before]:
                    self.session.receive(message)
                del messages[: inbox.before]
                if inbox.ended is None:
                    self._answer()
            for message in messages:
                self.session.receive(message)
        except Malformed as error:
            counters.errors.add("malformed")
            log.info("malformed message", extra={"address": self.address, "error": str(error)})
            self.close(closing.MALFORMED)
        except Deny as error:
            self.close(closing.CLOSINGS[error.code], error.reason)
        except Exception:
            counters.errors.add("internal")
            log.exception("a message could not be handled", extra={"address": self.address})
            self.close(closing.INTERNAL)
        if inbox.reply or inbox.ended is not None:
            self._answer()
        if self._allowance < 0 or self._byte_allowance < 0:
            self._throttle()

    def _answer(self) -> None:
        """Pongs, and the end of the conversation when the client ended it or broke the protocol."""
        reply, self._inbox.reply = self._inbox.reply, b""
        if self.closed:
            return
        if reply and not self.paused:  # a client that pings and never reads would fill our memory with pongs
            self.write(reply)
        if self._inbox.ended is not None:
            self._context.counters.closes.add(str(self._inbox.ended))
            self._end()
            if self._inbox.agreed:
                self.transport.close()

    def _await_close(self, data: bytes) -> None:
        """We have said that we close. Reading on until the client has agreed keeps the kernel from resetting the
        connection over unread bytes, which would take our reason from the client."""
        self._inbox.receive(data)
        if self._inbox.agreed:
            self.transport.close()

    def _throttle(self) -> None:
        """Too fast: stop reading until the allowance has grown back. Nothing is lost, TCP slows the client down."""
        limits = self._context.limits
        now = self._context.loop.time()
        passed = now - self._refilled
        self._refilled = now
        self._allowance = min(self._allowance + passed * limits.rate_messages, limits.burst_messages)
        self._byte_allowance = min(self._byte_allowance + passed * limits.rate_bytes, limits.burst_bytes)
        debt = max(-self._allowance / limits.rate_messages, -self._byte_allowance / limits.rate_bytes)
        if debt > 0 and not self._throttled and not self.closed:
            self._throttled = True
            self._context.counters.errors.add("throttled")
            self.transport.pause_reading()
            self._context.loop.call_later(debt, self._unthrottle)

    def _unthrottle(self) -> None:
        self._throttled = False
        if not self.closed:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.write = discard
        self._wake_drained()
        if self._lingering is not None:
            self._lingering.cancel()
        context = self._context
        context.connections.pop(self, None)
        left = context.addresses[self.address] = context.addresses.get(self.address, 1) - 1
        if left <= 0:
            del context.addresses[self.address]
        context.counters.connections.add(self.session.name, -1)
        self.session.lost()
        self.session = GONE  # no cycle is left: an ended connection is freed at once, without the garbage collector

    # -- to the client --

    def pause_writing(self) -> None:
        """The client reads too slowly: its rooms write it nothing more until it has drained."""
        self.paused = True
        for room, member in self.session.places():
            room.pause(member)

    async def drained(self, patience: float) -> None:
        """Wait until what was written has gone, or the connection has, or for `patience` seconds."""
        if self.paused and not self.closed:
            if self._drained is None:
                self._drained = self._context.loop.create_future()
            await asyncio.wait([self._drained], timeout=patience)

    def _wake_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def resume_writing(self) -> None:
        self.paused = False
        self._wake_drained()
        for room, member in self.session.places():
            if not self.paused:  # catching up one room may fill it again
                room.catch_up(member)

    def close(self, why: Closing, reason: str = "") -> None:
        """Say why, then end. Safe to call twice."""
        if self.closed:
            return
        self._context.counters.closes.add(str(why.code))
        self.write(close_frame(why.code, reason or why.reason))
        self._end()

    def _end(self) -> None:
        """Nothing more in either direction: let the client close first, so that it reads what was written."""
        self.closed = True
        self.write = discard
        self.session.lost()
        if self.transport.is_closing():
            return
        if self.paused:
            self.transport.abort()  # it does not read; waiting would keep its buffers
        else:
            if self._throttled:
                self.transport.resume_reading()
            patience = CLOSE_TIMEOUT if self._inbox.ended is None else FAILED_TIMEOUT
            self._lingering = self._context.loop.call_later(patience, self.transport.abort)

    # -- life --

    def check_alive(self) -> None:
        """Called every keepalive interval: ping who was silent, give up on who did not answer."""
        if self.closed:
            return
        if self._heard:
            self._heard = self._pinged = False
        elif self._pinged:
            self._context.counters.errors.add("silent")
            self.transport.abort()
        else:
            self._pinged = True
            self.write(PING)


class Gone:
    """The session of a connection that has ended."""

    name = "gone"

    def receive(self, message: bytes) -> None:
        """Nothing comes any more."""

    def lost(self) -> None:
        """It is."""

    def tick(self) -> None:
        """Nobody to keep awake."""

    def places(self) -> "list[tuple[Room, Member]]":
        return []

    def channels(self) -> "Sequence[Channel]":
        return ()


GONE = Gone()


def discard(data: bytes) -> None:
    """What a closed connection does with a frame."""
