"""A y-websocket connection: one room, permanent and transient endings."""

import asyncio
from typing import Any

import pytest
from fakes import acknowledged, deleted, held, masked, presence, typed, until, updates

from relay import closing
from relay.protocol.messages import Presence
from relay.protocol.ywebsocket import decode, step1, step2, update
from relay.protocol.ywebsocket import presence as say_presence
from relay.types import RoomId

Serve = Any
EMPTY_STEP1 = b"\0\0\1\0"


async def test_sync(serve: Serve) -> None:
    """The server asks for what the client has, answers what it lacks, and passes on its edits and presence."""
    server = await serve()
    ada = await server.connect("/ws/doc")
    assert await ada.get() == [EMPTY_STEP1]
    ada.send(step1(b"\0"), say_presence(presence((1, 1, "{}"))))
    assert await ada.get(2) == [step2(b"\0\0"), say_presence(presence((1, 1, "{}")))]
    bob = await server.connect("/ws/doc")
    bob.send(step1(b"\0"))
    assert await bob.get(3) == [EMPTY_STEP1, step2(b"\0\0"), say_presence(presence((1, 1, "{}")))]
    ada.send(update(typed(1, 0)))
    assert await bob.get() == [update(typed(1, 0))]
    assert await ada.get() == [update(typed(1, 0))]
    ada.leave()
    (said,) = await bob.get()
    assert isinstance(decode(said), Presence)
    assert b"null" in said


async def test_open_room_is_joined_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing has to be waited for, a client is in before anything else happens: no task is made for it."""
    server = await serve()
    ada = await server.connect("/ws/doc")
    await ada.get()
    monkeypatch.setattr("relay.tasks.spawn", lambda name, work: pytest.fail(name))
    bob = await server.connect("/ws/doc", early=masked(step1(b"\0")))
    assert await bob.get(2) == [EMPTY_STEP1, step2(b"\0\0")]


async def test_refused_at_once(serve: Serve) -> None:
    """Also who is refused without waiting hears why, and leaves nothing behind."""
    server = await serve(authenticated=True)
    client = await server.connect("/ws/doc?token=unknown", early=masked(step1(b"\0")))
    assert await client.closed() == (4401, "who are you?")
    client.leave()
    await until(lambda: not server.context.connections)


async def test_newcomer_without_a_document(serve: Serve) -> None:
    """Its empty answer to our Step1 is nothing to save; who counts acknowledgements gets one, after those before."""
    server = await serve()
    server.journal.holding = True
    ada = await server.connect("/ws/doc?ack=1")
    await ada.get()
    ada.send(update(typed(1, 0)), step2(b"\0\0"))
    bob = await server.connect("/ws/doc")
    bob.send(step2(b"\0\0"), update(typed(2, 0)))
    assert held(updates(await ada.get())) == {(2, 0)}
    await ada.quiet()
    server.journal.answer()
    assert acknowledged(await ada.get(2)) == 2


async def test_opted_in_ack(serve: Serve) -> None:
    """With `?ack=1` each update is acknowledged when it is saved, and a refused one is refused."""
    server = await serve(authenticated=True)
    server.journal.holding = True
    ada = await server.connect("/ws/doc?ack=1&token=rw")
    await ada.get()
    ada.send(update(typed(1, 0)), update(typed(1, 1)))
    await ada.quiet()
    server.journal.answer()
    said = await ada.get(3)
    assert acknowledged(said) == 2
    assert held(updates([m for m in said if m[0] == 0])) == {(1, 0), (1, 1)}
    bob = await server.connect("/ws/doc?ack=1&token=ro")
    await bob.get()
    bob.send(update(typed(2, 0)), step2(typed(1, 0)), step2(typed(2, 0)))
    assert await bob.get(3) == [b"\x64\0", b"\x64\1", b"\x64\0"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/ws/doc?token=rw", ""),
        ("/ws/doc", "Authorization: Bearer rw\r\n"),
        ("/ws/doc", "Sec-WebSocket-Protocol: token.rw\r\n"),
    ],
)
async def test_token(serve: Serve, path: str, headers: str) -> None:
    """A token comes in the query, in a header, or as a subprotocol, which is echoed."""
    server = await serve(authenticated=True)
    ada = await server.connect(path, headers)
    assert await ada.get() == [EMPTY_STEP1]
    assert server.door.asked == ["rw"]
    assert (b"Sec-WebSocket-Protocol: token.rw" in ada.head) == ("Protocol" in headers)


@pytest.mark.parametrize(("token", "code"), [("", 4401), ("bad", 4401), ("other", 4403)])
async def test_denied(serve: Serve, token: str, code: int) -> None:
    """Who may not is told why, and closed with a code after which clients stop."""
    server = await serve(authenticated=True)
    ada = await server.connect(f"/ws/doc?token={token}")
    (said,) = await ada.get()
    assert said[:2] == b"\2\0"
    assert (await ada.closed())[0] == code
    assert 4400 <= code < 4500
    assert server.registry.rooms == {} or code == 4403


async def test_service_away(serve: Serve) -> None:
    """A room that can't be opened now is closed with a code after which clients come back; it is never blank."""
    server = await serve()
    server.snapshots.down = True
    ada = await server.connect("/ws/doc")
    assert (await ada.closed())[0] == closing.OVERLOADED.code
    assert server.registry.rooms == {}


async def test_quarantined(serve: Serve) -> None:
    """A document that is set aside is 4423, for who comes and for who is in it."""
    server = await serve()
    ada = await server.connect("/ws/doc")
    await ada.get()
    await server.registry.quarantine(RoomId("doc"), "broken")
    assert (await ada.closed())[0] == 4423
    bob = await server.connect("/ws/doc")
    assert (await bob.closed())[0] == 4423


async def test_deleted(serve: Serve) -> None:
    """A document that is deleted is 4410 for who is in it."""
    server = await serve()
    ada = await server.connect("/ws/doc")
    await ada.get()
    ada.send(update(typed(1, 0)))
    await ada.get()
    await server.registry.delete(RoomId("doc"))
    assert (await ada.closed())[0] == 4410


async def test_room_full(serve: Serve) -> None:
    """One client too many may come back later."""
    server = await serve(room={"clients": 1})
    await (await server.connect("/ws/doc")).get()
    assert (await (await server.connect("/ws/doc")).closed())[0] == closing.OVERLOADED.code


async def test_document_too_big(serve: Serve) -> None:
    """The edit that a document has no room for is 4413."""
    server = await serve(room={"document": 50})
    ada = await server.connect("/ws/doc")
    ada.send(update(typed(1, 0, "x" * 60)))
    await ada.get(2)
    ada.send(update(typed(1, 60)))
    assert (await ada.closed())[0] == 4413


@pytest.mark.parametrize("bytes_", [b"", b"\7", b"\0\5\0", b"\0\2\5", b"\0\2\1\7", b"\1\3\1\1\1", b"\0\0\2\1\1"])
async def test_malformed(serve: Serve, bytes_: bytes) -> None:
    """What is no message, no update, no vector, no presence is 4400; others are not disturbed."""
    server = await serve()
    bob = await server.connect("/ws/doc")
    await bob.get()
    ada = await server.connect("/ws/doc")
    await ada.get()
    ada.send(bytes_)
    assert (await ada.closed())[0] == 4400
    await bob.quiet()


async def test_readonly(serve: Serve) -> None:
    """A read-only client reads and has a cursor; its edits are ignored."""
    server = await serve(authenticated=True)
    ada = await server.connect("/ws/doc?token=rw")
    ada.send(update(typed(1, 0)))
    await ada.get(2)
    bob = await server.connect("/ws/doc?token=ro")
    bob.send(step1(b"\0"), update(typed(2, 0)), say_presence(presence((2, 1, "{}"))))
    assert held(updates((await bob.get(2))[1:])) == {(1, 0)}
    assert b"{}" in (await ada.get())[0]
    assert server.registry.rooms["doc"].known.vector() == {1: 1}


async def test_token_ends(serve: Serve) -> None:
    """When the token's time is up, so is the connection's: 4401."""
    server = await serve(authenticated=True)
    ada = await server.connect(f"/ws/doc?token={server.door.lasting(0.05).replace(' ', '%20')}")
    assert (await ada.closed())[0] == 4401


async def test_says_things_before_it_is_in(serve: Serve) -> None:
    """What a client says while its token is looked at waits, and is answered in order."""
    server = await serve()
    server.door.gate = asyncio.Event()
    ada = await server.connect("/ws/doc")
    ada.send(update(typed(1, 0)), step1(b"\0"))
    await ada.quiet()
    server.door.gate.set()
    first, second, _ = await ada.get(3)
    assert first == EMPTY_STEP1
    assert second[:2] == b"\0\1"


async def test_leaves_before_it_is_in(serve: Serve) -> None:
    """A client that goes while its room is loading never becomes a member."""
    server = await serve()
    server.snapshots.gate = asyncio.Event()
    ada = await server.connect("/ws/doc")
    await until(lambda: server.snapshots.loads)
    ada.leave()
    await until(lambda: not server.context.connections)
    server.snapshots.gate.set()
    await until(lambda: server.registry.rooms)
    assert not server.registry.rooms["doc"].members


async def test_delete_only_update(serve: Serve) -> None:
    """An update of deletes alone reaches the others and a reconnecting client whose vector covers all."""
    server = await serve()
    ada = await server.connect("/ws/doc")
    ada.send(update(typed(1, 0, "ab")), update(deleted(1, 0)))
    await ada.get(2)
    bob = await server.connect("/ws/doc")
    bob.send(step1(b"\1\1\2"))
    said = await bob.get(2)
    assert deleted(1, 0)[1:] in said[1]
