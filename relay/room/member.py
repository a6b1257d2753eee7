"""One client in one room: what the room needs to know to write to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relay.protocol.frames import frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.closing import Closing
    from relay.grants import Grant
    from relay.room.fanout import Group

__all__ = ["Member", "Socket"]


class Socket(Protocol):
    """The connection a member writes to; several members (documents) may share one."""

    deflate: bool
    paused: bool

    def write(self, data: bytes) -> None:
        """Send bytes that are already framed. Never blocks; what the kernel does not take is buffered."""
        ...


class Member:
    """A client's place in a room.

    prefix: what its frames start with (Hocuspocus: the encoded address; y-websocket: nothing).
    echo: it learns that an edit is saved by getting it back (y-websocket).
    acknowledgement: the message that says "saved", exactly one for every update it sends; None if it wants none.
    leave: called by the room when it must let go of the client for good, with the reason.
    """

    __slots__ = (
        "acknowledgement",
        "asked",
        "behind",
        "echo",
        "grant",
        "group",
        "leave",
        "owed",
        "prefix",
        "socket",
    )

    def __init__(
        self,
        socket: Socket,
        grant: Grant,
        leave: Callable[[Closing], None],
        *,
        prefix: bytes = b"",
        echo: bool = False,
        acknowledgement: bytes | None = None,
    ) -> None:
        self.socket = socket
        self.grant = grant
        self.leave = leave
        self.prefix = prefix
        self.echo = echo
        self.acknowledgement = frame(acknowledgement) if acknowledgement else None
        self.group: Group | None = None  # None while it is no member or reads too slowly
        self.behind: int | None = None  # the last flush a slow reader has; None while it keeps up
        self.asked: bytes | None = None  # a state vector to answer once a slow reader has drained
        self.owed = 0  # acknowledgements to write once a slow reader has drained

    def acknowledge(self, count: int) -> None:
        """Say that `count` updates of this client are saved."""
        if self.acknowledgement is None or not count:
            return
        if self.behind is not None:
            self.owed += count
            return
        self.socket.write(self.acknowledgement * count)
