"""The measurements behind the formulas: on relays of our own, each with its own PostgreSQL and Valkey."""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio
import uvloop

from benchmarks import database_growth
from benchmarks._client import Client
from benchmarks._document import document
from benchmarks._relay import Relay, cpu_seconds
from benchmarks.compare.machine import family
from benchmarks.compare.measurement import ROOT, Bench, failed
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.servers import CACHE, SERVERS, Given, Running
from relay import embedded
from relay.codec.pool import CodecPool
from relay.journal.memory import MemoryJournal
from relay.journal.redis import RedisJournal
from relay.metrics import Counters
from relay.room.registry import Registry
from relay.room.room import Limits
from relay.snapshot.postgres import PostgresSnapshotStore
from relay.types import Actor, Edit, NodeId, RoomId

__all__ = ["edits_and_cursors", "idle_connections", "idle_rooms", "joins", "journal_memory", "snapshots"]

LONE = tuple(
    Scenario(f"lone {size}", "", clients=size, writers=2, rate=rate)
    for size, rate in ((2, 60), (10, 60), (50, 50), (200, 25), (500, 20))
)
BUSY = tuple(
    Scenario(f"busy {rooms}x{size}", "", rooms=rooms, clients=size, writers=2, rate=rate)
    for rooms, size, rate in ((100, 2, 3000), (60, 5, 2500), (40, 10, 2000), (10, 50, 600), (3, 200, 150), (1, 500, 60))
)
MERGED = tuple(
    Scenario(f"merged {rooms}x{size}, {writers} write", "", "closed", rooms=rooms, clients=size, writers=writers,
             window=4)
    for rooms, size, writers in ((20, 10, 5), (1, 50, 10), (1, 200, 20))
)  # fmt: skip
CURSORS = tuple(
    Scenario(f"cursors {rooms}x{size}", "", "cursors", rooms=rooms, clients=size, writers=size, rate=rate)
    for rooms, size, rate in ((100, 2, 2000), (40, 10, 1500), (1, 50, 250), (4, 50, 800), (1, 200, 150))
)
SIZES = ((10_000, 20), (100_000, 20), (1_000_000, 8), (4_000_000, 4))
_SAMPLE = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)


def _metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return {name: float(value) for name, value in _SAMPLE.findall(answer.read().decode())}


def _named(pids: list[int], word: str) -> list[int]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if word in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(pid)
    return found


def edits_and_cursors(server_cores: frozenset[int], load_cores: frozenset[int], seconds: float) -> list[dict[str, Any]]:
    """Rooms of several sizes, alone and many, merging and not. Everything on, tokens too; one relay for all."""
    bench = Bench(CACHE, server_cores, load_cores, seconds, warmup=0.7, prewarm=0.0, quiet=1.0)
    warm = Bench(CACHE, server_cores, load_cores, 0.5, prewarm=2.0, quiet=0.0)
    found = []
    with Running(SERVERS["relay"], CACHE, set(server_cores)) as running:
        given = Given(f"ws://127.0.0.1:{running.target.port}/ws/{{room}}", running.pid, running.key)
        warm.measure(LONE[0], given)
        for scenario in LONE + BUSY + MERGED + CURSORS:
            valkey = _named(family(running.pid), "valkey")
            before, cpu = _metrics(running.target.port), cpu_seconds(valkey)
            result = bench.measure(scenario, given)
            after, cpu = _metrics(running.target.port), cpu_seconds(valkey) - cpu
            if why := failed(result):
                raise SystemExit(f"{scenario.name}: {why}")
            grown = {name: after[name] - before.get(name, 0.0) for name in after}
            flushes = grown["relay_edits_per_frame_count"]
            readers = scenario.clients - (scenario.kind != "cursors")
            made = result["count"] / readers  # edits that reached everybody
            if scenario.kind == "cursors":  # several moves of one cursor may leave as one
                made = result["sent"]
            row = {
                "name": scenario.name, "kind": scenario.name.split()[0], "size": scenario.clients,
                "own_us": result["own_cpu_us"] * result["count"] / made, "per_reader_us": result["own_cpu_us"],
                "per_flush": grown["relay_edits_in_total"] / flushes if flushes else 1.0,
                "valkey_us": cpu / flushes * 1e6 if flushes else 0.0,
                "entries_per_s": flushes / (seconds + 0.7),
                "frame_bytes": grown["relay_bytes_out_total"] / max(1.0, grown["relay_frames_out_total"]),
                "busy": result["own_cpu_us"] * result["count"] / 1e6 / result["seconds"], "others": result["others"],
                "p95_ms": result["p95_ms"],
            }  # fmt: skip
            found.append(row)
            print(f"{scenario.name:24} {row['own_us']:9.1f} µs  {row['per_reader_us']:7.2f} µs a reader  "
                  f"{row['per_flush']:5.1f} a flush  valkey {row['valkey_us']:6.1f} µs an entry  "
                  f"{row['busy']:4.0%} busy  others {row['others']:.2f}", flush=True)  # fmt: skip
    return found


def joins(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[dict[str, Any]]:
    """Joins of documents of so many bytes, so many of them: from PostgreSQL, and when they are loaded."""
    with Relay("--snapshot-idle", "0.2s") as relay:
        uvloop.run(_upload(relay, sizes))
        relay.restart("--idle-unload", "1h")
        return uvloop.run(_joins(relay, sizes))


async def _upload(relay: Relay, sizes: tuple[tuple[int, int], ...]) -> None:
    for size, count in sizes:
        for number in range(count):
            author = await Client.connect(relay.port, f"{size}-{number}")
            await author.synced
            author.update(document(size, 10, 1000 * (number + 1)))
            await author.saved()
            author.leave()


async def _joins(relay: Relay, sizes: tuple[tuple[int, int], ...]) -> list[dict[str, Any]]:
    first = await Client.connect(relay.port, "warm-up")
    await first.synced
    postgres = _named(list(relay.below()), "postgres")
    found = []
    for size, count in sizes:
        for kind, times in (("cold", 1), ("warm", 4)):
            await asyncio.sleep(0.2)
            own, theirs, held = cpu_seconds([relay.pid]), cpu_seconds(postgres), relay.rss()
            took, received = [], 0
            for number in range(count * times):
                started = time.perf_counter()
                client = await Client.connect(relay.port, f"{size}-{number % count}")
                took.append(await client.synced - started)
                received += client.received
                client.leave()
            await asyncio.sleep(0.05)
            own, theirs = cpu_seconds([relay.pid]) - own, cpu_seconds(postgres) - theirs
            joined = count * times
            found.append({"kind": kind, "kb": received / joined / 1e3, "own_us": own / joined * 1e6,
                          "postgres_us": theirs / joined * 1e6, "ms": sorted(took)[joined // 2] * 1e3,
                          "held_per_byte": (relay.rss() - held) / received})  # fmt: skip
            print(f"join {kind} {size / 1e6:5.2f} MB {found[-1]['own_us']:9.0f} µs", flush=True)
    return found


def idle_connections(count: int = 2000, keepalive: int = 2, seconds: float = 8.0) -> dict[str, float]:
    """Memory of a connection that says nothing, and the CPU of a ping and its answer."""
    with Relay("--keepalive", f"{keepalive}s") as relay:
        return uvloop.run(_idle(relay, count, seconds))


async def _idle(relay: Relay, count: int, seconds: float) -> dict[str, float]:
    async def connect(number: int) -> list[Client]:
        made = [await Client.connect(relay.port, f"room-{index // 10}") for index in range(number)]
        await asyncio.gather(*(client.synced for client in made))
        return made

    some = await connect(100)
    await asyncio.sleep(1)
    before, rooms, cpu = relay.rss(), len(some) // 10, cpu_seconds([relay.pid])
    more = await connect(count)
    cpu = cpu_seconds([relay.pid]) - cpu
    await asyncio.sleep(0.5)
    held = relay.rss() - before
    clients = some + more
    heard, used = sum(client.received for client in clients), cpu_seconds([relay.pid])
    await asyncio.sleep(seconds)
    pings = (sum(client.received for client in clients) - heard) / 2  # a ping has two bytes
    used = cpu_seconds([relay.pid]) - used
    for client in clients:
        client.leave()
    if not pings:
        raise SystemExit("no client was pinged")
    return {"kb": held / count / 1e3, "connect_us": cpu / count * 1e6, "ping_us": used / pings * 1e6,
            "pings": pings, "rooms": (count // 10) - rooms}  # fmt: skip


def idle_rooms(rooms: int = 3000) -> dict[str, float]:
    """Memory of a room without anybody, beside its document; and how often the loop works for them."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rooms.json"
        command = [sys.executable, "benchmarks/idle_rooms.py", "--rooms", str(rooms), "--json", str(path)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)})
        row = json.loads(path.read_text())["rows"][0]
    return {"kb": row["KB_a_room_beside_its_document"], "open_us": row["μs_of_CPU_to_open"],
            "cpu_ms_per_s": row["CPU_at_rest"] * 1e3, "rooms": rooms}  # fmt: skip


async def _journal_memory(rooms: int = 200, entries: int = 100) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="relay-model-") as directory:
        async with await embedded.start(Path(directory) / "data", postgres=False, valkey=True) as own:
            journal = RedisJournal(own.redis_url, NodeId("model"))
            await journal.start()
            client = redis.asyncio.Redis.from_url(own.redis_url)

            async def look() -> tuple[int, int]:
                info = await client.info()
                return info["used_memory"], info["aof_current_size"]

            names = [RoomId(f"team/document-{number}") for number in range(rooms)]
            begun = await look()
            epochs = [(await journal.open(name, None)).epoch for name in names]
            opened = await look()
            loop = asyncio.get_running_loop()
            source = database_growth.Author(random.Random(3))
            typed = 0
            for _ in range(entries):
                waiting = []
                for name, epoch in zip(names, epochs):
                    answer: asyncio.Future[Any] = loop.create_future()
                    update = source.key()
                    typed += len(update)
                    journal.append(name, epoch, [Edit(Actor("ann"), update)], answer.set_result)
                    waiting.append(answer)
                await asyncio.gather(*waiting)
            await asyncio.sleep(1.2)  # the append-only file is synced every second
            full = await look()
            await client.aclose()
            await journal.close()
    count = rooms * entries
    return {"entry_bytes": (full[0] - opened[0]) / count, "aof_bytes": (full[1] - opened[1]) / count,
            "stream_bytes": (opened[0] - begun[0]) / rooms, "update_bytes": typed / count}  # fmt: skip


def journal_memory() -> dict[str, float]:
    """What an entry takes in Redis's memory and its append-only file, and a room's stream that is empty."""
    return uvloop.run(_journal_memory())


async def _snapshots(keys: int, rooms: int, sittings: int, bursts: int) -> dict[str, float]:
    options = argparse.Namespace(page=20_000, bursts=bursts, keys=keys)
    counters = Counters()
    codec = CodecPool(1, counters)
    with tempfile.TemporaryDirectory(prefix="relay-model-") as directory:
        Path(directory).chmod(0o755)
        async with await embedded.start(Path(directory) / "data", postgres=True, valkey=False) as own:
            store = await PostgresSnapshotStore.connect(own.database_url)
            connection = await asyncpg.connect(own.database_url)
            written = database_growth.Written(store)
            journal = MemoryJournal(NodeId("model"))
            registry = Registry(NodeId("model"), journal, store, codec, counters, Limits())
            day = database_growth.Day(registry, journal, options)
            names = [RoomId(f"team/document-{number}") for number in range(rooms)]
            await asyncio.gather(*(day.begin(name) for name in names[::3]))
            await asyncio.gather(*(day.sit(name) for name in names))
            before, stores, typed = await database_growth.look(connection), written.stores, day.typed
            postgres, codecs = _servers()
            cpu, coded = cpu_seconds(postgres), cpu_seconds(codecs)
            await asyncio.gather(*(day.sit(name) for _ in range(sittings) for name in names))
            now = await database_growth.look(connection)
            cpu, coded = cpu_seconds(postgres) - cpu, cpu_seconds(codecs) - coded
            await connection.close()
            await store.close()
    await codec.close()
    stores, typed = written.stores - stores, day.typed - typed
    kept = now.live + now.blocks - before.live - before.blocks
    return {"keys": keys, "stores": stores, "bytes_per_store": typed / stores, "postgres_us": cpu / stores * 1e6,
            "codec_us": coded / stores * 1e6, "wal": (now.wal - before.wal) / stores,
            "kept_per_byte": kept / typed}  # fmt: skip


def _servers() -> tuple[list[int], list[int]]:
    below = family(os.getpid())[1:]
    return _named(below, "postgres"), _named(below, "relay.codec.worker")


def snapshots() -> list[dict[str, float]]:
    """What PostgreSQL and the codec process do for a stored segment, by how much was typed in between."""
    found = []
    for keys, bursts in ((10, 20), (60, 8), (300, 3)):
        found.append(uvloop.run(_snapshots(keys, 24, 2, bursts)))
        row = found[-1]
        print(f"store of {row['bytes_per_store']:7.0f} bytes typed: PostgreSQL {row['postgres_us']:6.0f} µs, "
              f"WAL {row['wal']:7.0f} bytes, codec {row['codec_us']:6.0f} µs, kept {row['kept_per_byte']:.2f}/byte",
              flush=True)  # fmt: skip
    return found
