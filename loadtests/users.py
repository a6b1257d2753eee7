"""The kinds of users. Each opens documents for a while, does what its kind does, and comes back when it is cut off."""

import random
import time
from typing import Any
from uuid import uuid4

import gevent
from locust import FastHttpUser, User, between, constant, task

from loadtests.client import Connection, Ended
from loadtests.ledger import Author
from loadtests.run import RUN

__all__ = ["ApiClient", "Bot", "Editor", "Lurker", "Viewer"]

DROPS = 0.02
"""Chance, after each burst or look, that the network fails for a moment."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.5
"""Seconds before coming back, doubled at each failure, as y-websocket does."""


class Person(User):
    """Somebody with an editor; half of them use y-websocket, half Hocuspocus."""

    abstract = True
    wait_time = constant(0)
    writes = False
    stays = (60.0, 300.0)
    """Seconds with one document, from and to."""

    def on_start(self) -> None:
        RUN.ready.wait()
        self.hocuspocus = random.random() < 0.5

    @task
    def open_document(self) -> None:
        """Everything between opening a document and closing it."""
        room = RUN.pick()
        author = RUN.ledger.author(random.getrandbits(31), RUN.world.rooms[room]) if self.writes else None
        until = time.monotonic() + random.uniform(*self.stays)
        wait = FIRST_WAIT
        while time.monotonic() < until:
            connection = RUN.connect(room, hocuspocus=self.hocuspocus, author=author)
            try:
                with RUN.connected(connection):
                    wait = FIRST_WAIT
                    while time.monotonic() < until:
                        self.use(connection)
                        if random.random() < DROPS:
                            connection.abort()
                    self.leave(connection, author)
            except Ended as end:
                if end.by_choice:
                    if author is not None:
                        author.forgive(time.perf_counter())
                elif not end.polite:
                    RUN.record("CONNECTION", "ended", 0.0, end)
                if end.permanent:
                    gevent.sleep(LONGEST_WAIT)
                    return
                gevent.sleep(random.uniform(0.5, 1.0) * wait)
                wait = min(LONGEST_WAIT, wait * 2)

    def use(self, connection: Connection) -> None:
        """What it does over and over. Raises Ended."""
        raise NotImplementedError

    def leave(self, connection: Connection, author: Author | None) -> None:
        """Before it closes the document: who has typed looks whether it is saved."""
        if author is not None:
            for _ in range(50):
                if author.saved == author.typed:
                    return
                connection.rest(0.1)


class Editor(Person):
    """Types in bursts, moves its cursor, thinks."""

    weight = 30
    writes = True

    def use(self, connection: Connection) -> None:
        connection.point()
        for number in range(random.randint(5, 30)):
            connection.type()
            if number % 5 == 4:
                connection.point()
            connection.rest(random.uniform(0.08, 0.25))
        connection.rest(random.uniform(2, 10))


class Viewer(Person):
    """Reads, scrolls and points, then opens something else."""

    weight = 30
    stays = (15.0, 60.0)

    def use(self, connection: Connection) -> None:
        for _ in range(random.randint(1, 4)):
            connection.point()
            connection.rest(random.uniform(0.2, 1))
        connection.rest(random.uniform(2, 8))


class Lurker(Person):
    """A tab that was left open."""

    weight = 25
    stays = (600.0, 3600.0)

    def use(self, connection: Connection) -> None:
        connection.point()
        connection.rest(random.uniform(60, 120))


class Bot(Person):
    """A program that writes steadily, five updates a second of a few characters each."""

    weight = 5
    writes = True
    stays = (600.0, 3600.0)

    def use(self, connection: Connection) -> None:
        for _ in range(50):
            connection.type(random.randint(1, 4))
            connection.rest(0.2)


class ApiClient(FastHttpUser):
    """A program that uses the REST API of documents; where there is none, what monitoring asks for."""

    weight = 10
    wait_time = between(0.5, 2)
    network_timeout = 30.0
    connection_timeout = 30.0

    def on_start(self) -> None:
        RUN.ready.wait()
        world = RUN.world
        self.number = random.randrange(len(world.tokens) or 1)
        self.others = world.rooms[self.number :: len(world.tokens) or 1]
        self.own = ""
        if world.documents:
            body = {
                "workspace": world.workspaces[self.number],
                "title": f"Report {uuid4().hex[:8]}",
                "content": {"format": "md", "value": "# Report\n\nFirst.\n"},
            }
            if made := self.call("POST", "/v1/documents", json=body):
                self.own = made.json()["id"]

    def call(self, method: str, path: str, name: str = "", **options: Any) -> Any:
        """A request; None when it failed, which is counted."""
        headers = {**options.pop("headers", {})}
        if RUN.world.tokens:
            headers["Authorization"] = f"Bearer {RUN.world.token(self.number)}"
        answer = self.client.request(method, path, name=name or path, headers=headers, **options)
        return answer if answer.status_code and answer.status_code < 400 else None

    @task(4)
    def look(self) -> None:
        if not RUN.world.documents:
            self.call("GET", "/readyz")
            return
        document = random.choice(self.others)
        self.call("GET", f"/v1/documents/{document}", "/v1/documents/{document}")

    @task(2)
    def list(self) -> None:
        self.call("GET", "/v1/documents?limit=20" if RUN.world.documents else "/livez")

    @task(2)
    def read(self) -> None:
        """The content of a document that others are typing in."""
        if not RUN.world.documents:
            self.call("GET", "/readyz")
            return
        path = f"/v1/documents/{random.choice(self.others)}/content?format=yjs"
        self.call("GET", path, "/v1/documents/{document}/content")

    @task(2)
    def write(self) -> None:
        """Read its own document, put a longer one in its place."""
        if not RUN.world.documents or not self.own:
            self.call("GET", "/metrics")
            return
        path, name = f"/v1/documents/{self.own}/content", "/v1/documents/{document}/content"
        if answer := self.call("GET", f"{path}?format=md", name):
            lines = (answer.text or "").strip().splitlines()[-40:]
            body = "\n".join([*lines, "", f"Line {uuid4().hex}."])
            headers = {"If-Match": answer.headers["ETag"], "Content-Type": "text/markdown"}
            self.call("PUT", path, name, data=body.encode(), headers=headers)
