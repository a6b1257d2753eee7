"""Rooms that are not empty: the document is uploaded by a client before the others come."""

import time

from benchmarks.compare.documents import by_many, typed
from benchmarks.compare.order import Order
from benchmarks.compare.scenarios import Scenario
from benchmarks.compare.swarm import Client, Swarm
from benchmarks.compare.tokens import tokens
from benchmarks.compare.updates import ranges_in

__all__ = ["Document", "document_of", "one_joins", "preload"]


class Document:
    """An update, and which clients' clocks are in it."""

    def __init__(self, update: bytes) -> None:
        self.update = update
        self.covers = {client: end for client, _, end in ranges_in(update)}


def document_of(scenario: Scenario) -> Document:
    """The one that is in its rooms."""
    return Document(typed()[0] if scenario.document == "paper" else by_many(1_000_000, 10_000))


def preload(swarm: Swarm, client: Client, document: Document) -> None:
    """The client uploads a document; return when a newcomer is given all of it. Raises TimeoutError."""
    swarm.say(client, swarm.codec.edit(document.update))
    swarm.run(time.monotonic() + 0.5)
    for _ in range(40):
        probe = Client("", client.prefix, client.path, "", swarm.faults)
        probe.token, probe.covered = client.token, {}
        swarm.connect_all([probe])
        swarm.drop(probe)
        if probe.covered == document.covers:
            return
        swarm.run(time.monotonic() + 0.2)
    raise TimeoutError("the document did not get there whole")


def one_joins(order: Order, room: str) -> None:
    """So that what a server loads with its first room is there."""
    with Swarm(order.target, 0) as swarm:
        swarm.connect_all([swarm.client(room, next(tokens(order.key, 1)))])
    time.sleep(0.5)
