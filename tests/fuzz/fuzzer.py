"""A process that sends mutants to a relay over many connections, as fast as it answers, and says what came of it.

    python tests/fuzz/fuzzer.py '{"port": 8080, "frames": 20000, "seed": 1, "rooms": ["fuzz/1"], "token": "..."}'

A mutant counts when the relay has dealt with it: it answered a ping that came after, or closed on it. So the ones that
a connection survives go first, many in one write, and one that ends it goes last.
"""

import asyncio
import base64
import json
import os
import socket
import struct
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import uvloop
from mutants import Mutants
from typists import framed, uint

CONNECTIONS = 24
BATCH = 16
PATIENCE = 30.0
MOMENT = 0.03
"""Seconds after which what broke the framing is taken to have left the relay waiting for more."""


class Client(asyncio.Protocol):
    """A socket that looks for one thing at a time in what it reads.

    `data` is the response's head, then of each frame its first byte and its payload.
    """

    def __init__(self) -> None:
        self.data = b""
        self.code = 0  # of the relay's close frame
        self.ended = False
        self._raw = b""
        self._upgraded = False
        self._heard = asyncio.Event()
        self.transport: Any = None

    @classmethod
    async def connect(cls, port: int) -> "Client":
        client = cls()
        await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        # Reset instead of closing in order: harder on the relay, and no port waits for a minute.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def data_received(self, data: bytes) -> None:
        raw = self._raw + data
        if not self._upgraded:
            head, end, rest = raw.partition(b"\r\n\r\n")
            self.data = head + end
            self._upgraded = bool(end) and head.startswith(b"HTTP/1.1 101")
            raw = rest if self._upgraded else raw
        while self._upgraded and len(raw) > 1:
            length, at = raw[1], 2
            if length > 125:
                at = 4 if length == 126 else 10
                length = int.from_bytes(raw[2:at], "big")
            if len(raw) < at + length:
                break
            self.data += raw[:1] + raw[at : at + length]
            if raw[0] == 0x88:
                self.code = int.from_bytes(raw[at : at + 2], "big") or 1005
            raw = raw[at + length :]
        self._raw = raw
        self._heard.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._heard.set()

    async def open(self, path: str, deflate: bool) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
        self.transport.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extension}\r\n".encode()
        )
        await self.heard(b"\r\n\r\n", PATIENCE)

    async def heard(self, what: bytes, within: float) -> bool:
        """Whether `what` came before the end; what comes before it is dropped."""
        try:
            async with asyncio.timeout(within):
                while (at := self.data.find(what)) < 0:
                    if self.ended or self.code:
                        return False
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            return False
        self.data = self.data[at + len(what) :]
        return True

    async def closing(self, within: float) -> int:
        """The close code; 1006 when the connection ended without, 0 when it stays open."""
        await self.heard(b"\0never\0", within)
        return self.code or (1006 if self.ended else 0)


class Fuzzer:
    """Shares out `frames` mutants over connections of several kinds, and tallies how they ended."""

    def __init__(self, port: int, frames: int, seed: int, rooms: list[str], token: str) -> None:
        self.port = port
        self.token = token
        self.left = frames
        self.dealt = Counter[str]()
        self.codes = Counter[str]()
        self.surprises = Counter[str]()
        self.connections = 0
        self.makers = [Mutants(seed + n, room, token) for n, room in enumerate(rooms)]
        self.hard: dict[str, deque[tuple[Mutants, bytes]]] = {"ywebsocket": deque(), "hocuspocus": deque()}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(self._work(number))

    async def _work(self, number: int) -> None:
        maker = self.makers[number % len(self.makers)]
        dice = maker.dice
        kinds = [self._messages] * 14 + [self._framing] * 3 + [self._head] * 2 + [self._tokens]
        while self.left > 0:
            self.connections += 1
            try:
                client = await Client.connect(self.port)
            except OSError:
                self.surprises["refused"] += 1
                await asyncio.sleep(0.1)
                continue
            try:
                await dice.choice(kinds)(client, maker)
            finally:
                client.transport.abort()

    def _count(self, kind: str, frames: int) -> None:
        self.left -= frames
        self.dealt[kind] += frames

    def _ended(self, kind: str, code: int) -> None:
        self.codes[str(code)] += 1
        if code == 1011 or (kind == "soft" and code in (0, 1006)):
            self.surprises[f"{kind} {code}"] += 1

    async def _enter(self, client: Client, maker: Mutants, spoken: str) -> bool:
        """Be in the maker's room."""
        if spoken == "ywebsocket":
            await client.open(f"/ws/{maker.room}?token={self.token}", maker.dice.random() < 0.3)
            entered = await client.heard(b"\0\0", PATIENCE)
        else:
            await client.open("/ws", maker.dice.random() < 0.3)
            client.transport.write(self._authentication(maker))
            entered = await client.heard(b"\2\2\x0aread-write", PATIENCE)
        if not entered:
            self.surprises[f"not let in, {spoken} {client.code}"] += 1
        return entered

    def _authentication(self, maker: Mutants) -> bytes:
        return framed(maker.address + b"\2\0" + uint(len(self.token)) + self.token.encode() + b"\x054.7.0")

    async def _messages(self, client: Client, maker: Mutants) -> None:
        spoken = maker.dice.choice(("ywebsocket", "hocuspocus"))
        hard = self.hard[spoken]
        soft: list[bytes] = []
        size = maker.dice.randrange(1, 2 * BATCH)
        while len(soft) < size:
            payload = maker.payload(spoken)
            if maker.survives(payload, spoken):
                soft.append(payload)
            elif len(hard) < 1000:
                hard.append((maker, payload))
        maker.dice.shuffle(soft)
        if not await self._enter(client, maker, spoken):
            return
        frames = []
        for payload in soft:
            frames.append(framed(payload))
            if (
                spoken == "hocuspocus"
                and payload.startswith(maker.address)
                and payload[len(maker.address)] in (2, 6, 7)
            ):
                frames.append(self._authentication(maker))  # it has left the document
        mark = maker.dice.randbytes(8)
        client.transport.write(b"".join(frames) + framed(mark, 0x89))
        if not await client.heard(b"\x8a" + mark, PATIENCE):
            self._count("messages", 1)
            self._ended("soft", await client.closing(PATIENCE))
            return
        self._count("messages", len(soft))
        if hard:
            author, payload = hard.popleft()
            if author.room != maker.room and spoken == "hocuspocus" and payload.startswith(author.address):
                payload = maker.address + payload[len(author.address) :]
            client.transport.write(framed(payload))
            self._count("messages", 1)
            self._ended("hard", await client.closing(MOMENT * 10))

    async def _framing(self, client: Client, maker: Mutants) -> None:
        if not await self._enter(client, maker, "ywebsocket"):
            return
        for _ in range(maker.dice.randrange(1, 6)):
            client.transport.write(maker.frames())
            self._count("framing", 1)
            mark = maker.dice.randbytes(8)
            client.transport.write(framed(mark, 0x89))
            if not await client.heard(b"\x8a" + mark, MOMENT):
                self.codes[str(client.code)] += 1
                if client.code == 1011:
                    self.surprises["framing 1011"] += 1
                return

    async def _head(self, client: Client, maker: Mutants) -> None:
        client.transport.write(maker.head())
        self._count("heads", 1)
        if await client.heard(b"HTTP/1.1 ", MOMENT) and client.data[:1] == b"5":
            self.surprises["head 5xx"] += 1

    async def _tokens(self, client: Client, maker: Mutants) -> None:
        await client.open("/ws", False)
        for _ in range(BATCH):
            token = maker.jwt().encode("utf-8", "surrogatepass")
            client.transport.write(framed(maker.address + b"\2\0" + uint(len(token)) + token + b"\0"))
            self._count("tokens", 1)
            if not await client.heard(maker.address + b"\2", 10 * MOMENT):
                break
        code = client.code
        self.codes[str(code)] += 1
        if code == 1011:
            self.surprises["token 1011"] += 1


async def main(given: dict[str, Any]) -> None:
    fuzzer = Fuzzer(**given)
    await fuzzer.run()
    found = {"dealt": fuzzer.dealt, "codes": fuzzer.codes, "surprises": fuzzer.surprises}
    print(json.dumps({**found, "connections": fuzzer.connections}))


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
