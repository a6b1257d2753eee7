"""The bus while its processes are killed: real ones, kill -9."""

import asyncio
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from relay.bus.outbox import made
from relay.bus.streams import StreamBus
from relay.contracts import TOPICS
from relay.contracts.materi.v1.documents_pb2 import DocumentUpdated
from relay.journal.address import Address

pytestmark = pytest.mark.slow

PROCESS = """
import asyncio, sys
import asyncpg
from relay.bus.consumer import Retries
from relay.bus.streams import StreamBus

async def main(database, redis):
    pool = await asyncpg.create_pool(database, min_size=1, max_size=5)
    async def handle(connection, event):
        await connection.execute("INSERT INTO tried VALUES ($1)", event.subject)
        await connection.execute("INSERT INTO effect VALUES ($1)", event.subject)
        await asyncio.sleep(0.002)
    bus = StreamBus(pool, redis, retries=Retries(attempts=50, patience=1.0))
    await bus.start()
    await bus.consume("g", ["documents"], handle)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.timeout(300)
async def test_consumers_and_publishers_killed(valkey: Any, postgres: str) -> None:
    """Three processes that publish and consume are killed again and again under load: every event is stored once, and
    handled once in effect."""
    client = Address(valkey.url).client("test", 5.0)
    await client.delete(*(f"materi:events:{topic}" for topic in TOPICS))
    await client.aclose()
    pool = await asyncpg.create_pool(postgres, min_size=1, max_size=4)
    await pool.execute("CREATE TABLE tried (subject text); CREATE TABLE effect (subject text)")
    bus = StreamBus(pool, valkey.url)
    await bus.start(publish=False)
    await bus.groups.register("g", ["documents"])
    command = [sys.executable, "-c", PROCESS, postgres, valkey.url]
    start: Callable[[], subprocess.Popen[bytes]] = lambda: subprocess.Popen(command)  # noqa: E731
    processes = [start() for _ in range(3)]
    subjects = [f"d{n}" for n in range(6000)]

    async def produce() -> None:
        for at in range(0, len(subjects), 10):
            events = [made(DocumentUpdated(title="t"), subject=subject) for subject in subjects[at : at + 10]]
            async with pool.acquire() as connection, connection.transaction():
                await bus.outbox.add_many(connection, events)
            await asyncio.sleep(0.02)

    try:
        producing = asyncio.ensure_future(produce())  # noqa: TID251
        kills = 0
        while not producing.done():
            await asyncio.sleep(random.uniform(0.3, 0.9))
            victim = random.randrange(3)
            processes[victim].kill()
            processes[victim].wait()
            processes[victim] = start()
            kills += 1
        await producing
        async with asyncio.timeout(200):
            while await pool.fetchval("SELECT count(DISTINCT subject) FROM effect") < len(subjects):
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    rows = await pool.fetch("SELECT subject, count(*) FROM effect GROUP BY 1")
    assert {row[0]: row[1] for row in rows} == dict.fromkeys(subjects, 1)
    assert await pool.fetchval("SELECT count(*) FROM bus.event") == len(subjects)
    assert await pool.fetchval("SELECT count(DISTINCT id) FROM bus.event") == len(subjects)
    assert await pool.fetchval("SELECT count(*) FROM bus.dead_letter") == 0
    assert kills >= 10
    await bus.close()
    await pool.close()
