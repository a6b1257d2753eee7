"""One run, in one process of it: where it goes, what was typed, what is found at the end.

With several processes the master prepares the world and sends it to the workers; at the end it asks them to stop and to
say what was acknowledged, and looks for all of it itself.
"""

import random
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
from gevent.event import Event
from gevent.pool import Pool
from locust.env import Environment
from locust.rpc.protocol import Message
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtests.client import Connection, Ended
from loadtests.ledger import Author, Ledger, Loss, compare
from loadtests.target import NotLoopback, Target, target_of
from loadtests.verify import read_texts
from loadtests.wire import Dialect
from loadtests.world import Accounts, Refused, World, prepare, refresh

__all__ = ["RUN", "Run"]

READERS = 20
"""Fresh readers at once."""
GRACE = 2.0
"""Seconds until a reader that missed something looks again: relays that share a room hear of edits a little late."""
REPORT_WITHIN = 60.0
LAG_EVERY = 0.1
CPU_EVERY = 50
"""Looks at the lag until one at the CPU."""


class Run:
    """Everything that users and hooks share."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.ready = Event()
        self.connections: set[Connection] = set()
        self.losses: list[Loss] = []
        self.checked = 0
        """Acknowledged characters that were looked for."""
        self.unread: list[str] = []
        """Rooms that could not be read at the end, and processes that did not say what was acknowledged."""
        self.finished = False
        self._target: Target | None = None
        self._world: World | None = None
        self._environment: Environment | None = None
        self._expected: set[str] = set()  # workers whose report is awaited
        self._background: list[gevent.Greenlet] = []

    # -- for users --

    @property
    def target(self) -> Target:
        assert self._target is not None
        return self._target

    @property
    def world(self) -> World:
        assert self._world is not None
        return self._world

    def record(self, method: str, name: str, milliseconds: float, error: Exception | None = None) -> None:
        """A line of statistics."""
        assert self._environment is not None
        self._environment.events.request.fire(
            request_type=method, name=name, response_time=milliseconds, response_length=0, exception=error, context={}
        )

    def pick(self) -> int:
        """The number of a room: some go to the first one, where everybody is, the others are spread evenly."""
        return 0 if random.random() < self.options.hot else random.randrange(len(self.world.rooms))

    def connect(self, room: int, *, hocuspocus: bool, author: Author | None = None, keep: bool = False) -> Connection:
        """A connection that is not open yet."""
        return Connection(
            self.target,
            Dialect(self.world.rooms[room], hocuspocus=hocuspocus),
            lambda: self.world.token(room),
            self.ledger,
            self.record,
            author=author,
            keep=keep,
            sample=self.options.sample,
        )

    @contextmanager
    def connected(self, connection: Connection) -> Iterator[Connection]:
        """Open; closed at the end, whatever ends it. Raises Ended."""
        try:
            connection.open()
            self.connections.add(connection)
            yield connection
        finally:
            self.connections.discard(connection)
            connection.close()

    # -- for hooks --

    @property
    def environment(self) -> Environment:
        assert self._environment is not None
        return self._environment

    @property
    def options(self) -> Namespace:
        options: Namespace | None = self.environment.parsed_options
        assert options is not None
        return options

    @property
    def runner(self) -> Runner:
        assert self.environment.runner is not None
        return self.environment.runner

    def begin(self, environment: Environment) -> None:
        """Once a process. Exits when the target is not allowed."""
        self._environment = environment
        if environment.host:
            self._aim()
        runner = environment.runner
        if isinstance(runner, WorkerRunner):
            runner.register_message("world", self._hear_world)
            runner.register_message("report", self._hear_report_wanted)
        elif isinstance(runner, MasterRunner):
            runner.register_message("reported", self._hear_report)
            environment.events.worker_connect.add_listener(self._welcome)

    def start(self) -> None:
        """A test starts. Exits when it can't."""
        self.ledger.clear()
        self.losses, self.unread, self.checked, self.finished = [], [], 0, False
        self._aim()
        runner, options = self.runner, self.options
        self._background.append(gevent.spawn(self._watch_lag))
        if options.storm_every:
            self._background.append(gevent.spawn(self._storms, options.storm_every))
        if isinstance(runner, WorkerRunner):
            return
        users = options.num_users or 1
        try:
            self._world = prepare(self.target, options.rooms or max(1, users // 10), Accounts.from_environment())
        except (Refused, OSError) as error:
            sys.exit(f"{self.target.url} can't be loaded: {error}")
        self.ready.set()
        if self.world.refresh_tokens:
            self._background.append(gevent.spawn(self._refresh))
        if isinstance(runner, MasterRunner):
            self._expected = {client.id for client in runner.clients.all}
            runner.send_message("world", self.world.message())

    def stop(self) -> None:
        """The users have left, or are told to: look for what was acknowledged."""
        for greenlet in self._background:
            greenlet.kill()
        self._background.clear()
        runner = self.runner
        if isinstance(runner, WorkerRunner) or self._world is None or self.finished:
            return
        if isinstance(runner, MasterRunner):
            runner.send_message("report", {})
            deadline = time.monotonic() + REPORT_WITHIN
            while self._expected and time.monotonic() < deadline:
                gevent.sleep(0.05)
            self.unread += sorted(self._expected)
        readers = Pool(READERS)
        for room, saved in self.ledger.acknowledged().items():
            readers.spawn(self._verify, room, saved)
        readers.join()
        self.finished = True

    # -- looking for what was acknowledged --

    def _verify(self, room: str, saved: dict[int, int]) -> None:
        number = self.world.rooms.index(room)
        self.checked += sum(saved.values())
        started = time.perf_counter()
        losses: list[Loss] = []
        error: Exception | None = None
        for again in range(3):
            if again:
                gevent.sleep(GRACE)
            error = None
            try:
                with self.connected(self.connect(number, hocuspocus=bool(again % 2), keep=True)) as reader:
                    losses = compare(room, saved, read_texts(reader.updates or (), saved))
            except (Ended, ValueError) as ended:
                error = ended
            if not losses and error is None:
                break
        self.losses += losses
        if error is not None:
            self.unread.append(room)
        elif losses:
            error = AssertionError(f"{len(losses)} authors lost acknowledged edits")
        self.record("CHECK", "acknowledged edits are there", (time.perf_counter() - started) * 1e3, error)

    # -- messages between processes --

    def _welcome(self, client_id: str, **_: object) -> None:
        """A worker that comes later needs the world too."""
        if self._world is not None and not self.finished:
            self._expected.add(client_id)
            self.runner.send_message("world", self.world.message(), client_id)

    def _hear_world(self, msg: Message, **_: object) -> None:
        self._world = World.of(msg.data)
        self.ready.set()

    def _hear_report_wanted(self, **_: object) -> None:
        self.runner.stop()
        self.runner.send_message("reported", self.ledger.report())

    def _hear_report(self, msg: Message, **_: object) -> None:
        self.ledger.add(msg.data)
        self._expected.discard(msg.node_id)

    # -- meanwhile --

    def _aim(self) -> None:
        try:
            self._target = target_of(self.environment.host or "", anywhere=self.options.anywhere)
        except (ValueError, NotLoopback) as error:
            sys.exit(str(error))

    def _watch_lag(self) -> None:
        """How late this process is, and how busy: what it measures of the server holds no more of its own than that."""
        while True:
            began, used = time.perf_counter(), time.process_time()
            for _ in range(CPU_EVERY):
                wanted = time.perf_counter() + LAG_EVERY
                gevent.sleep(LAG_EVERY)
                self.record("GENERATOR", "lag", (time.perf_counter() - wanted) * 1e3)
            share = (time.process_time() - used) / (time.perf_counter() - began)
            self.record("GENERATOR", "% of a core", share * 100)

    def _storms(self, every: float) -> None:
        while True:
            gevent.sleep(every)
            for connection in list(self.connections):
                connection.abort()

    def _refresh(self) -> None:
        while True:
            gevent.sleep(self.world.lifetime / 2)
            try:
                self._world = refresh(self.target, self.world)
            except (Refused, OSError) as error:
                self.record("POST", "/v1/auth/refresh", 0.0, error)
                continue
            if isinstance(self.runner, MasterRunner):
                self.runner.send_message("world", self.world.message())


RUN = Run()
