"""Clients that read nothing, say nothing, or never finish their first sentence: the others do not notice."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from relay_process import Relay
from typists import Typist, percentile, spelled, uint, until

MEGABYTE = 1 << 20


def cursor(client: int, clock: int, size: int) -> bytes:
    """An awareness message with one state of about `size` bytes."""
    state = b'{"cursor":"' + b"x" * size + b'"}'
    update = b"\1" + uint(client) + uint(clock) + uint(len(state)) + state
    return b"\1" + uint(len(update)) + update


async def reader_stops(relays: Callable[..., Relay], seconds: float, turns: int) -> None:
    """In each of `turns`, a few keystrokes and 16 KB of presence go past readers that read nothing for `seconds`.

    Presence, because it leaves nothing behind: what memory grows by, the sleepers cost.
    """
    relay = relays()
    a = await Typist.join(relay.port, "busy", 2)
    b = await Typist.join(relay.port, "busy", 3, watch=[a])
    sleepers = [await Typist.join(relay.port, "busy", 4 + n, hocuspocus=bool(n)) for n in range(2)]
    for sleeper in sleepers:
        sleeper.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sleeper.transport.pause_reading()
    sleepers[1].type(20)  # what it types meanwhile counts, and is acknowledged once it reads again
    before = most = relay.rss()
    c = await Typist.join(relay.port, "busy", 9)
    started = time.monotonic()
    for turn in range(turns):
        c.say(cursor(9, turn + 1, 16384))
        a.type(5)
        await asyncio.sleep(max(0.0, started + seconds * (turn + 1) / turns - time.monotonic()))
        if turn % 10 == 0:
            most = max(most, relay.rss())
    await until(lambda: a.saved == a.typed, 20, "all is saved")
    clocks = iter(range(turns + 1, turns + 10_000))

    def slow() -> bool:
        c.say(cursor(9, next(clocks), 16384))
        return relay.metrics()["relay_slow_readers"] == 2

    await until(slow, 20, "both are too slow")
    p95 = percentile(b.latencies, 0.95)
    for sleeper in sleepers:
        assert sleeper.closed is None
        assert len(sleeper.text(2)) < a.typed
        sleeper.transport.resume_reading()
    took = await until(lambda: all(len(s.text(2)) == a.typed for s in sleepers), 20, "caught up")
    print(
        f"{turns / 64:.1f} MB past two sleepers in {seconds:g} s: {(most - before) / MEGABYTE:.1f} MB grown, "
        f"others' p95 {p95 * 1000:.1f} ms, caught up in {took:.2f} s"
    )
    assert all(s.text(2) == spelled(a.typed) for s in sleepers)
    await until(lambda: sleepers[1].acknowledged == 20, 20, "its own typing is acknowledged")
    assert b.text(4 + 1) == spelled(20)
    assert p95 < 0.15
    assert most - before < 24 * MEGABYTE  # 1 MB unsent for each sleeper, 15,000 keystrokes, and what malloc keeps
    assert relay.metrics()["relay_slow_readers"] == 0


async def test_reader_stops(relays: Callable[..., Relay]) -> None:
    """Two clients of a busy room stop reading: memory stays bounded, others are served as ever, and then they get
    everything."""
    await reader_stops(relays, 3, 1000)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_reader_stops_for_a_minute(relays: Callable[..., Relay]) -> None:
    """As above, for 60 s."""
    await reader_stops(relays, 60, 3000)


@pytest.mark.slow
async def test_half_open_sockets(relays: Callable[..., Relay]) -> None:
    """Connections whose other end is silent, be it gone or hostile, are pinged and then dropped; a quiet one that
    answers stays."""
    relay = relays("--keepalive", "2")
    quiet = await Typist.join(relay.port, "room", 2)
    silent = [await Typist.join(relay.port, "room", 3 + n) for n in range(50)]
    for typist in silent:
        typist.transport.pause_reading()  # the kernel takes the pings, nobody answers
    took = await until(lambda: relay.metrics().get('relay_errors_total{kind="silent"}') == 50, 20, relay.tail)
    assert took > 1.9
    assert relay.metrics()['relay_connections{protocol="y-websocket"}'] == 1
    assert quiet.closed is None
    quiet.type()
    await until(lambda: quiet.saved == 1, 20, "the quiet one is still served")
    for typist in silent:
        typist.leave()


async def trickle(relays: Callable[..., Relay], connections: int, seconds: float) -> tuple[int, float, float]:
    """Heads that never end, a byte at a time: how many of them were cut off, others' p95, and memory per head."""
    relay = relays()
    a = await Typist.join(relay.port, "room", 2)
    b = await Typist.join(relay.port, "room", 3, watch=[a])
    before = relay.rss()
    streams = [await asyncio.open_connection("127.0.0.1", relay.port) for _ in range(connections)]
    head = b"GET /ws/room HTTP/1.1\r\nHost: x\r\nX: "
    ends = time.monotonic() + seconds
    turn = 0
    while time.monotonic() < ends:
        for _, writer in streams:
            if not writer.is_closing():
                writer.write(head[turn : turn + 1] or b"x")
        turn += 1
        for _ in range(20):
            a.type()
            await asyncio.sleep(0.01)
    grown = (relay.rss() - before) / connections
    cut = sum(reader.at_eof() or reader.exception() is not None for reader, _ in streams)
    assert relay.get("/livez")[0] == 200
    for _, writer in streams:
        writer.close()
    await until(lambda: a.saved == a.typed, 20, "saved")
    return cut, percentile(b.latencies, 0.95), grown


@pytest.mark.slow
async def test_slow_heads(relays: Callable[..., Relay]) -> None:
    """500 connections trickle their request's head: others are served as ever."""
    _, p95, grown = await trickle(relays, 500, 2)
    assert p95 < 0.15
    assert grown < 16384


@pytest.mark.slow
async def test_slow_heads_are_cut_off(relays: Callable[..., Relay]) -> None:
    """A head has ten seconds to end, however it trickles."""
    cut, p95, _ = await trickle(relays, 500, 14)
    assert cut == 500
    assert p95 < 0.15


@pytest.mark.slow
async def test_slow_messages(relays: Callable[..., Relay], database: Any, own_valkey: Any) -> None:
    """200 clients announce 64 MiB and send a few bytes: no memory is set aside for what has not come."""
    relay = relays(postgres=database, valkey=own_valkey.url)
    typists = [await Typist.join(relay.port, "room", 2 + n) for n in range(200)]
    before = relay.rss()
    for typist in typists:
        typist.transport.write(b"\x82\xff" + (64 << 20).to_bytes(8, "big") + b"\0\0\0\0")
    for _ in range(50):
        for typist in typists:
            typist.transport.write(b"x")
        await asyncio.sleep(0.01)
    assert relay.rss() - before < 8 * MEGABYTE
    assert relay.get("/readyz")[0] == 200
    for typist in typists:
        typist.leave()
