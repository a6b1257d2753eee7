"""The thin connection against a scripted server: grouping, matching, and every way of breaking."""

import asyncio
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import hiredis
import pytest
from certificates import certificate
from fakes import until

from relay.errors import Unavailable
from relay.journal import wire as module
from relay.journal.address import Address
from relay.journal.wire import Reply, Wire, pack

Answer = Callable[[list[bytes]], bytes | None]


class Script:
    """Answers each command with what `answer` returns; None closes the connection, b"" keeps silent."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.answer: Answer = greet
        self.groups: list[list[list[bytes]]] = []
        self.connections = 0
        self.writers: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self.serve, self.path)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        parser = hiredis.Reader()
        while data := await reader.read(1 << 20):
            parser.feed(data)
            group = []
            while (command := parser.gets()) is not False:
                group.append(command)
            self.groups.append(group)
            for command in group:
                if (reply := self.answer(command)) is None:
                    writer.close()
                    return
                writer.write(reply)
        writer.close()

    def say(self, reply: bytes) -> None:
        """Something that is not the answer to what was just heard."""
        for writer in self.writers:
            writer.write(reply)

    async def stop(self) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()
        await self.server.wait_closed()


def greet(command: list[bytes]) -> bytes:
    """Like a healthy server: an echo of the last word for what tests submit."""
    if command[0] in (b"AUTH", b"CLIENT", b"SELECT"):
        return b"+OK\r\n"
    if command[0] == b"PING":
        return b"+PONG\r\n"
    if command[0] == b"XADD":
        return b"$-1\r\n"
    return b"$%d\r\n%s\r\n" % (len(command[-1]), command[-1])


def unless(word: bytes, reply: bytes | None) -> Answer:
    return lambda command: reply if word in command else greet(command)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    with tempfile.TemporaryDirectory(prefix="w") as directory:
        script = Script(str(Path(directory) / "s"))
        await script.start()
        yield script
        await script.stop()


@pytest.fixture
async def make(script: Script) -> AsyncIterator[Callable[..., Wire]]:
    wires: list[Wire] = []

    def make(**options: Any) -> Wire:
        settings = {"window": 0.01, "timeout": 60, "max_queued_bytes": 10_000, "on_state": lambda up: None} | options
        wires.append(Wire(Address(f"unix://u:secret@{script.path}"), "me", **settings))
        return wires[-1]

    yield make
    for wire in wires:
        await wire.close()


def submit(wire: Wire, word: bytes, soon: bool = True) -> "asyncio.Future[Reply]":
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    wire.submit(pack(b"ECHO", word), future.set_result, soon)
    assert not future.done(), "answered inside submit"
    return future


async def test_commands_of_one_turn_leave_together(script: Script, make: Callable[..., Wire]) -> None:
    """A turn's commands are one group, written at the end of the turn, and answered in order."""
    wire = make(window=60)
    await wire.start()
    script.groups.clear()
    words = [b"%d" % n for n in range(100)]
    assert await asyncio.wait_for(asyncio.gather(*(submit(wire, word) for word in words)), 10) == words
    assert [len(group) for group in script.groups] == [100]


async def test_commands_gather_while_a_group_is_in_flight(
    script: Script, make: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is submitted before the answers came leaves as one group when they came."""
    monkeypatch.setattr(module, "_GATHER", 60.0)
    wire = make(window=60)
    await wire.start()
    script.groups.clear()
    script.answer = lambda command: b""
    first = submit(wire, b"1")
    await until(lambda: script.groups)
    rest = [submit(wire, b"2")]
    await asyncio.sleep(0)
    rest.append(submit(wire, b"3"))
    await asyncio.sleep(0.01)
    assert len(script.groups) == 1
    script.answer = greet
    script.say(b"$1\r\n1\r\n")
    assert await asyncio.wait_for(asyncio.gather(first, *rest), 10) == [b"1", b"2", b"3"]
    assert [[command[1] for command in group] for group in script.groups] == [[b"1"], [b"2", b"3"]]


async def test_unhurried_commands_gather_for_the_window(script: Script, make: Callable[..., Wire]) -> None:
    """What nobody waits for leaves together when the window ends, not before."""
    wire = make(window=0.2)
    await wire.start()
    script.groups.clear()
    began = time.monotonic()
    answers = [submit(wire, b"1", soon=False)]
    await asyncio.sleep(0)
    answers.append(submit(wire, b"2", soon=False))
    assert await asyncio.wait_for(asyncio.gather(*answers), 10) == [b"1", b"2"]
    assert time.monotonic() - began > 0.19
    assert [[command[1] for command in group] for group in script.groups] == [[b"1", b"2"]]


async def test_hurried_command_takes_the_others_along(script: Script, make: Callable[..., Wire]) -> None:
    """A command that somebody waits for ends the gathering, and the order stays."""
    wire = make(window=60)
    await wire.start()
    script.groups.clear()
    answers = [submit(wire, b"1", soon=False)]
    await asyncio.sleep(0.01)
    answers.append(submit(wire, b"2"))
    assert await asyncio.wait_for(asyncio.gather(*answers), 10) == [b"1", b"2"]
    assert [[command[1] for command in group] for group in script.groups] == [[b"1", b"2"]]


async def test_window_bounds_the_wait_for_slow_answers(script: Script, make: Callable[..., Wire]) -> None:
    """A group does not wait longer than the window for the one before."""
    wire = make(window=0.02)
    await wire.start()
    script.answer = lambda command: b""
    script.groups.clear()
    answers = [submit(wire, b"1")]
    await until(lambda: len(script.groups) == 1)
    answers.append(submit(wire, b"2"))
    await until(lambda: len(script.groups) == 2)
    assert [[command[1] for command in group] for group in script.groups] == [[b"1"], [b"2"]]
    script.say(b"+1\r\n+2\r\n")
    assert await asyncio.gather(*answers) == [b"1", b"2"]


async def test_replies_may_come_in_any_pieces(script: Script, make: Callable[..., Wire]) -> None:
    """A reply split into single bytes is still matched to its command."""
    wire = make()
    await wire.start()
    script.answer = lambda command: b""
    script.groups.clear()
    answers = [submit(wire, b"1"), submit(wire, b"2"), submit(wire, b"3")]
    await until(lambda: script.groups)
    for byte in b"$3\r\n\r\n1\r\n$-1\r\n-ERR no\r\n":
        script.say(bytes((byte,)))
        await asyncio.sleep(0.001)
    first, second, third = await asyncio.gather(*answers)
    assert (first, second) == (b"\r\n1", None)
    assert isinstance(third, Unavailable)
    assert "ERR no" in str(third)
    assert wire.connected


async def test_queue_is_bounded(script: Script, make: Callable[..., Wire]) -> None:
    """Beyond the bound a command fails, counting what is in flight, and answers make room again."""
    wire = make()
    await wire.start()
    heard: list[bytes] = []
    script.answer = lambda command: heard.append(command[0]) or b""
    kept = [submit(wire, bytes(3000)), submit(wire, bytes(3000))]
    await until(lambda: len(heard) == 2)
    kept.append(submit(wire, bytes(3000)))
    assert isinstance(await submit(wire, bytes(3000)), Unavailable)
    await until(lambda: len(heard) == 3)
    assert isinstance(await submit(wire, bytes(3000)), Unavailable)
    script.say(b"+OK\r\n" * 3)
    assert await asyncio.gather(*kept) == [b"OK"] * 3
    script.answer = greet
    assert await submit(wire, bytes(3000)) == bytes(3000)


async def test_silence_breaks_the_connection(script: Script, make: Callable[..., Wire]) -> None:
    """Without an answer for the timeout everything unanswered fails, and the connection is replaced."""
    states: asyncio.Queue[bool] = asyncio.Queue()
    wire = make(on_state=states.put_nowait, timeout=0.5)
    await wire.start()
    assert await states.get() is True
    script.answer = lambda command: b""
    answers = [submit(wire, b"1"), submit(wire, b"2")]
    for answer in await asyncio.wait_for(asyncio.gather(*answers), 10):
        assert isinstance(answer, Unavailable)
        assert "no answer" in str(answer)
    script.answer = greet
    assert await states.get() is False
    assert isinstance(await submit(wire, b"3"), Unavailable)
    assert await asyncio.wait_for(states.get(), 10) is True
    assert await submit(wire, b"4") == b"4"


async def test_a_slow_server_that_answers_is_kept(script: Script, make: Callable[..., Wire]) -> None:
    """Only silence counts: answers that keep coming keep the connection, however long the last one takes."""
    wire = make(timeout=0.6)
    await wire.start()
    script.answer = lambda command: b""
    answers = [submit(wire, b"%d" % n) for n in range(6)]
    for _ in answers:
        await asyncio.sleep(0.15)
        script.say(b"+OK\r\n")
    assert await asyncio.gather(*answers) == [b"OK"] * 6


@pytest.mark.parametrize(
    "reply",
    [None, b"?what\r\n", b"-READONLY You can't write against a read only replica.\r\n", b"-LOADING loading\r\n"],
    ids=["closed", "garbage", "replica", "loading"],
)
async def test_a_useless_connection_is_replaced(script: Script, make: Callable[..., Wire], reply: bytes | None) -> None:
    """A connection that was closed, speaks nonsense or takes no more writes is given up for another one."""
    states: asyncio.Queue[bool] = asyncio.Queue()
    wire = make(on_state=states.put_nowait)
    await wire.start()
    script.answer = unless(b"bad", reply)
    assert isinstance(await submit(wire, b"bad"), Unavailable)
    assert [await states.get(), await states.get(), await asyncio.wait_for(states.get(), 10)] == [True, False, True]
    assert script.connections == 2
    assert await submit(wire, b"good") == b"good"


async def test_more_replies_than_commands_break_the_connection(script: Script, make: Callable[..., Wire]) -> None:
    """A reply nobody asked for means that replies and commands no longer match."""
    states: asyncio.Queue[bool] = asyncio.Queue()
    wire = make(on_state=states.put_nowait)
    await wire.start()
    script.say(b"+OK\r\n")
    assert [await states.get(), await asyncio.wait_for(states.get(), 10)] == [True, False]


async def test_a_loading_server_is_waited_for(script: Script, make: Callable[..., Wire]) -> None:
    """After a loss the connection is up only when the server takes writes, and tries are spaced out."""
    states: asyncio.Queue[bool] = asyncio.Queue()
    wire = make(on_state=states.put_nowait)
    await wire.start()
    script.answer = lambda command: (
        None if b"bad" in command else b"-LOADING no\r\n" if command[0] == b"XADD" else b"+OK\r\n"
    )
    assert isinstance(await submit(wire, b"bad"), Unavailable)
    began = time.monotonic()
    await until(lambda: script.connections >= 4)
    assert time.monotonic() - began > 0.15
    assert not wire.connected
    script.answer = greet
    assert [await states.get(), await states.get(), await asyncio.wait_for(states.get(), 10)] == [True, False, True]


@pytest.mark.parametrize("reply", [b"-WRONGPASS invalid\r\n", b"-LOADING no\r\n", b"", None])
async def test_start_fails_without_a_usable_server(
    script: Script, make: Callable[..., Wire], reply: bytes | None
) -> None:
    """Starting raises, names the address, and not its password."""
    script.answer = lambda command: reply
    with pytest.raises(Unavailable, match=script.path) as caught:
        await make(timeout=0.2).start()
    assert "secret" not in str(caught.value)


async def test_start_fails_when_greeted_and_dropped(script: Script, make: Callable[..., Wire]) -> None:
    """A server that answers the greeting and hangs up at once is away."""

    def hang_up(command: list[bytes]) -> bytes:
        for writer in script.writers:
            writer.write(greet(command))
            writer.close()
        return b""

    script.answer = hang_up
    wire = make()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(wire.start(), 10)
    assert not wire.connected


async def test_a_full_server_is_no_reason_to_stay_away(script: Script, make: Callable[..., Wire]) -> None:
    """A server out of memory is connected to: it can still be read and trimmed."""
    script.answer = unless(b"XADD", b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
    wire = make()
    await wire.start()
    assert wire.connected


async def test_tls_checks_the_certificate(tmp_path: Path) -> None:
    """`rediss://` encrypts, trusts the authority that the URL names and refuses a server it does not know."""
    authority, secret = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, secret)
    script = Script("")
    script.server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=context)
    url = f"rediss://localhost:{script.server.sockets[0].getsockname()[1]}"
    options: dict[str, Any] = {"window": 0.01, "timeout": 10, "max_queued_bytes": 10_000, "on_state": lambda up: None}
    wire = Wire(Address(f"{url}?ssl_ca_certs={authority}"), "me", **options)
    await wire.start()
    assert await submit(wire, b"1") == b"1"
    await wire.close()
    with pytest.raises(Unavailable, match="certificate"):
        await Wire(Address(url), "me", **options).start()
    await script.stop()


async def test_close_fails_what_the_server_does_not_answer(script: Script, make: Callable[..., Wire]) -> None:
    """Closing writes what is queued, waits for the grace period only, and leaves nothing unanswered."""
    wire = make(timeout=5)
    await wire.start()
    script.answer = lambda command: b""
    script.groups.clear()
    answer = submit(wire, b"1")
    await wire.close(grace=0.05)
    assert isinstance(await answer, Unavailable)
    assert script.groups[0][0] == [b"ECHO", b"1"]
    assert isinstance(await submit(wire, b"2"), Unavailable)
