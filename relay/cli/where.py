"""`relay rooms where`: which relays there are, or which of them have a document open."""

import argparse
import secrets
from dataclasses import asdict
from functools import partial

from relay.cli import output
from relay.cli.services import Services
from relay.room.where import Holder, who_has
from relay.shard.cluster import Cluster, NodeInfo
from relay.shard.redis import RedisChannels
from relay.types import NodeId, RoomId

__all__ = ["where"]


async def where(services: Services, arguments: argparse.Namespace) -> int:
    """Write what the relays say; the exit status. Raises Unavailable."""
    asker = NodeId(f"command-{secrets.token_hex(4)}")
    cluster = Cluster(services.redis_url, f"materi-cluster-{asker}")
    try:
        with output.progress("asking"):
            nodes = await cluster.nodes()
            holders = None
            if arguments.room is not None:
                holders = await who_has(partial(RedisChannels, services.redis_url, asker), arguments.room)
    finally:
        await cluster.close()
    if holders is None:
        _write_nodes(nodes, arguments.json)
    else:
        _write_holders(arguments.room, holders, {node.id: node for node in nodes}, arguments.json)
    return 0


def _write_nodes(nodes: list[NodeInfo], json: bool) -> None:
    if json:
        output.print_json([asdict(node) for node in nodes])
        return
    if not nodes:
        print("no relay is running here")
        return
    rows = [
        (
            str(node.id),
            _place(node),
            node.version,
            output.date(node.started),
            str(node.connections),
            str(node.rooms),
            "draining" if node.draining else "",
        )
        for node in nodes
    ]
    connections, rooms = sum(node.connections for node in nodes), sum(node.rooms for node in nodes)
    rows.append(("all", "", "", "", str(connections), str(rooms), ""))
    print(output.table(("node", "at", "version", "started", "connections", "rooms", ""), rows))


def _write_holders(room: RoomId, holders: list[Holder], nodes: dict[NodeId, NodeInfo], json: bool) -> None:
    if json:
        output.print_json({"room": room, "nodes": [asdict(holder) for holder in holders]})
        return
    if not holders:
        print(f"{room} is open in no relay")
        return
    rows = [
        (
            holder.node,
            _place(nodes[holder.node]) if holder.node in nodes else "",
            str(holder.clients),
            str(holder.unsaved),
            holder.position or "-",
            "home" if holder.home else "",
        )
        for holder in holders
    ]
    print(output.table(("node", "at", "clients", "unsaved", "position", ""), rows))


def _place(node: NodeInfo) -> str:
    where = node.url or f"{node.host}:{node.port}"
    return f"{where} worker {node.worker}" if node.worker is not None else where
