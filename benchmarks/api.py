"""How long does the API take, and an edit, while a thousand people edit and others call the API?

    python benchmarks/api.py [--documents 10000] [--editors 1000] [--edits 1000] [--calls 200] [--json PATH]

A relay with the plugins auth, workspaces and documents, all of it and its services on one core; editors and callers
on another. So many editors, ten to a document, type so many edits a second altogether; so many calls a second: lists
of a workspace with all the documents (40 %), a document's properties (30 %), its content (10 %), its title changed
(20 %). An edit's time is that from one editor's socket to another's, seen by pairs of probes in documents of their own.
"""

import argparse
import asyncio
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from _client import Client, keystroke, percentile
from _relay import Relay
from _report import Report, parser

from relay.tasks import spawn

PASSWORD = "correct horse battery"
USERS = 20
PROBES = 10
WARMING = 5.0
"""Seconds."""
PLUGINS = "auth,workspaces,documents"


class People:
    """Accounts that call the API in turn: a rate limit is for one of them."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.tokens: list[str] = []
        self._calls = 0

    async def call(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> Any:
        self._calls += 1
        given = {"X-Forwarded-For": f"10.{self._calls >> 16}.{self._calls >> 8 & 255}.{self._calls & 255}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["Authorization"] = f"Bearer {token}"
        async with self._http.request(method, path, json=body, headers=given) as answer:
            said = await answer.read()
            assert answer.status < 300, (method, path, answer.status, said)
            return await answer.json(content_type=None) if said else None

    async def settle(self, owner_link: str) -> str:
        """An owner, the accounts, and a workspace of which all are members: its id."""
        body = {"token": owner_link, "email": "o@example.com", "password": PASSWORD, "name": "O"}
        await self.call("POST", "/v1/auth/setup", body)
        workspace = ""
        for number in range(USERS):
            body = {"email": f"u{number}@example.com", "password": PASSWORD, "name": f"U{number}"}
            login = (await self.call("POST", "/v1/auth/register", body))["login"]
            self.tokens.append(login["access_token"])
            if not workspace:
                workspace = (await self.call("POST", "/v1/workspaces", {"name": "W"}, self.tokens[0]))["id"]
            else:
                member = f"/v1/workspaces/{workspace}/members/{login['user']['id']}"
                await self.call("PUT", member, {"role": "editor"}, self.tokens[0])
        return workspace

    async def fill(self, workspace: str, many: int) -> list[str]:
        """Documents of all of them: their ids."""
        made: list[str] = []

        async def make(token: str, share: int) -> None:
            for number in range(share):
                body = {"workspace": workspace, "title": f"Document {number}"}
                made.append((await self.call("POST", "/v1/documents", body, token))["id"])
                await asyncio.sleep(0.021)  # an account's rate limit is 50 a second

        await asyncio.gather(*(make(token, many // USERS) for token in self.tokens))
        return made


async def editors(
    port: int, people: People, rooms: list[str], each: int, rate: float, until: float
) -> tuple[list[Client], list[asyncio.Task[None]]]:
    """`each` clients to a room, of whom two type; `rate` edits a second altogether."""
    clients = []
    for room in rooms:
        for number in range(each):
            token = people.tokens[number % USERS]
            client = await Client.connect(port, room, token=token)
            clients.append(client)
        if len(clients) % 200 == 0:
            await asyncio.wait_for(clients[-1].synced, 30)
    await asyncio.gather(*(client.synced for client in clients))
    writers = [client for at in range(0, len(clients), each) for client in clients[at : at + 2]]

    async def write(client: Client, number: int) -> None:
        pause, clock = len(writers) / rate, 0
        await asyncio.sleep(random.random() * pause)
        while time.perf_counter() < until:
            client.update(keystroke(1000 + number, clock))
            clock += 1
            await asyncio.sleep(pause)

    typing = [spawn(f"type {number}", write(client, number)) for number, client in enumerate(writers)]
    return clients, typing


async def probe(port: int, people: People, room: str, times: list[float], until: float) -> None:
    """One types ten times a second, the other notes when it has come."""
    writer = await Client.connect(port, room, token=people.tokens[0])
    reader = await Client.connect(port, room, token=people.tokens[1])
    await asyncio.gather(writer.synced, reader.synced)
    came = asyncio.Event()
    reader.on_update = lambda head: came.set()
    clock = 0
    await asyncio.sleep(random.random() / 10)
    while time.perf_counter() < until:
        came.clear()
        started = time.perf_counter()
        writer.update(keystroke(7, clock))
        clock += 1
        await asyncio.wait_for(came.wait(), 10)
        times.append((time.perf_counter() - started) * 1e3)
        await asyncio.sleep(0.1)


async def call_on(
    people: People, workspace: str, documents: list[str], rate: float, times: dict[str, list[float]], until: float
) -> None:
    """Calls at random moments, `rate` a second, whether the ones before are answered or not."""
    waiting: set[asyncio.Task[None]] = set()

    async def once(number: int) -> None:
        kind = random.choices(("list", "properties", "content", "title"), (40, 30, 10, 20))[0]
        document, token = random.choice(documents), people.tokens[number % USERS]
        started = time.perf_counter()
        match kind:
            case "list":
                await people.call("GET", f"/v1/documents?filter[workspace]={workspace}&limit=50", None, token)
            case "properties":
                await people.call("GET", f"/v1/documents/{document}", None, token)
            case "content":
                await people.call("GET", f"/v1/documents/{document}/content?format=json", None, token)
            case _:
                title = {"title": f"Title {number}"}
                await people.call("PATCH", f"/v1/documents/{document}", title, token, If_Match="*")
        times.setdefault(kind, []).append((time.perf_counter() - started) * 1e3)

    number = 0
    while time.perf_counter() < until:
        task = spawn("call", once(number))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        number += 1
        await asyncio.sleep(random.expovariate(rate))
    await asyncio.gather(*waiting)


async def main(options: argparse.Namespace, relay: Relay) -> None:
    report = Report("api", options.json)
    link = re.search(r"/setup\?token=([^\s\"]+)", relay.log())
    assert link is not None
    async with aiohttp.ClientSession(f"http://127.0.0.1:{relay.port}", connector=aiohttp.TCPConnector(limit=0)) as http:
        people = People(http)
        workspace = await people.settle(link[1])
        documents = await people.fill(workspace, options.documents)
        print(f"{len(documents)} documents", flush=True)
        rooms = options.editors // 10
        until = time.perf_counter() + 1e9
        started = time.perf_counter()
        clients, typing = await editors(relay.port, people, documents[:rooms], 10, options.edits, until)
        took = time.perf_counter() - started
        print(f"{len(clients)} editors are in after {took:.1f} s", flush=True)
        # The processes that read contents start when they are first needed.
        await call_on(people, workspace, documents[rooms:], options.calls / 4, {}, time.perf_counter() + WARMING)
        until = time.perf_counter() + options.seconds
        edits: list[float] = []
        calls: dict[str, list[float]] = {}
        probes = documents[rooms : rooms + PROBES]
        await asyncio.gather(
            *(probe(relay.port, people, room, edits, until) for room in probes),
            call_on(people, workspace, documents[rooms + PROBES :], options.calls, calls, until),
        )
        everything = [one for times in calls.values() for one in times]
        print("milliseconds")
        for what, times in (*sorted(calls.items()), ("all calls", everything), ("edits", edits)):
            p50, p95, p99 = (percentile(times, part) for part in (0.5, 0.95, 0.99))
            report.row(what=what, count=len(times), p50=p50, p95=p95, p99=p99)
        report.aim("API, p95 in ms", percentile(everything, 0.95), 50.0)
        report.aim("edit, p95 in ms", percentile(edits, 0.95), 25.0)
        report.write()
        for task in typing:
            task.cancel()
        for client in clients:
            client.leave()


def pin(relay: Relay) -> None:
    """All of the relay on one core, we on another, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        for pid in (relay.pid, *relay.below()):
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cores[:1])
        os.sched_setaffinity(0, cores[1:])


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--documents", type=int, default=10_000)
    made.add_argument("--editors", type=int, default=1000)
    made.add_argument("--edits", type=float, default=1000.0, help="a second, altogether")
    made.add_argument("--calls", type=float, default=200.0, help="a second, altogether")
    made.add_argument("--seconds", type=float, default=20.0)
    chosen = made.parse_args()
    served = Relay("--plugins", PLUGINS, "--trusted-proxies", "127.0.0.0/8", "--config", "api.toml")
    (served.directory / "api.toml").write_text(
        '[plugins.auth]\nregistration = "open"\nargon2_time = 1\nargon2_memory = "64KiB"\n'
    )
    with served as started_relay:
        pin(started_relay)
        uvloop.run(main(chosen, started_relay))
