"""A thin connection to Redis that writes commands in groups and matches replies in order.

CPU of this process per XADD of a small update, one at a time and in groups of 20: redis-py 129 and 34 µs; hiredis on a
protocol of our own, one write per group, 54 and 5. Most of the price is waking up and writing: a group pays it once.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import hiredis

from relay.errors import Unavailable
from relay.journal.address import Address
from relay.journal.keys import PROBE
from relay.tasks import spawn

__all__ = ["Answered", "Reply", "Wire", "pack"]

Reply: TypeAlias = "bytes | int | list[Reply] | Unavailable | None"
Answered = Callable[[Reply], None]

log = logging.getLogger("relay.journal")

_GATHER = 0.002
"""Seconds at most that wanted commands gather behind a group in flight."""

_FIRST_DELAY, _LAST_DELAY = 0.05, 2.0
# The server (or what a proxy put in its place) will not take writes on this connection again: another one may.
_RECONNECT = ("READONLY", "LOADING", "NOAUTH", "MASTERDOWN")
# It works, but takes no writes for now: the connection is good, the append is not.
_FULL = ("OOM", "MISCONF", "NOREPLICAS")
# It works, and what it was asked for is elsewhere, or nowhere for now (a node of a cluster).
_ELSEWHERE = ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN")


def pack(*command: bytes | str) -> bytes:
    """A command as it goes over the wire."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub asks for a tuple of one
    return packed


class _Connection(asyncio.Protocol):
    """One connection: bytes out, replies in, in the order asked."""

    def __init__(self, lost: Callable[["_Connection", str], None], idle: Callable[[], None]) -> None:
        self._lost = lost
        self._idle = idle
        self._reader = hiredis.Reader()
        self._loop = asyncio.get_running_loop()
        self._why = "the connection was closed"
        self.waiting: deque[tuple[Answered, int]] = deque()
        self.unanswered = 0
        self.heard = self._loop.time()
        self.transport: asyncio.Transport
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def write(self, data: bytes, dones: list[tuple[Answered, int]]) -> None:
        if not self.waiting:
            self.heard = self._loop.time()
        self.waiting.extend(dones)
        self.unanswered += len(data)
        self.transport.write(data)

    def ask(self, *command: str | bytes) -> "asyncio.Future[Reply]":
        """One command outside of any group."""
        answer: asyncio.Future[Reply] = self._loop.create_future()
        if self.closed.done():
            answer.set_result(Unavailable(self._why))
            return answer
        data = pack(*command)
        self.write(data, [(lambda reply: None if answer.done() else answer.set_result(reply), len(data))])
        return answer

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        waiting, gets = self.waiting, self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not False:
                done, size = waiting.popleft()
                self.unanswered -= size
                if isinstance(reply, hiredis.ReplyError):
                    reply = self._refused(str(reply))
                try:
                    done(reply)
                except Exception:
                    log.exception("an append's callback failed")
        except (hiredis.ProtocolError, IndexError) as error:
            self.abort(f"the server broke the protocol: {error}")
        if not waiting:
            self._idle()

    def _refused(self, text: str) -> Unavailable:
        if text.startswith(_RECONNECT):
            self.abort(text)
        return Unavailable(text)

    def abort(self, why: str) -> None:
        self._why = why
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)
        self._lost(self, str(exc) if exc else self._why)


class Wire:
    """Group commit over one connection that comes back by itself.

    A command that somebody waits for leaves at the end of this turn of the loop; while a group is in flight it leaves
    when that was answered, or a moment later. One that is not wanted soon gathers for up to `window` seconds, or goes
    with the next that is. Commands are answered in the order submitted: with the server's reply, or with Unavailable,
    after which it is unknown whether the server ran it.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        *,
        window: float,
        timeout: float,
        max_queued_bytes: int,
        on_state: Callable[[bool], None],
    ) -> None:
        self._address = address
        self._name = name
        self._window = window
        self._timeout = timeout
        self._max_queued_bytes = max_queued_bytes
        self._on_state = on_state
        self._connection: _Connection | None = None
        self._queue: list[bytes] = []
        self._dones: list[tuple[Answered, int]] = []
        self._queued = 0
        self._flushing: asyncio.Handle | None = None
        self._due = 0.0  # loop time of that flush
        self._soon = False  # somebody waits for what is queued
        self._watch: asyncio.Handle | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def start(self) -> None:
        """Connect. Raises Unavailable; does not try again."""
        await self._connect()

    def start_later(self) -> None:
        """Connect as soon as the server is there."""
        self._reconnecting = spawn("journal connect", self._reconnect())

    def submit(self, command: bytes, done: Answered, soon: bool = True, key: bytes = b"") -> None:
        """Queue a packed command. Never raises, and never calls `done` before it returns. `key`: not needed here."""
        connection, size = self._connection, len(command)
        loop = asyncio.get_running_loop()
        if connection is None:
            loop.call_soon(done, Unavailable(f"not connected to {self._address}"))
            return
        waiting = self._queued + connection.unanswered
        if waiting and waiting + size > self._max_queued_bytes:  # alone, a command of any size has its turn
            loop.call_soon(done, Unavailable(f"{self._max_queued_bytes} bytes are waiting for {self._address} already"))
            return
        self._queue.append(command)
        self._dones.append((done, size))
        self._queued += size
        if soon:
            self._soon = True
        if self._flushing is None or (soon and self._due > 0.0):
            self._schedule((_GATHER if connection.waiting else 0.0) if soon else self._window)

    def _schedule(self, delay: float) -> None:
        """Flush after `delay` seconds at the latest; 0: at the end of this turn."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay if delay else 0.0
        if self._flushing is not None:
            if self._due <= due:
                return
            self._flushing.cancel()
        self._due = due
        self._flushing = loop.call_later(delay, self._flush) if delay else loop.call_soon(self._flush)

    def _idle(self) -> None:
        """Everything was answered: what gathered meanwhile goes, with what this turn of the loop still brings."""
        if self._soon:
            self._schedule(0.0)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        connection = self._connection
        if connection is None or not self._queue:
            return
        queue, dones = self._queue, self._dones
        self._soon = False
        self._queue, self._dones, self._queued = [], [], 0
        connection.write(b"".join(queue), dones)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(self._timeout, self._check, connection)

    def _check(self, connection: _Connection) -> None:
        """Break a connection on which nothing was heard for `timeout` while an answer was due."""
        self._watch = None
        if connection is not self._connection or not connection.waiting:
            return
        loop = asyncio.get_running_loop()
        left = connection.heard + self._timeout - loop.time()
        if left <= 0:
            connection.abort(f"no answer for {self._timeout:g} s")
        else:
            self._watch = loop.call_later(left, self._check, connection)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._address.connect(partial(_Connection, self._lost, self._idle))
                try:
                    for command in self._address.greeting(self._name):
                        if isinstance(reply := await connection.ask(*command), Unavailable):
                            raise reply
                    await self._try(connection)
                except BaseException:
                    connection.transport.abort()
                    raise
        except TimeoutError:
            raise Unavailable(f"{self._address}: no answer within {self._timeout:g} s") from None
        except (OSError, Unavailable) as error:
            raise Unavailable(f"{self._address}: {error}") from error
        if self._closed or connection.transport.is_closing():
            connection.transport.abort()
            raise Unavailable(f"{self._address}: the connection was closed")
        self._connection = connection
        asyncio.get_running_loop().call_soon(self._on_state, True)

    async def _try(self, connection: _Connection) -> None:
        """Whether this server takes writes. Raises Unavailable."""
        if self._address.redundant:
            role = await connection.ask("ROLE")
            if isinstance(role, Unavailable):
                raise role
            if not isinstance(role, list) or role[:1] != [b"master"]:
                raise Unavailable("it is a replica now")
        reply = await connection.ask("XADD", PROBE, "NOMKSTREAM", "*", "x", "")
        if not isinstance(reply, Unavailable) or str(reply).startswith(_FULL):
            return
        if not str(reply).startswith(_ELSEWHERE):
            raise reply
        if not self._address.node:
            raise Unavailable("it is a node of a cluster: write redis+cluster:// instead of redis://")

    def _lost(self, connection: _Connection, why: str) -> None:
        dones = [*connection.waiting]
        connection.waiting.clear()
        if connection is self._connection:
            self._connection = None
            dones += self._dones
            self._queue, self._dones, self._queued = [], [], 0
            asyncio.get_running_loop().call_soon(self._on_state, False)
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None
            if not self._closed:
                log.warning("journal disconnected", extra={"address": str(self._address), "reason": why})
                self._reconnecting = spawn("journal reconnect", self._reconnect())
        error = Unavailable(why)
        for done, _ in dones:
            try:
                done(error)
            except Exception:
                log.exception("an append's callback failed")

    async def _reconnect(self) -> None:
        delay = _FIRST_DELAY
        while not self._closed:
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 (jitter)
            try:
                await self._connect()
            except Unavailable as error:
                log.debug("journal still away: %s", error)
                delay = min(delay * 2, _LAST_DELAY)
            else:
                log.info("journal connected", extra={"address": str(self._address)})
                return

    async def close(self, grace: float = 1.0) -> None:
        """Write what is queued, give the server `grace` seconds to answer, fail the rest, disconnect."""
        self._flush()
        self._closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if (connection := self._connection) is None:
            return
        if connection.waiting:
            await asyncio.wait([connection.ask("PING")], timeout=grace)
        connection.abort("the journal was closed")
        await connection.closed
