"""`relay rooms where`, asked of relays that are there only as far as they answer."""

import argparse
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from relay.cli.services import Services
from relay.cli.where import where
from relay.room.where import WHO, Holder
from relay.shard.cluster import Cluster, NodeInfo
from relay.shard.redis import RedisChannels
from relay.tasks import spawn
from relay.types import NodeId, RoomId

ROOM = RoomId("where/ä")
INFO = NodeInfo(NodeId("w1"), "one", 7, None, "1.0", 1.0, 8080, "https://one.example", 3, 2, False)


@pytest.fixture
async def services(own_valkey: Any) -> AsyncIterator[Services]:
    """Two relays, one of which has the room."""
    nothing: Any = None

    async def answer(said: bytes) -> None:
        if said == WHO:
            await channels.tell(ROOM, Holder(INFO.id, True, 3, "9:1-0", 2).encode())

    def heard(room: RoomId, node: NodeId, said: bytes) -> None:
        spawn("answer", answer(said))

    channels = RedisChannels(own_valkey.url, INFO.id, heard)
    await channels.listen(ROOM)
    clusters = [Cluster(own_valkey.url, f"test-{number}") for number in range(2)]
    infos = [INFO, replace(INFO, id=NodeId("w2"), host="two", worker=1, url="", draining=True)]
    for cluster, info in zip(clusters, infos):
        cluster.start(lambda info=info: info)  # type: ignore[misc]
        await cluster.say()
    yield Services(nothing, nothing, nothing, own_valkey.url)
    for cluster in clusters:
        await cluster.close()
    await channels.close()


def asked(room: str | None, json: bool = False) -> argparse.Namespace:
    return argparse.Namespace(room=room, json=json)


async def test_nodes(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name: every relay, where it is, what it carries, and all of them together."""
    assert await where(services, asked(None)) == 0
    head, one, two, total = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["node", "at", "version", "started", "connections", "rooms"]
    assert one == ["w1", "https://one.example", "1.0", "1970-01-01", "00:00:01Z", "3", "2"]
    assert two == ["w2", "two:8080", "worker", "1", "1.0", "1970-01-01", "00:00:01Z", "3", "2", "draining"]
    assert total == ["all", "6", "4"]
    await where(services, asked(None, json=True))
    assert [node["id"] for node in json.loads(capsys.readouterr().out)] == ["w1", "w2"]


async def test_room(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    """With a name: who has it open, with how many clients, up to where, and who is home."""
    assert await where(services, asked(ROOM)) == 0
    _, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert row == ["w1", "https://one.example", "3", "2", "9:1-0", "home"]
    await where(services, asked(ROOM, json=True))
    said = json.loads(capsys.readouterr().out)
    assert said["nodes"] == [
        {"node": "w1", "home": True, "clients": 3, "position": "9:1-0", "unsaved": 2, "digest": ""}
    ]
    await where(services, asked("another"))
    assert capsys.readouterr().out == "another is open in no relay\n"
