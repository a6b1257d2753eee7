"""One connection to one room, on a bare socket: a greenlet reads, its user writes."""

import json
import random
import ssl
import time
from collections import deque
from collections.abc import Callable

import gevent
from gevent import socket
from gevent.event import Event
from gevent.lock import Semaphore

from loadtests.ledger import Author, Ledger
from loadtests.target import Target
from loadtests.wire import CLOSE, PING, PONG, Dialect, Frames, Kind, first_edit, framed, keystroke, request

__all__ = ["Connection", "Ended", "Record"]

Record = Callable[[str, str, float, Exception | None], None]
"""Takes a line of statistics: method, name, milliseconds, what went wrong."""

POLITE = frozenset({1000, 1001})
"""The server said goodbye and meant to."""
RENEWAL = 12.0
"""Seconds between two awareness messages; editors use 15, and are given up after 30."""
SILENCE = 30.0
"""Seconds after which an editor believes that the server is gone."""
_EMPTY = b"\0\0"


class Ended(Exception):
    """The connection is no more. `permanent`: reconnecting can't help; `by_choice`: it was `abort`."""

    def __init__(self, code: int, reason: str, *, by_choice: bool = False) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason
        self.by_choice = by_choice

    @property
    def polite(self) -> bool:
        return self.code in POLITE or "expired" in self.reason

    @property
    def permanent(self) -> bool:
        return 4400 <= self.code < 4500 and "expired" not in self.reason


class Connection:
    """Open until `close`, or until the server ends it.

    `keep`: every update that comes in is in `updates`, for somebody who wants to read the document. `sample`: of so
    many updates seen, one is looked at for its latency.
    """

    def __init__(
        self,
        target: Target,
        dialect: Dialect,
        token: Callable[[], str],
        ledger: Ledger,
        record: Record,
        *,
        author: Author | None = None,
        keep: bool = False,
        sample: int = 1,
    ) -> None:
        self.dialect = dialect
        self.author = author
        self.updates: list[bytes] | None = [] if keep else None
        self.synced = Event()
        self.gone = Event()
        self.end: Ended | None = None
        self._target = target
        self._token = token
        self._ledger = ledger
        self._record = record
        self._sample = self._countdown = sample
        self._client = author.client if author else random.getrandbits(31)
        self._cursor = 0
        self._frames = Frames()
        self._unsaved: deque[int | None] = deque()  # author's characters after each update that was sent
        self._writing = Semaphore()
        self._heard = 0.0
        self._socket: socket.socket | ssl.SSLSocket | None = None
        self._reader: gevent.Greenlet | None = None

    # -- what a user does --

    def open(self, within: float = 20.0) -> None:
        """Connect, and return when the document is here. Raises Ended."""
        started = time.perf_counter()
        try:
            self._connect(within)
            if not _first_of(self.synced, self.gone, within):
                raise Ended(1006, "the document did not come")
            if not self.synced.is_set():
                raise self.end or Ended(1006, "")
        except OSError as error:
            self.abort()
            raise Ended(1006, str(error)) from None
        except Ended:
            self.abort()
            raise
        self._record("JOIN", self.dialect.name, (time.perf_counter() - started) * 1e3, None)

    def type(self, count: int = 1) -> None:
        """Send the author's next characters, as one update. Raises Ended."""
        author = self.author
        assert author is not None
        if self.end is not None:
            raise self.end
        at = author.typed
        author.sent_at.extend([time.perf_counter()] * count)
        self._unsaved.append(at + count)
        self._send(framed(self.dialect.update(keystroke(author.client, at, count))))

    def point(self) -> None:
        """Move the cursor, or say that it is still there. Raises Ended."""
        self._cursor += 1
        at = random.randrange(1000)
        state = {"user": {"name": f"user {self._client}", "color": "#5a67d8"}, "cursor": {"anchor": at, "head": at}}
        self._send(framed(self.dialect.cursor(self._client, self._cursor, json.dumps(state, separators=(",", ":")))))

    def rest(self, seconds: float) -> None:
        """Let time pass as an open editor does: awareness is renewed. Raises Ended."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.gone.wait(min(left, RENEWAL)):
                raise self.end or Ended(1006, "")
            if left > RENEWAL:
                self.point()
                if time.monotonic() - self._heard > SILENCE:
                    self._ended(1006, f"nothing heard for {SILENCE:g} s")

    def close(self) -> None:
        """Say goodbye."""
        if self.end is None and self._socket is not None:
            try:
                self._send(framed((1000).to_bytes(2, "big"), CLOSE))
            except Ended:
                pass
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word, as a tunnel does."""
        if self.end is None:
            self.end = Ended(1006, "left", by_choice=True)
            self.gone.set()
        if self._reader is not None and self._reader is not gevent.getcurrent():
            self._reader.kill(block=False)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- the socket --

    def _connect(self, within: float) -> None:
        target = self._target
        raw = socket.create_connection((target.host, target.port), timeout=within)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = ssl.create_default_context().wrap_socket(raw, server_hostname=target.host) if target.tls else raw
        self._socket.settimeout(None)
        self._heard = time.monotonic()
        token = self._token()
        self._reader = gevent.spawn(self._read, self._socket)
        self._send(request(self.dialect.path(token), target.authority) + self.dialect.hello(token))

    def _send(self, data: bytes) -> None:
        if self.end is not None or self._socket is None:
            raise self.end or Ended(1006, "not connected")
        with self._writing:
            try:
                self._socket.sendall(data)
            except (OSError, AttributeError) as error:
                raise self._ended(1006, str(error)) from None

    def _read(self, sock: socket.socket) -> None:
        try:
            while data := sock.recv(65536):
                self._heard = time.monotonic()
                for first, payload in self._frames.feed(data):
                    self._frame(first, payload)
            answer = self._frames.answer[:40].decode("latin-1")
            self._ended(1006, "" if answer.startswith("HTTP/1.1 101") else answer)
        except Ended:
            pass
        except (OSError, IndexError) as error:
            self._ended(1006, repr(error))

    def _ended(self, code: int, reason: str) -> Ended:
        if self.end is None:
            self.end = Ended(code, reason)
            self.gone.set()
        return self.end

    # -- what comes in --

    def _frame(self, first: int, payload: bytes) -> None:
        if first == CLOSE:
            code = int.from_bytes(payload[:2], "big") or 1005
            raise self._ended(code, payload[2:].decode("utf-8", "replace"))
        if first == PING:
            self._send(framed(payload, PONG))
            return
        kind, body = self.dialect.read(payload)
        if kind is Kind.UPDATE:
            if self.updates is not None:
                self.updates.append(body)
            elif self.synced.is_set():
                self._seen(body)
        elif kind is Kind.SAVED:
            self._saved()
        elif kind is Kind.DOCUMENT:
            if self.updates is not None:
                self.updates.append(body)
            self.synced.set()
        elif kind is Kind.STEP1:
            self._catch_up()
        elif kind is Kind.REFUSED:
            self._unsaved.popleft()
            self._record("EDIT", "saved", 0.0, Ended(0, "an edit was refused"))
        elif kind is Kind.PING:
            self._send(framed(b"\x0a"))
        elif kind is Kind.ASKS_TOKEN:
            self._send(framed(self.dialect.token(self._token())))
        elif kind in (Kind.DENIED, Kind.CLOSED):
            raise self._ended(4403 if kind is Kind.DENIED else 4400, body.decode("utf-8", "replace"))

    def _seen(self, update: bytes) -> None:
        self._countdown -= 1
        if self._countdown:
            return
        self._countdown = self._sample
        edit = first_edit(update)
        if edit is None or edit[0] == self._client:
            return
        author = self._ledger.authors.get(edit[0])
        if author is not None and edit[1] < author.typed:
            self._record("EDIT", "seen", (time.perf_counter() - author.sent_at[edit[1]]) * 1e3, None)

    def _saved(self) -> None:
        count = self._unsaved.popleft()
        author = self.author
        if count is None or author is None:
            return
        if count > author.saved:
            author.saved = count
            self._record("EDIT", "saved", (time.perf_counter() - author.sent_at[count - 1]) * 1e3, None)

    def _catch_up(self) -> None:
        """The server asks what it lacks: what was not acknowledged before the last connection ended."""
        author = self.author
        missing = author.typed - author.saved if author is not None else 0
        if author is not None and missing and not self._unsaved:
            self._unsaved.append(author.typed)
            update = keystroke(author.client, author.saved, missing)
        else:
            self._unsaved.append(None)
            update = _EMPTY
        self._send(framed(self.dialect.update(update, step2=True)))


def _first_of(one: Event, other: Event, within: float) -> bool:
    """Whether either happened in time."""
    return bool(gevent.wait([one, other], timeout=within, count=1))
