"""How many events a second go through the bus, and how long does one take?

    python benchmarks/events.py [--events 100000] [--seconds 10] [--rate 500] [--json FILE]

Everything is on: producers add events to the outbox in transactions of 50, a publisher moves them to Redis Streams and
the event store, a group of one consumer notes each as handled and inserts a row for it. PostgreSQL and Valkey are the
embedded ones, on this machine. Producers and publisher are one process, the consumer another.

First as fast as it goes: from the first event added to the last one handled. Then at a steady rate, one event a
transaction: milliseconds from adding one to the commit that handled it.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from relay import embedded
from relay.bus.outbox import PostgresOutbox, made
from relay.bus.streams import StreamBus
from relay.contracts import Event
from relay.contracts.materi.v1.documents_pb2 import DocumentUpdated
from relay.ids import uuid7

TOGETHER = 50
PRODUCERS = 4


async def consume(database: str, redis: str) -> None:
    """The other process: a row for each event, with the time at which it was handled."""
    pool = await asyncpg.create_pool(database, min_size=1, max_size=6)

    async def project(connection: Any, events: list[Event]) -> None:
        now = time.time()
        await connection.execute(
            "INSERT INTO seen (subject, milliseconds) SELECT * FROM unnest($1::text[], $2::float8[])",
            [event.subject for event in events],
            [now * 1000 - event.time for event in events],
        )

    bus = StreamBus(pool, redis)
    await bus.consume_many("benchmark", ["documents"], project, batch=500)
    await asyncio.Event().wait()


def payload() -> DocumentUpdated:
    return DocumentUpdated(document_id=str(uuid7()), workspace_id=str(uuid7()), changed=["title"], title="Minutes")


async def produce(pool: Any, outbox: PostgresOutbox, events: int) -> None:
    for _ in range(events // TOGETHER):
        batch = [made(update := payload(), subject=update.document_id, actor="ada") for _ in range(TOGETHER)]
        async with pool.acquire() as connection, connection.transaction():
            await outbox.add_many(connection, batch)


async def wait_for(pool: Any, count: int) -> None:
    while await pool.fetchval("SELECT count(*) FROM seen") < count:
        await asyncio.sleep(0.02)


async def run(arguments: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench") as scratch:
        own = await embedded.start(Path(scratch, "data"), postgres=True, valkey=True)
        try:
            return await measure(own, arguments)
        finally:
            await own.stop()


async def measure(own: embedded.Embedded, arguments: argparse.Namespace) -> dict[str, float]:
    pool = await asyncpg.create_pool(own.database_url, min_size=2, max_size=10)
    bus = StreamBus(pool, own.redis_url)
    await bus.start()
    await pool.execute("CREATE TABLE seen (subject text, milliseconds float8)")
    command = [sys.executable, __file__, "--consume", own.database_url, own.redis_url]
    consumer = subprocess.Popen(command)
    try:
        while not await pool.fetchval("SELECT count(*) FROM bus.consumer WHERE replay IS NULL"):
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        await asyncio.gather(*(produce(pool, bus.outbox, arguments.events // PRODUCERS) for _ in range(PRODUCERS)))
        added = time.perf_counter() - began
        total = arguments.events // PRODUCERS // TOGETHER * TOGETHER * PRODUCERS
        await wait_for(pool, total)
        seconds = time.perf_counter() - began
        assert await pool.fetchval("SELECT count(DISTINCT subject) FROM seen") == total
        assert await pool.fetchval("SELECT count(*) FROM bus.event") == total
        await pool.execute("TRUNCATE seen")
        sent = 0
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < arguments.seconds:
            while sent < elapsed * arguments.rate:
                async with pool.acquire() as connection, connection.transaction():
                    update = payload()
                    await bus.outbox.add(connection, update, subject=update.document_id)
                sent += 1
            await asyncio.sleep(0.001)
        await wait_for(pool, sent)
        late = sorted(row[0] for row in await pool.fetch("SELECT milliseconds FROM seen"))
        return {
            "events": total,
            "added_per_second": round(total / added),
            "handled_per_second": round(total / seconds),
            "rate": round(sent / arguments.seconds),
            "p50_ms": round(statistics.median(late), 1),
            "p95_ms": round(late[int(len(late) * 0.95)], 1),
            "p99_ms": round(late[int(len(late) * 0.99)], 1),
        }
    finally:
        consumer.kill()
        consumer.wait()
        await bus.close()
        await pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--consume", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.consume:
        uvloop.run(consume(*arguments.consume))
        return
    figures = uvloop.run(run(arguments))
    for name, value in figures.items():
        print(f"{name:20} {value:>10,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
