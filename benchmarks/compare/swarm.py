"""Thousands of clients in one thread: bare sockets, one epoll, and a timer that is exact to the microsecond.

asyncio and uvloop count in milliseconds, which would turn a thousand edits a second into a thousand pairs.
"""

import ctypes
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.compare.attribution import Attribution
from benchmarks.compare.matcher import Faults, Reader
from benchmarks.compare.wire import CLOSED, DENIED, OPENED, PING, STEP1, SYNCED, Codec, framed, opening

__all__ = ["Client", "Swarm", "Target"]

READ = 1 << 16
"""Bytes read at once; of a message that is known to be long, BULK."""
BULK = 1 << 20
TURN = 64
"""Sockets looked after before the clock is looked at again."""
ATTEMPTS = 64
"""Connections that may be on their way at once, unless told otherwise."""
_libc = ctypes.CDLL(None, use_errno=True)


class Target(NamedTuple):
    """A server. path: with `{room}` where the protocol has the room there; anywhere: it need not be this machine."""

    host: str
    port: int
    path: str
    hocuspocus: bool
    anywhere: bool = False


class Client:
    """One connection. `reader`: where its edits are matched."""

    __slots__ = (
        "covered", "faults", "fd", "heard", "lacks", "on_synced", "open", "out", "parts", "path", "prefix", "reader",
        "recv", "sock", "started", "synced", "token",
    )  # fmt: skip

    def __init__(self, room: str, prefix: bytes, path: str, token: str, faults: Faults) -> None:
        self.prefix = prefix
        self.path = path.replace("{room}", room)
        if token and "{room}" in path:
            self.path += f"?token={token}"
        self.token = token
        self.faults = faults
        self.reader: Reader | None = None
        self.on_synced: Callable[[Client], None] | None = None
        self.covered: dict[int, int] | None = None
        """Where set: of clients that are no writers, the clock up to which the document came."""
        self.heard: list[bytes] | None = None
        """Where set: all that it is told."""
        self.fd = -1
        self.open = False
        self.out = bytearray()
        self.parts: list[bytes] = []
        self.lacks = 0
        self.started = self.synced = 0.0
        self.sock: socket.socket
        self.recv: Callable[[int], bytes]


class Swarm:
    """Clients of one server. `writers`: of a room; with an `attribution`, of all. As long as its `with` block."""

    def __init__(self, target: Target, writers: int, attribution: Attribution | None = None) -> None:
        if not target.anywhere and not ipaddress.ip_address(target.host).is_loopback:
            raise SystemExit(f"{target.host} is not this machine: --anywhere, if you may load it")
        self.target = target
        self.codec = Codec(target.hocuspocus, writers, attribution)
        self.faults = Faults()
        self.received = 0
        self.clients: dict[int, Client] = {}
        self._epoll = select.epoll()
        self._timer: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._epoll.register(self._timer, select.EPOLLIN)

    def __enter__(self) -> "Swarm":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop all connections without a word."""
        for client in list(self.clients.values()):
            self.drop(client)
        self._epoll.close()
        os.close(self._timer)

    # -- clients --

    def client(self, room: str, token: str = "") -> Client:
        """One that is not connected yet."""
        return Client(room, self.codec.prefix(room), self.target.path, token, self.faults)

    def connect(self, client: Client, buffer: int = 0) -> None:
        """Begin to; `buffer`: bytes that the kernel may hold for it."""
        client.sock = socket.socket(socket.AF_INET6 if ":" in self.target.host else socket.AF_INET)
        client.sock.setblocking(False)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.fd, client.recv = client.sock.fileno(), client.sock.recv
        client.open, client.synced, client.lacks = False, 0.0, 0
        client.parts.clear()
        client.out[:] = opening(f"{self.target.host}:{self.target.port}", client.path)
        client.started = time.monotonic()
        self.clients[client.fd] = client
        client.sock.connect_ex((self.target.host, self.target.port))
        self._epoll.register(client.fd, select.EPOLLIN | select.EPOLLOUT)

    def connect_all(self, clients: list[Client], *, at_once: int = ATTEMPTS, within: float = 60.0) -> None:
        """Connect them in their order and wait for their documents. Raises TimeoutError."""
        ends = time.monotonic() + within
        waiting: list[Client] = []
        for client in clients:
            while len(waiting) >= at_once:
                self.poll(ends)
                waiting = [each for each in waiting if not each.synced]
                self._patience(ends, clients)
            if client.fd < 0:
                self.connect(client)
            waiting.append(client)
        while not all(client.synced for client in waiting):
            self.poll(ends)
            self._patience(ends, clients)

    def _patience(self, ends: float, clients: list[Client]) -> None:
        if self.faults.cut_off or time.monotonic() > ends:
            joined = sum(1 for client in clients if client.synced)
            raise TimeoutError(f"{joined} of {len(clients)} clients joined; faults: {self.faults}")

    def drop(self, client: Client) -> None:
        """Leave without a word."""
        self.clients.pop(client.fd, None)
        if client.fd >= 0:
            client.sock.close()
            client.fd = -1

    def pause(self, client: Client, paused: bool) -> None:
        """Stop reading from it, or go on."""
        self._epoll.modify(client.fd, 0 if paused else select.EPOLLIN)

    # -- to the server --

    def say(self, client: Client, message: bytes) -> None:
        """Send a message about the client's room."""
        self.write(client, framed(client.prefix + message))

    def write(self, client: Client, frames: bytes) -> None:
        """Send frames; what the kernel does not take waits."""
        if not client.out:
            try:
                sent = client.sock.send(frames)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._lost(client)
                return
            if sent == len(frames):
                return
            frames = frames[sent:]
            self._epoll.modify(client.fd, select.EPOLLIN | select.EPOLLOUT)
        client.out += frames

    def _flush(self, client: Client) -> None:
        try:
            del client.out[: client.sock.send(client.out)]
        except BlockingIOError:
            return
        except OSError:
            self._lost(client)
            return
        if not client.out:
            self._epoll.modify(client.fd, select.EPOLLIN)

    # -- from the server --

    def poll(self, until: float) -> None:
        """Look after what there is; where there is nothing, wait for it until a moment of the monotonic clock."""
        nanoseconds = max(1, round(until * 1e9))
        _libc.timerfd_settime(
            self._timer, 1, struct.pack("qqqq", 0, 0, nanoseconds // 10**9, nanoseconds % 10**9), None
        )
        clients = self.clients
        for fd, event in self._epoll.poll(-1, TURN):
            client = clients.get(fd)
            if client is None:
                continue  # the timer, or one dropped in this turn
            if event & select.EPOLLOUT and client.out:
                self._flush(client)
            if event & ~select.EPOLLOUT and client.fd >= 0:
                self._readable(client)

    def run(self, until: float) -> None:
        """Look after everybody until then."""
        while time.monotonic() < until:
            self.poll(until)

    def _readable(self, client: Client) -> None:
        try:
            data = client.recv(BULK if client.lacks > READ else READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(client)
            return
        now = time.monotonic()
        self.received += len(data)
        if client.parts:
            client.parts.append(data)
            client.lacks -= len(data)
            if client.lacks > 0:
                return
            data = b"".join(client.parts)
            client.parts.clear()
        if not client.open:
            data = self._answer(client, data)
            if not data:
                return
        chunk = self.codec.read(data)
        if client.heard is not None:
            client.heard.append(data[: chunk.used])
        if chunk.used < len(data):
            client.parts.append(data[chunk.used :])
            client.lacks = chunk.lacks
        reader = client.reader
        if reader is not None:
            found = chunk.states if reader.room.states else chunk.ranges
            if found:
                reader.take(found, now)
        if client.covered is not None:
            for who, clock, end in chunk.others:
                if clock <= client.covered.get(who, 0):
                    client.covered[who] = max(end, client.covered.get(who, 0))
        if chunk.unreadable:
            client.faults.unreadable += chunk.unreadable
        for call, payload in chunk.calls:
            self._called(client, call, payload)

    def _answer(self, client: Client, data: bytes) -> bytes:
        """The response to the request that opens; what came behind it."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            client.parts.append(data)
            return b""
        if not head.startswith(b"HTTP/1.1 101"):
            self._lost(client)
            return b""
        self._called(client, OPENED, b"")
        return rest

    def _called(self, client: Client, call: int, payload: bytes) -> None:
        if client.fd < 0:
            return
        if call == OPENED:
            client.open = True
            self.write(client, b"".join(framed(m) for m in self.codec.hello(client.prefix, client.token)))
        elif call == STEP1:
            if not client.synced:
                self.say(client, b"\0\1\2\0\0")  # nothing that the server has not got
        elif call == SYNCED:
            if not client.synced:
                client.synced = time.monotonic()
                if client.on_synced is not None:
                    client.on_synced(client)
        elif call == PING:
            self.write(client, framed(payload, 0x8A))
        elif call in (CLOSED, DENIED):
            self._lost(client)

    def _lost(self, client: Client) -> None:
        client.faults.cut_off += 1
        self.drop(client)
