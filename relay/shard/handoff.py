"""Sockets that cross from one worker process of a host to another: a client goes to the worker that has its room.

Each worker listens on a socket in the abstract namespace (Linux) for the others of the same user. A message is one
kind, the bytes that were read from a client, and its socket as SCM_RIGHTS (unix(7)); SOCK_SEQPACKET keeps messages
apart, and tells at once when a worker is away. Whoever is away is passed over: the client is served by the next.
"""

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

from relay.types import RoomId

__all__ = ["MAX_BYTES", "Handoff", "Passed", "Place", "shim_address"]

log = logging.getLogger("relay.handoff")
MAX_BYTES = 64 << 10
"""What a client may have said and still be passed on: a message must fit the kernel's buffer."""
ASK_PATIENCE = 1.0
"""Seconds for another worker to say what it counts."""
HEAD, ANSWERED, COUNTS, IN_FILE = b"h", b"a", b"c", b"f"


class Place(NamedTuple):
    """A worker's number, how many there are, the name under which they find each other, and the socket from which
    all accept. The shim, where there is one, has the number after the last; it accepts nobody unless it is alone."""

    number: int
    workers: int
    mesh: str
    listener: socket.socket | None


class Passed(NamedTuple):
    """A client that another worker read `data` from, beginning with the request head. `answered`: it has been sent
    the response to its handshake."""

    socket: socket.socket
    data: bytes
    answered: bool


class Handoff:
    """One worker's way to the others. `adopt` serves a client here; `counts` says what this worker has counted."""

    def __init__(self, place: Place, adopt: Callable[[Passed], None], counts: Callable[[], bytes]) -> None:
        self.number, self.workers, self._mesh, _ = place
        self._adopt = adopt
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._heard: set[socket.socket] = set()
        self._roads: dict[int, _Road] = {}

    def start(self) -> None:
        """Take clients from the others. Raises OSError."""
        self._listener = _seqpacket()
        self._listener.bind(_address(self._mesh, self.number))
        self._listener.listen(self.workers)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Be away, for the others; what was on its way is taken in. Idempotent."""
        if self._listener is None:
            return
        self._accept()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for heard in list(self._heard):
            heard.shutdown(socket.SHUT_RD)  # from here on it can't be written to, but read to its end
            self._receive(heard)
            self._hang_up(heard)
        for road in self._roads.values():
            road.close()
        self._roads.clear()

    # -- to others --

    def everybody(self) -> bool:
        """Whether every other worker is there."""
        return all(number == self.number or self._road(number) is not None for number in range(self.workers))

    def pass_on(self, room: RoomId, descriptor: int, data: bytes, *, answered: bool) -> bool:
        """Give a client's socket to the worker whose room it is; False when that is this one, or nobody before it is
        there. The caller keeps the descriptor, and may close it at once; no byte may be waiting to be written to it."""
        if len(data) > MAX_BYTES:
            return False
        first = crc32(room.encode()) % self.workers
        for step in range(self.workers):
            number = (first + step) % self.workers
            if number == self.number:
                return False
            if self._send(number, ANSWERED if answered else HEAD, data, descriptor):
                return True
        return False

    def give(self, number: int, descriptor: int, data: bytes) -> bool:
        """Give a client's socket, of which `data` was read, to that process; False when it is not there. As with
        `pass_on` the caller keeps the descriptor. More than a message holds travels as a file."""
        if len(data) <= MAX_BYTES:
            return self._send(number, HEAD, data, descriptor)
        with os.fdopen(os.memfd_create("read-ahead"), "w+b", 0) as file:
            file.write(data)
            return self._send(number, IN_FILE, b"", descriptor, file.fileno())

    async def ask(self, number: int) -> bytes | None:
        """What another worker has counted; None when it is away or does not say so in time."""
        ours, theirs = socket.socketpair()
        with theirs:
            if not self._send(number, COUNTS, b"", theirs.fileno()):
                ours.close()
                return None
        try:
            async with asyncio.timeout(ASK_PATIENCE):
                reader, writer = await asyncio.open_unix_connection(sock=ours)
                try:
                    return await reader.read() or None
                finally:
                    writer.transport.abort()
        except (TimeoutError, OSError):
            return None

    def _send(self, number: int, kind: bytes, data: bytes, *descriptors: int) -> bool:
        for _ in range(2):  # a road to a worker that has been replaced is found out by using it
            road = self._road(number)
            if road is None:
                return False
            if road.send(kind + data, descriptors):
                return True
        return False

    def _road(self, number: int) -> "_Road | None":
        road = self._roads.get(number)
        if road is None or road.broken:
            connected = self._connect(number)
            if connected is None:
                return None
            road = self._roads[number] = _Road(connected, self._loop, self._take_back)
        return road

    def _connect(self, number: int) -> socket.socket | None:
        connected = _seqpacket()
        try:
            connected.connect(_address(self._mesh, number))
        except OSError:
            connected.close()
            return None
        return connected

    def _take_back(self, message: bytes, descriptors: Sequence[int]) -> None:
        """A worker went away before it could read this."""
        if message[:1] == COUNTS:
            os.close(descriptors[0])
        else:
            self._taken(message, descriptors)

    # -- from others --

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                heard, _ = self._listener.accept()
            except OSError:
                return
            if _user(heard) != os.geteuid():
                heard.close()
                continue
            heard.setblocking(False)
            self._heard.add(heard)
            self._loop.add_reader(heard, self._receive, heard)

    def _receive(self, heard: socket.socket) -> None:
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(heard, MAX_BYTES + 1, 2)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                self._hang_up(heard)
                return
            if descriptors:
                self._taken(message, descriptors)
            else:
                log.error("a client was lost: no descriptor can be opened; raise the limit of open files")

    def _hang_up(self, heard: socket.socket) -> None:
        if heard in self._heard:
            self._heard.discard(heard)
            self._loop.remove_reader(heard)
            heard.close()

    def _taken(self, message: bytes, descriptors: Sequence[int]) -> None:
        taken = socket.socket(fileno=descriptors[0])
        taken.setblocking(False)
        kind, data = message[:1], message[1:]
        if kind == IN_FILE:
            with os.fdopen(descriptors[1], "rb", 0) as file:
                file.seek(0)
                data = file.read()
        if kind == COUNTS:
            with taken:
                try:
                    taken.sendall(self._counts())  # fits the buffer of a socket pair
                except OSError as error:
                    log.warning("could not say what is counted", extra={"error": str(error)})
        else:
            self._adopt(Passed(taken, data, kind == ANSWERED))


class _Road:
    """A connection to one other worker; what does not fit its buffer waits here."""

    def __init__(
        self,
        connected: socket.socket,
        loop: asyncio.AbstractEventLoop,
        take_back: Callable[[bytes, Sequence[int]], None],
    ) -> None:
        self._socket = connected
        self._loop = loop
        self._take_back = take_back
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self.broken = False

    def send(self, message: bytes, descriptors: Sequence[int]) -> bool:
        """False when the worker is gone; the caller keeps the descriptors either way."""
        if self.broken:
            return False
        if not self._waiting:
            try:
                socket.send_fds(self._socket, [message], descriptors)
                return True
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._write_on)
            except OSError:
                self.close()
                return False
        self._waiting.append((message, [os.dup(descriptor) for descriptor in descriptors]))
        return True

    def _write_on(self) -> None:
        while self._waiting:
            message, descriptors = self._waiting[0]
            try:
                socket.send_fds(self._socket, [message], descriptors)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            for descriptor in descriptors:
                os.close(descriptor)
            self._waiting.popleft()
        self._loop.remove_writer(self._socket)

    def close(self) -> None:
        if self.broken:
            return
        self.broken = True
        self._loop.remove_writer(self._socket)
        self._socket.close()
        while self._waiting:
            self._take_back(*self._waiting.popleft())


def _seqpacket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.setblocking(False)
    return made


def shim_address(mesh: str) -> str:
    """Where the shim of these workers answers their asks, as `relay.crossing.client.dial` takes it."""
    return f"unix:@{mesh}/shim"


def _address(mesh: str, number: int) -> str:
    return f"\0{mesh}/{number}"


def _user(connected: socket.socket) -> int:
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
