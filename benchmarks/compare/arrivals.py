"""Clients that come, stay, and come back; documents that a server holds."""

import time
from typing import Any

from benchmarks.compare.documents import by_many
from benchmarks.compare.figures import latencies, memory, used
from benchmarks.compare.machine import Moment, family, memory_of
from benchmarks.compare.order import Order
from benchmarks.compare.preload import Document, document_of, one_joins, preload
from benchmarks.compare.swarm import Client, Swarm
from benchmarks.compare.tokens import tokens

__all__ = ["come_back", "hold", "idle", "join"]

SETTLE = 2.0
"""Seconds in which a server may store the document that it was given, before others come for it."""


def idle(order: Order) -> dict[str, Any]:
    """Connect, and hold; memory as their number grows."""
    scenario = order.scenario
    with Swarm(order.target, 0) as swarm:
        signed = tokens(order.key, scenario.rooms * scenario.clients)
        named = [swarm.client(f"idle-{order.seed}-{n % scenario.rooms}", next(signed))
                 for n in range(scenario.rooms * scenario.clients)]  # fmt: skip
        one_joins(order, f"first-{order.seed}")
        before = memory(order.pid)
        steps = []
        began = Moment(order.pid)
        for start, end in zip((0, *scenario.sizes), scenario.sizes):
            swarm.connect_all(named[start:end], at_once=scenario.at_once)
            held = memory(order.pid)
            steps.append({"connections": end, "mb": (held[1] - before[1]) / 1e6, "own_mb": (held[0] - before[0]) / 1e6})
        usage = Moment(order.pid).since(began)
        swarm.run(time.monotonic() + 1.0)
        quiet = Moment(order.pid)
        swarm.run(time.monotonic() + order.seconds)
        rest = Moment(order.pid).since(quiet)
        held = memory(order.pid)
        lost = swarm.faults
    each = len(named)
    return used(usage, each) | {
        "per_connection_kb": (held[1] - before[1]) / each / 1024, "steps": steps, "faults": str(lost),
        "own_per_connection_kb": (held[0] - before[0]) / each / 1024, "idle_ms_per_s": rest.all / rest.seconds * 1e3,
    }  # fmt: skip


def join(order: Order) -> dict[str, Any]:
    """Join a room with a document, `at_once` at a time, and leave when all of it is here."""
    scenario = order.scenario
    document = document_of(scenario)
    with Swarm(order.target, 0) as swarm:
        signed = tokens(order.key, scenario.joins + 1)
        room = f"join-{order.seed}"
        author = swarm.client(room, next(signed))
        swarm.connect_all([author])
        preload(swarm, author, document)
        swarm.run(time.monotonic() + SETTLE)
        took: list[float] = []
        short = 0
        there: list[Client] = []

        def here(client: Client) -> None:
            took.append(client.synced - client.started)
            there.append(client)

        began = Moment(order.pid)
        left, active = scenario.joins, 0
        ends = time.monotonic() + 60
        while left or active:
            while left and active < scenario.at_once:
                client = swarm.client(room, next(signed))
                client.covered, client.on_synced = {}, here
                swarm.connect(client)
                left, active = left - 1, active + 1
            swarm.poll(ends)
            for client in there:
                active -= 1
                short += client.covered != document.covers
                swarm.drop(client)
            there.clear()
            if swarm.faults.cut_off or time.monotonic() > ends:
                raise TimeoutError(f"{len(took)} of {scenario.joins} joined; faults: {swarm.faults}")
        usage = Moment(order.pid).since(began)
        faults = swarm.faults
        faults.lost += short
        held = memory_of(family(order.pid)) if order.pid else 0
    return used(usage, scenario.joins) | latencies(took) | {"memory_mb": held / 1e6, "faults": str(faults)}


def come_back(order: Order) -> dict[str, Any]:
    """All are cut off, and come back at once."""
    scenario = order.scenario
    with Swarm(order.target, 0) as swarm:
        signed = tokens(order.key, scenario.rooms * scenario.clients)
        clients = [swarm.client(f"return-{order.seed}-{n % scenario.rooms}", next(signed))
                   for n in range(scenario.rooms * scenario.clients)]  # fmt: skip
        swarm.connect_all(clients)
        swarm.run(time.monotonic() + 0.5)
        began = Moment(order.pid)
        for client in clients:
            swarm.drop(client)
        swarm.connect_all(clients, at_once=scenario.at_once)
        usage = Moment(order.pid).since(began)
        faults = swarm.faults
    took = [client.synced - client.started for client in clients]
    return used(usage, len(clients)) | latencies(took) | {"faults": str(faults)}


def hold(order: Order) -> dict[str, Any]:
    """Documents of several sizes, each in a room with one client; what the server holds more with each."""
    steps = []
    with Swarm(order.target, 0) as swarm:
        signed = tokens(order.key, 2 * len(order.scenario.sizes))
        one_joins(order, f"first-{order.seed}")
        began = Moment(order.pid)
        for number, size in enumerate(order.scenario.sizes):
            before = memory(order.pid)
            client = swarm.client(f"hold-{order.seed}-{number}", next(signed))
            swarm.connect_all([client])
            document = Document(by_many(size, max(1, size // 4000)))
            preload(swarm, client, document)
            reader = swarm.client(f"hold-{order.seed}-{number}", next(signed))
            reader.covered = {}
            swarm.connect_all([reader])
            swarm.faults.lost += reader.covered != document.covers
            swarm.drop(reader)
            swarm.run(time.monotonic() + 1.0)
            held = memory(order.pid)
            steps.append({"bytes": len(document.update), "mb": (held[1] - before[1]) / 1e6,
                          "own_mb": (held[0] - before[0]) / 1e6})  # fmt: skip
        usage = Moment(order.pid).since(began)
        faults = swarm.faults
    held_per_byte = sum(step["mb"] for step in steps) * 1e6 / sum(step["bytes"] for step in steps)
    return used(usage, len(order.scenario.sizes)) | {
        "steps": steps, "held_per_byte": held_per_byte, "faults": str(faults)
    }  # fmt: skip
