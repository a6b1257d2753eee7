"""Hints reach every relay, on one server and on a cluster."""

import asyncio
from typing import Any

import pytest
from fakes import until

from relay.control import Control, Recheck, hint
from relay.errors import Unavailable
from relay.types import NodeId, RoomId


@pytest.mark.parametrize("server", ["valkey", "cluster"])
async def test_hint(request: pytest.FixtureRequest, server: str) -> None:
    """Whoever listens looks at the rooms named from then on, in order, and again where a store was away."""
    url: Any = request.getfixturevalue(server).url
    looked: list[RoomId] = []
    failing = [True]

    async def check(room: RoomId) -> None:
        looked.append(room)
        if failing and failing.pop():
            raise Unavailable("the store is away")

    rechecked: list[Recheck] = []
    await hint(url, RoomId("before"))
    relays = [Control(url, NodeId(name), check, rechecked.append) for name in ("ada", "bob")]
    for relay in relays:
        await relay.start()
    for name in ("one", "two {é}"):
        await hint(url, RoomId(name))
    await until(lambda: len(looked) == 5)
    assert sorted(looked) == ["one", "one", "one", "two {é}", "two {é}"]
    await asyncio.gather(*(relay.close() for relay in relays))


async def test_nobody_to_tell() -> None:
    """Without a server a hint says so."""
    with pytest.raises(Unavailable):
        await hint("redis+cluster://127.0.0.1:1", RoomId("room"))
