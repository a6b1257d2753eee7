"""Everyone in a document sees the same, whatever client they use."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pycrdt
import pytest

KINDS = ["yws2", "yws3", "hp2", "hp3", "hp4"]
WORDS = ["naïve café", "e\u0301", "👩‍🚀👨‍👩‍👧‍👦", "שלום עולם", "مرحبا", "你好世界", "𝒳𝓎𝓏", "\u202eabc\u202c", "🇩🇪"]
Run = Callable[..., dict[str, Any]]


def test_every_kind(relay: Any, play: Run, room: str) -> None:
    """A client of each kind edits each shared type; all of them end with all edits and see each other's presence."""
    found = play("converge", "everyKind", relay, room=room, kinds=KINDS)
    assert sorted(found["text"].split()) == KINDS[2:] + KINDS[:2]
    assert sorted(found["array"]) == sorted(KINDS)
    assert found["map"] == {kind: {"by": kind} for kind in KINDS}
    assert all(f"<paragraph>{kind}</paragraph>" in found["xml"] for kind in KINDS)


def test_late_joiner(relay: Any, play: Run, room: str) -> None:
    """When a late joiner is told that it is in sync, it holds the whole document; presence follows at once."""
    play("converge", "lateJoiner", relay, room=room, kinds=KINDS)


def test_unicode(relay: Any, play: Run, room: str) -> None:
    """Text, keys, formats and names of all scripts arrive; half a deleted emoji looks the same to everyone."""
    found = play("converge", "unicode", relay, room=room, kinds=KINDS, words=WORDS)
    assert found["names"] == sorted(WORDS[:5], key=lambda name: name.encode("utf-16-be"))
    assert found["emoji"] == "a\ufffdb"


def test_values_exact(relay: Any, play: Run, room: str) -> None:
    """Big integers, minus zero, undefined, bytes, XML hooks and a subdocument's meta arrive as they were sent."""
    content = play("converge", "values", relay, room=room, kinds=KINDS)["content"]
    for exact in ('["bigint",{"bigint":"5"}]', '["zero",{"number":"-0"}]', '["absent",{"undefined":true}]', '"title"'):
        assert exact in content


def test_subdocument(relay: Any, play: Run, room: str) -> None:
    """A subdocument travels by reference and is edited in a room of its own."""
    found = play("converge", "subdocument", relay, room=room)
    assert found == {"text": "the chapter one", "meta": {"kind": "chapter"}, "guid": f"{room}-child"}


def test_undo(relay: Any, play: Run, room: str) -> None:
    """Undo takes back one's own edits only, for everyone."""
    found = play("converge", "undo", relay, room=room, kinds=["hp4", "yws3", "hp2"])
    assert found == {
        "deleted": "i-theirs-ne", "restored": "mi-theirs-ne", "undone": "-theirs-", "redone": "mi-theirs-ne",
    }  # fmt: skip


def test_session_of_four(relay: Any, play: Run, room: str) -> None:
    """Four people with both protocols make 300 random edits each and end with equal documents."""
    play("converge", "session", relay, room=room, kinds=["yws3", "hp4", "yws2", "hp3"], edits=300, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_session_with_broken_connections(relay: Any, play: Run, room: str, seed: int) -> None:
    """The same while connections break at random."""
    kinds = ["yws3", "hp4", "yws2", "hp2", "hp3"]
    play("converge", "session", relay, room=room, kinds=kinds, edits=300, seed=seed, drops=True, deadline=60)


def test_yjs_14_client(relay: Any, play: Run, room: str) -> None:
    """The y-websocket pre-release for Yjs 14 shares text with clients of Yjs 13."""
    assert play("converge", "fourteen", relay, room=room) == {"text": "fourteen thirteen "}


class Socket:
    """The channel that `pycrdt.Provider` asks for, on aiohttp's WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, path: str) -> None:
        self._socket = socket
        self.path = path

    def __aiter__(self) -> "Socket":
        return self

    async def __anext__(self) -> bytes:
        return await self.recv()

    async def send(self, message: bytes) -> None:
        await self._socket.send_bytes(message)

    async def recv(self) -> bytes:
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise StopAsyncIteration
        return bytes(message.data)


@pytest.mark.parametrize("kind", ["yws3", "hp4"])
async def test_python_client(relay: Any, stage: Callable[..., Any], room: str, kind: str) -> None:
    """pycrdt's provider reads what a JavaScript client wrote, and the other way round."""
    scene = stage("converge", "withOther", relay, room=room, kind=kind)
    await asyncio.to_thread(scene.meet, "written")
    doc = pycrdt.Doc()
    text, shared = doc.get("text", type=pycrdt.Text), doc.get("map", type=pycrdt.Map)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{relay.url}/ws/{room}") as socket,
        pycrdt.Provider(doc, Socket(socket, room)) as provider,
    ):
        async with asyncio.timeout(20):
            await provider.synced.wait()
        assert str(text) == "from node 😀 "
        with doc.transaction():
            text += "from python ü"
            shared["python"] = {"n": 1.5, "list": [True, None, "é"]}
        scene.go()
        found = await asyncio.to_thread(scene.result)
    assert found == {"text": "from node 😀 from python ü", "map": {"python": {"n": 1.5, "list": [True, None, "é"]}}}
