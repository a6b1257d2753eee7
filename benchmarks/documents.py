"""How long do the main calls on documents take, with 10,000 of them and the real plugins for accounts and rights?

Runs on servers of its own:  python benchmarks/documents.py [--rate 40]
One process serves; this one asks, first one call after the other, then a mix of calls at a steady rate.
"""

import asyncio
import json
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from _report import Report, parser

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

DOCUMENTS, FOLDERS, CALLS = 10_000, 200, 300
Work = Callable[[], Awaitable[Any]]


def serve(pipe: Connection) -> None:
    """The API, on servers of its own, with what is to be asked for."""
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    from auth_people import FAST, set_up
    from conftest import PostgresServer, Valkey
    from shim import running

    from api_shim.ids import uuid7
    from relay.types import Actor

    postgres, valkey = PostgresServer(), Valkey()
    try:
        valkey.start()
        async with running(
            ["auth", "workspaces", "documents"],
            postgres=postgres.create_database(),
            redis=valkey.url,
            settings={"auth": FAST},
            trusted_proxies=("127.0.0.1",),
        ) as shim:
            login = await set_up(shim)
            token = login["access_token"]
            _, workspace, _ = await shim.call("POST", "/v1/workspaces", {"name": "Works"}, token=token)
            library = shim.shim.plugins[2].library  # type: ignore[attr-defined]
            owner = Actor(login["user"]["id"])
            folders, documents, now = [], [], library.now
            async with library.database.acquire() as connection, connection.transaction():
                for n in range(FOLDERS):
                    id = uuid7()
                    await library.access.place(connection, id, "folder", workspace["id"], owner)
                    await connection.execute(
                        "INSERT INTO documents.folder (id, workspace, name, created, created_by, updated)"
                        " VALUES ($1, $2, $3, $4, $5, $4)",
                        id, workspace["id"], f"Folder {n}", now, owner,
                    )  # fmt: skip
                    folders.append(id)
                for n in range(DOCUMENTS):
                    id, folder = uuid7(), folders[n % FOLDERS]
                    await library.access.place(connection, id, "document", folder, owner)
                    documents.append((id, workspace["id"], folder, f"Document {n * 7919 % DOCUMENTS}", now, owner))
                await connection.executemany(
                    "INSERT INTO documents.document"
                    " (id, workspace, folder, title, created, created_by, updated, edited, edited_by)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $5, $5, $6)",
                    documents,
                )
            await library.database.execute("ANALYZE")
            pipe.send((shim.base, token, workspace["id"], [str(id) for id in folders], [str(d[0]) for d in documents]))
            await asyncio.to_thread(pipe.recv)
    finally:
        valkey.remove()
        postgres.close()


class Client:
    """Asks in the owner's name."""

    def __init__(self, session: aiohttp.ClientSession, token: str) -> None:
        self._session = session
        self._token = token

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, Any]:
        sent = {"Authorization": f"Bearer {self._token}", **headers}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if body is not None and not isinstance(body, bytes):
            sent["Content-Type"] = "application/json"
        while True:
            async with self._session.request(method, path, data=data, headers=sent) as answer:
                raw = await answer.read()
                if answer.status == 429:  # a rate limit is not what is measured
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
                    raise _Limited
                assert answer.status < 300, (answer.status, raw)
                return (json.loads(raw) if raw and "json" in answer.content_type else raw), answer.headers


class _Limited(Exception):
    pass


async def timed(work: Work, calls: int) -> list[float]:
    """Milliseconds of each call, one after the other."""
    times = []
    while len(times) < calls:
        began = time.perf_counter()
        try:
            await work()
        except _Limited:
            continue
        times.append((time.perf_counter() - began) * 1e3)
    return sorted(times)


def kinds(client: Client, workspace: str, folders: list[str], documents: list[str]) -> dict[str, Work]:
    """The calls, by name."""
    chance = random.Random(1)
    some = documents[:50]
    doc = {"workspace": workspace, "title": "Made", "content": {"format": "md", "value": "# Title\n\nSome text."}}
    append = {"operations": [{"op": "append", "text": "One more line."}]}

    async def put() -> None:
        path = f"/v1/documents/{chance.choice(some)}/content"
        body, headers = await client.call("GET", f"{path}?format=md")
        await client.call(
            "PUT", path, body.replace(b"One", b"1", 1) + b"\n\nx",
            **{"If-Match": headers["ETag"], "Content-Type": "text/markdown"},
        )  # fmt: skip

    def get(path: str) -> Work:
        return lambda: client.call("GET", path)

    return {
        "list a workspace, by edit": get(f"/v1/documents?filter[workspace]={workspace}"),
        "list a workspace, by title": get(f"/v1/documents?filter[workspace]={workspace}&sort=title"),
        "list everything, by edit": get("/v1/documents"),
        "list by words of the title": get(f"/v1/documents?filter[workspace]={workspace}&filter[title]=99"),
        "list a folder": lambda: client.call("GET", f"/v1/documents?filter[folder]={chance.choice(folders)}"),
        "tree of 200 folders": get(f"/v1/workspaces/{workspace}/tree"),
        "read properties": lambda: client.call("GET", f"/v1/documents/{chance.choice(documents)}"),
        "change a title": lambda: client.call(
            "PATCH", f"/v1/documents/{chance.choice(documents)}", {"title": f"T{chance.random()}"}, **{"If-Match": "*"}
        ),
        "move": lambda: client.call(
            "POST", f"/v1/documents/{chance.choice(documents)}:move", {"folder": chance.choice(folders)}
        ),
        "make, with content": lambda: client.call("POST", "/v1/documents", doc),
        "read content": lambda: client.call("GET", f"/v1/documents/{chance.choice(some)}/content"),
        "patch content": lambda: client.call("PATCH", f"/v1/documents/{chance.choice(some)}/content", append),
        "read content, then put": put,
        "collab token": lambda: client.call("POST", f"/v1/documents/{chance.choice(documents)}/collab-token", {}),
    }


async def steady(works: list[Work], rate: float, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of calls begun at a steady rate, counted from when each was due; and how many were turned away."""
    times: list[float] = []
    limited = 0
    chance = random.Random(2)

    async def one(work: Work, due: float) -> None:
        nonlocal limited
        try:
            await work()
            times.append((time.perf_counter() - due) * 1e3)
        except _Limited:
            limited += 1

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(int(rate * seconds)):
            due = began + n / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(chance.choice(works), due))
    return sorted(times), limited


def at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]


async def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rate", type=float, default=40.0, help="calls a second of the mix; somebody has 50")
    options = arguments.parse_args()
    report = Report("documents", options.json)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    server.start()
    try:
        base, token, workspace, folders, documents = await asyncio.to_thread(ours.recv)
        async with aiohttp.ClientSession(base) as session:
            client = Client(session, token)
            works = kinds(client, workspace, folders, documents)
            for name, work in works.items():
                await timed(work, 10)
                times = await timed(work, CALLS)
                report.row(call=f"{name:28}", p50_ms=statistics.median(times), p95_ms=at(times, 0.95),
                           p99_ms=at(times, 0.99))  # fmt: skip
            times, limited = await steady(list(works.values()), options.rate, 20.0)
            report.row(call=f"{f'mix, {options.rate:g}/s':28}", p50_ms=statistics.median(times),
                       p95_ms=at(times, 0.95), p99_ms=at(times, 0.99))  # fmt: skip
            print(f"{limited} turned away by the rate limit")
            report.aim("p95 of the mix, ms", at(times, 0.95), 50)
    finally:
        ours.send("done")
        server.join(20)
    report.write()


if __name__ == "__main__":
    asyncio.run(main())
