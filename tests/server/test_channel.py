"""Names of documents, and what waits in front of them."""

import asyncio
from typing import Any

import pytest
from fakes import typed, until

from relay import closing
from relay.errors import Deny, Unavailable
from relay.protocol.messages import Presence, QueryPresence, Step1, Update
from relay.protocol.ywebsocket import step1, update
from relay.server.channel import room_id, weight

Serve = Any


@pytest.mark.parametrize("name", ["a", "a/b", "café", "x" * 512, "é" * 256, "a b", "\u00a0", "🚀"])
def test_name(name: str) -> None:
    """1 to 512 bytes of anything that can be seen or is space."""
    assert room_id(name) == name


@pytest.mark.parametrize("name", ["", "x" * 513, "é" * 257, "a\nb", "a\0b", "\x7f", "\x85", "\ud800"])
def test_no_name(name: str) -> None:
    """Empty, too long, with control characters or half characters: 4404."""
    with pytest.raises(Deny) as denied:
        room_id(name)
    assert denied.value.code == closing.NOT_FOUND.code


@pytest.mark.parametrize(
    ("message", "size"), [(Update(b"abc", False), 3), (Step1(b"ab"), 2), (Presence(b"a"), 1), (QueryPresence(), 0)]
)
def test_weight(message: Any, size: int) -> None:
    """A waiting message weighs what it holds."""
    assert weight(message) == size


async def test_too_much_behind_a_large_update(serve: Serve) -> None:
    """What a client may say while its large update is read is bounded."""
    server = await serve(limits={"message": 50_000})
    server.codec.gate = asyncio.Event()
    client = await server.connect("/ws/doc")
    await client.get()
    client.send(update(typed(1, 0, "x" * 20_000)))
    await until(lambda: server.codec.jobs)
    client.send(*[update(typed(2, 0, "x" * 10_000))] * 6)
    assert (await client.closed())[0] == closing.RESET.code
    server.codec.gate.set()


async def test_broken_update_behind_a_large_one(serve: Serve) -> None:
    """A mistake that waited behind a large update is a mistake when its turn comes; what was before it counts."""
    server = await serve()
    server.codec.gate = asyncio.Event()
    client = await server.connect("/ws/doc")
    await client.get()
    client.send(update(typed(1, 0, "x" * 20_000)), update(b"\1\1\1"))
    await until(lambda: server.codec.jobs)
    server.codec.gate.set()
    assert (await client.closed())[0] == 4400
    assert server.registry.rooms["doc"].known.vector() == {1: 20_000}


async def test_codec_stops(serve: Serve) -> None:
    """A codec that is stopping sends the client elsewhere, and does not call its bytes broken."""
    server = await serve()
    server.codec.failing = Unavailable("the codec pool is closed")
    client = await server.connect("/ws/doc")
    await client.get()
    client.send(update(typed(1, 0, "x" * 20_000)))
    assert (await client.closed())[0] == closing.OVERLOADED.code


async def test_part_of_a_large_document(serve: Serve) -> None:
    """A joiner that has part of a large document gets the rest, through a codec process, in its order."""
    server = await serve()
    client = await server.connect("/ws/doc")
    client.send(update(typed(1, 0, "x" * 20_000)))
    await client.get(2)
    room = server.registry.rooms["doc"]
    await server.registry.compactor.snapshot(room, rest=True)
    client.send(step1(b"\1\1\x10"), update(typed(1, 20_000)))
    said = await client.get(2)
    assert said[0][:2] == b"\0\1"
    assert "diff" in server.codec.jobs
