"""One WebSocket: endings that the client hears of, slow readers, fast writers, silence."""

import asyncio
import gc
from typing import Any

import pytest
from fakes import held, masked, turns, typed, until, updates

from relay import closing
from relay.protocol.ywebsocket import step1, step2, update
from relay.server import connection as module
from relay.server.connection import Connection
from relay.yjs.known import Known
from relay.yjs.update import parse

Serve = Any


async def entered(server: Any, name: str = "doc") -> Any:
    client = await server.connect(f"/ws/{name}")
    await client.get()
    return client


async def test_reason_is_heard_over_unread_bytes(serve: Serve) -> None:
    """A client that goes on sending after its mistake still reads why it was closed, and no reset."""
    server = await serve()
    client = await entered(server)
    client.send(b"\7", *[update(typed(1, 0, "x" * 60_000))] * 20)
    assert await client.closed() == (4400, closing.MALFORMED.reason)
    client.raw(masked((4400).to_bytes(2, "big"), 0x88))
    async with asyncio.timeout(10):
        assert await client.reader.read() == b""


async def test_client_closes(serve: Serve) -> None:
    """A client's close is answered with its own code, and the connection ends at once."""
    server = await serve()
    client = await entered(server)
    client.raw(masked((1000).to_bytes(2, "big"), 0x88))
    assert (await client.closed())[0] == 1000
    async with asyncio.timeout(10):
        assert await client.reader.read() == b""
    assert server.counters.closes["1000"] == 1


async def test_client_that_never_agrees(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that neither closes nor reads is let go of after a while."""
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.02)
    server = await serve()
    client = await entered(server)
    client.send(b"\7")
    await client.closed()
    async with asyncio.timeout(10):
        await until(lambda: not server.context.connections)


async def test_text_frame(serve: Serve) -> None:
    """A text frame is 1003."""
    server = await serve()
    client = await entered(server)
    client.raw(masked(b"hello", 0x81))
    assert (await client.closed())[0] == 1003


async def test_unmasked_frame(serve: Serve) -> None:
    """A frame that is not masked is a protocol error."""
    server = await serve()
    client = await entered(server)
    client.raw(b"\x82\x01\x00")
    assert (await client.closed())[0] == 1002


async def test_message_too_big(serve: Serve) -> None:
    """A message over the limit is 1009, before it has all been read."""
    server = await serve(limits={"message": 1000})
    client = await entered(server)
    client.raw(masked(b"x" * 1001)[:10])
    assert (await client.closed())[0] == 1009


async def test_ping(serve: Serve) -> None:
    """A WebSocket ping is answered."""
    server = await serve()
    client = await entered(server)
    client.raw(masked(b"hi", 0x89))
    assert await client.frame() == (0x8A, b"hi")


async def test_silence(serve: Serve) -> None:
    """Who is silent is pinged, who answers stays, who does not is dropped."""
    server = await serve()
    client = await entered(server)
    side = server.socket()
    side.check_alive()
    side.check_alive()
    assert await client.frame() == (0x89, b"")
    client.raw(masked(b"", 0x8A))
    await until(lambda: side._heard)
    side.check_alive()
    side.check_alive()
    side.check_alive()
    async with asyncio.timeout(10):
        await until(lambda: not server.context.connections)


async def test_too_fast(serve: Serve) -> None:
    """A client over its rate is read more slowly; nothing that it sends is lost."""
    server = await serve(limits={"rate_messages": 200, "burst_messages": 20})
    client = await entered(server)
    started = asyncio.get_running_loop().time()
    client.send(*(update(typed(1, clock)) for clock in range(100)))
    await until(lambda: server.registry.rooms["doc"].known.vector() == {1: 100})
    client.send(update(typed(1, 100)))
    await until(lambda: server.registry.rooms["doc"].known.vector() == {1: 101})
    assert asyncio.get_running_loop().time() - started > 0.06
    assert server.counters.errors["throttled"] >= 1


async def test_throttled_then_closed(serve: Serve) -> None:
    """A client that is closed while it is throttled is listened to until it has agreed."""
    server = await serve(limits={"rate_messages": 1, "burst_messages": 1})
    client = await entered(server)
    client.send(*(update(typed(1, clock)) for clock in range(10)))
    await until(lambda: server.counters.errors.get("throttled"))
    server.socket().close(closing.DRAINING)
    assert (await client.closed())[0] == 1001
    client.raw(masked((1001).to_bytes(2, "big"), 0x88))
    async with asyncio.timeout(10):
        assert await client.reader.read() == b""


async def slow(server: Any, size: int) -> Any:
    """A client that does not read, and has been sent more than its socket takes."""
    client = await entered(server)
    author = await entered(server)
    author.send(update(typed(1, 0, "x" * size)))
    await until(lambda: server.counters.slow_readers)
    return client, author


async def test_slow_reader(serve: Serve) -> None:
    """A client that does not read costs a bounded buffer; when it reads again it has everything."""
    server = await serve(limits={"slow_reader": 100_000})
    size = 12_000_000
    client, author = await slow(server, size)
    side = next(iter(server.context.connections))
    before = side.transport.get_write_buffer_size()
    for clock in range(size, size + 50):
        author.send(update(typed(1, clock)))
    client.raw(masked(b"x" * 100, 0x89) * 100)  # and it asks for pongs
    await until(lambda: server.registry.rooms["doc"].known.vector() == {1: size + 50})
    assert side.transport.get_write_buffer_size() <= before
    known = Known()
    while known.vector() != {1: size + 50}:
        for edits in updates(await client.get()):
            known.add(parse(edits))
    await until(lambda: not side.paused)


async def test_slow_reader_is_closed(serve: Serve) -> None:
    """Closing a client that does not read frees what was meant for it at once."""
    server = await serve(limits={"slow_reader": 100_000})
    await slow(server, 12_000_000)
    side = next(iter(server.context.connections))
    side.close(closing.DRAINING)
    async with asyncio.timeout(10):
        await until(lambda: side not in server.context.connections)


async def test_written_after_the_end(serve: Serve) -> None:
    """Whoever still writes to a connection that is gone writes to nobody."""
    server = await serve()
    client = await entered(server)
    side = server.socket()
    client.leave()
    await until(lambda: not server.context.connections)
    side.write(b"late")
    side.close(closing.DONE)


async def test_many_messages_in_one_read(serve: Serve) -> None:
    """Messages that arrive together are handled in order."""
    server = await serve()
    client = await entered(server)
    client.raw(masked(update(typed(1, 0))) + masked(step1(b"\1\1\1")) + masked(update(typed(1, 1))))
    said = await client.get(2)
    assert said[0] == step2(b"\0\0")
    assert held(updates(said)) == {(1, 0), (1, 1)}


@pytest.mark.parametrize("path", ["/ws/doc", "/ws"])
async def test_ended_connections_are_freed_at_once(serve: Serve, path: str) -> None:
    """An ended connection leaves no cycle behind: it is gone without the garbage collector's help."""
    server = await serve()
    witness = await server.connect("/ws/doc")
    await witness.get()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            client = await server.connect(path)
            client.send(b"\1d\0\0\1\0" if path == "/ws" else b"\0\0\1\0")
            await client.get()
            client.leave()
        await until(lambda: len(server.context.connections) == 1)
        await turns()
        assert sum(isinstance(thing, Connection) for thing in gc.get_objects()) == 1
    finally:
        gc.enable()
