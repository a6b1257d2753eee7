"""A Hocuspocus connection: documents by address on one socket, each with its own grant."""

import asyncio
from typing import Any

import pytest
from fakes import deleted, held, pass_time, presence, typed, until, updates

from relay import closing
from relay.errors import Deny
from relay.server import hocuspocus as module
from relay.types import RoomId
from relay.yjs.lib0 import write_bytes

Serve = Any
D = b"\1d"


def auth(token: str, version: str = "4.7.0", address: bytes = D) -> bytes:
    return address + b"\2\0" + write_bytes(token.encode()) + (write_bytes(version.encode()) if version else b"")


def step1(vector: bytes = b"\0", address: bytes = D) -> bytes:
    return address + b"\0\0" + write_bytes(vector)


def step2(edits: bytes, address: bytes = D) -> bytes:
    return address + b"\0\1" + write_bytes(edits)


def update(edits: bytes, address: bytes = D) -> bytes:
    return address + b"\0\2" + write_bytes(edits)


READ_WRITE = D + b"\2\2\x0aread-write"
READONLY = D + b"\2\2\x08readonly"
SAVED = D + b"\x08\1"
REFUSED = D + b"\x08\0"
EMPTY_STEP1 = D + b"\0\0\1\0"
EMPTY_STEP2 = D + b"\0\1\2\0\0"


async def entered(server: Any, token: str = "rw", address: bytes = D) -> Any:
    client = await server.connect()
    client.send(auth(token, address=address))
    await client.get()
    return client


async def test_recorded_conversation(serve: Serve) -> None:
    """The recorded conversation of the real pair, byte for byte."""
    server = await serve(authenticated=True)
    server.door.tokens["T"] = server.door.tokens["rw"]
    client = await server.connect()
    for said in ("01640200015405342e372e30", "016400000100", "01640106010100027b7d"):
        client.send(bytes.fromhex(said))
    answers = ["016402020a726561642d7772697465", "016400000100", "01640001020000"]
    assert [message.hex() for message in await client.get(3)] == answers
    assert (await client.get())[0].hex() == "01640106010100027b7d"
    client.send(bytes.fromhex("01640001020000"))
    assert (await client.get())[0].hex() == "01640801"
    client.send(update(typed(1, 0)))
    assert (await client.get())[0].hex() == "01640801"
    client.send(bytes.fromhex("016407"))
    assert (await client.get())[0].hex() == "01640712" + b"provider_initiated".hex()


async def test_queue_before_auth(serve: Serve) -> None:
    """What comes before the grant is known waits, and is then handled in order."""
    server = await serve(authenticated=True)
    client = await server.connect()
    client.send(step1(), update(typed(1, 0)))
    await client.quiet()
    client.send(auth("rw"))
    assert await client.get(4) == [READ_WRITE, EMPTY_STEP1, EMPTY_STEP2, SAVED]


async def test_denied_then_allowed(serve: Serve) -> None:
    """Denied, the socket stays, what was queued is forgotten, and another token for the address may follow."""
    server = await serve(authenticated=True)
    client = await server.connect()
    client.send(auth("bad"), update(typed(1, 0)))
    assert await client.get() == [D + b"\2\1\x0cwho are you?"]
    client.send(auth("rw"), step1(), update(typed(2, 0)))
    said = await client.get(4)
    assert said[0] == READ_WRITE
    assert said[3] == SAVED
    assert (2, 0) in held([update_ for flush in server.registry.rooms["d"].log.flushes for update_ in flush.payloads])


async def test_denied_again_and_again(serve: Serve) -> None:
    """What was queued for a refused token does not count against the next."""
    server = await serve(authenticated=True, limits={"preauth_bytes": 100})
    client = await server.connect()
    server.door.gate = asyncio.Event()
    for _ in range(5):
        server.door.gate.clear()
        client.send(auth("bad"), update(b"x" * 60))
        await asyncio.sleep(0.01)
        server.door.gate.set()
        assert (await client.get())[0][2:4] == b"\2\1"


async def test_bytes_before_auth(serve: Serve) -> None:
    """Too many bytes before a grant are 4205, over all documents of the socket together."""
    server = await serve(authenticated=True, limits={"preauth_bytes": 1000})
    client = await server.connect()
    for number in range(11):
        client.send(step2(b"x" * 100, address=b"\2d" + bytes([65 + number])))
    assert (await client.closed())[0] == 4205


async def test_messages_before_auth(serve: Serve) -> None:
    """So are too many messages, and too many documents."""
    server = await serve(authenticated=True, limits={"preauth_messages": 10, "documents": 3})
    client = await server.connect()
    client.send(*[step1()] * 11)
    assert (await client.closed())[0] == 4205
    client = await server.connect()
    client.send(*(step1(address=b"\2d" + bytes([65 + number])) for number in range(4)))
    assert (await client.closed())[0] == 4205


async def test_auth_timeout(serve: Serve) -> None:
    """A socket on which nobody got in by then is 4408; one with a document stays."""
    server = await serve(authenticated=True, limits={"auth_timeout": 60})
    inside = await entered(server)
    client = await server.connect()
    client.send(step1())
    await client.quiet()
    pass_time(60)
    assert (await client.closed())[0] == 4408
    await inside.quiet()


async def test_refresh(serve: Serve) -> None:
    """A newer token in silence; one that allows less says so; one that is bad closes the document."""
    server = await serve(authenticated=True)
    client = await entered(server)
    client.send(auth("rw"))
    await client.quiet()
    client.send(auth("ro"))
    assert await client.get() == [READONLY]
    client.send(update(typed(1, 0)))
    assert await client.get() == [REFUSED]
    client.send(auth("bad"))
    assert await client.get() == [D + b"\7\x0cwho are you?"]
    assert not server.registry.rooms["d"].members


async def test_refresh_that_can_not_be_decided(serve: Serve) -> None:
    """A refresh that fails for the moment leaves the client in, on the grant that it has."""
    server = await serve(authenticated=True)
    client = await entered(server)
    server.door.error = Deny("the key server is away", closing.OVERLOADED.code)
    client.send(auth("rw"))
    await client.quiet()
    assert server.registry.rooms["d"].members


async def test_refresh_of_a_document_left_meanwhile(serve: Serve) -> None:
    """A refresh that ends after the client left says nothing: the address may be open again."""
    server = await serve(authenticated=True)
    client = await entered(server)
    server.door.gate = asyncio.Event()
    client.send(auth("bad"), D + b"\7")
    assert (await client.get())[0][2:3] == b"\7"
    server.door.gate.set()
    await client.quiet()


async def test_token_about_to_end(serve: Serve) -> None:
    """Before a grant ends its client is asked for a token; without one the document is closed when it ends."""
    server = await serve(authenticated=True)
    client = await entered(server, server.door.lasting(40))
    pass_time(15)
    await client.quiet()
    pass_time(5)
    assert await client.get() == [D + b"\2\0"]
    pass_time(35)  # the token's own clock stood still
    await client.quiet()
    pass_time(5)
    (said,) = await client.get()
    assert said[:3] == D + b"\7"


async def test_client_that_sends_the_same_token_again(serve: Serve) -> None:
    """Asked for a token, a client that only has the one that is about to end is not asked over and over."""
    server = await serve(authenticated=True)
    token = server.door.lasting(2)
    client = await entered(server, token)
    asked = 0
    while True:
        (said,) = await client.get()
        if said == D + b"\2\0":
            asked += 1
            client.send(auth(token))
        else:
            break
    assert said[:3] == D + b"\7"
    assert asked <= 2


async def test_several_documents(serve: Serve) -> None:
    """Documents on one socket are apart: grants, edits, ends."""
    server = await serve(authenticated=True)
    client = await entered(server)
    other = b"\5other"
    client.send(auth("other", address=other), auth("other", address=b"\1e"), update(typed(1, 0)))
    said = await client.get(3)
    assert {other + b"\2\2\x0aread-write", b"\1e\2\1\x0cnot this one", SAVED} == set(said)
    client.send(D + b"\7", update(typed(2, 0), address=other))
    assert {message[:1] for message in await client.get(2)} == {b"\1", b"\5"}
    assert not server.registry.rooms["d"].members
    assert len(server.registry.rooms["other"].members) == 1


async def test_sessions_of_one_document(serve: Serve) -> None:
    """`room NUL session` is the room, on frames of its own: two sessions of a socket see each other's edits."""
    server = await serve(authenticated=True)
    client = await server.connect()
    one, two = b"\3d\0a", b"\3d\0b"
    client.send(auth("rw", address=one), auth("rw", address=two))
    await client.get(2)
    assert len(server.registry.rooms["d"].members) == 2
    client.send(update(typed(1, 0), address=one))
    assert sorted(await client.get(2)) == sorted([update(typed(1, 0), address=two), one + b"\x08\1"])


async def test_close_then_reopen(serve: Serve) -> None:
    """A document that was closed may be opened again on the same socket; closing one that is not open is nothing."""
    server = await serve(authenticated=True)
    client = await entered(server)
    client.send(D + b"\7", D + b"\7", auth("rw"), step1())
    said = await client.get(4)
    assert said[0][:3] == D + b"\7"
    assert said[1:] == [READ_WRITE, EMPTY_STEP1, EMPTY_STEP2]


async def test_open_server_without_auth(serve: Serve) -> None:
    """Version 2 sends no Auth when it has no token: on an open server the first sync message is enough."""
    server = await serve()
    client = await server.connect()
    client.send(D + b"\1" + write_bytes(presence((1, 1, "{}"))), step1())
    assert (await client.get(3))[1:] == [EMPTY_STEP1, EMPTY_STEP2]
    assert server.door.asked == [""]


async def test_plugin_denies_on_an_open_server(serve: Serve) -> None:
    """A client that sends no Auth is asked about like all others."""
    server = await serve()
    server.door.error = Deny("this address is banned", 4403)
    client = await server.connect()
    client.send(step1())
    assert (await client.get())[0][2:4] == b"\2\1"
    assert server.registry.rooms == {}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (step2(b"\0\0"), SAVED),
        (step2(typed(1, 0)), SAVED),
        (step2(deleted(1, 0)), REFUSED),
        (step2(typed(2, 0)), REFUSED),
        (update(typed(2, 0)), REFUSED),
        (update(typed(1, 0)), REFUSED),
        (step2(typed(1, 0, "x" * 20_000)), REFUSED),
    ],
)
async def test_readonly(serve: Serve, said: bytes, status: bytes) -> None:
    """Read-only: a Step2 gets 1 if it holds nothing new, else 0; an Update gets 0; nothing is applied."""
    server = await serve(authenticated=True)
    ada = await entered(server)
    ada.send(update(typed(1, 0)))
    await ada.get()
    bob = await entered(server, "ro")
    bob.send(said)
    assert await bob.get() == [status]
    assert server.registry.rooms["d"].known.vector() == {1: 1}
    await ada.quiet()


async def test_readonly_large_step2_that_is_known(serve: Serve) -> None:
    """A large Step2 is compared in a codec process, and is 1 when all of it is known."""
    server = await serve(authenticated=True)
    ada = await entered(server)
    ada.send(update(typed(1, 0, "x" * 20_000)))
    await ada.get()
    bob = await entered(server, "ro")
    bob.send(step2(typed(1, 0, "x" * 20_000)))
    assert await bob.get() == [SAVED]


async def test_ping(serve: Serve) -> None:
    """A bare ping is answered with a bare pong, a bare pong with nothing; any other bare byte is malformed."""
    server = await serve()
    client = await server.connect()
    client.send(b"\x09", b"\x0a", b"\x09")
    assert await client.get(2) == [b"\x0a"] * 2
    client.send(b"\x0b")
    assert (await client.closed())[0] == 4400


@pytest.mark.parametrize(
    ("version", "pinged"), [("4.7.0", True), ("5.0", True), ("", False), ("3.4", False), ("9" * 5000, False)]
)
async def test_pings_those_who_understand(serve: Serve, version: str, pinged: bool) -> None:
    """Providers from version 4 on are pinged; the others would throw."""
    server = await serve(authenticated=True)
    client = await server.connect()
    client.send(auth("rw", version))
    await client.get()
    server.socket().session.tick()
    if pinged:
        assert await client.get() == [b"\x09"]
    else:
        await client.quiet()


async def test_broadcast_from_a_client(serve: Serve) -> None:
    """What only servers may say closes the document."""
    server = await serve(authenticated=True)
    client = await entered(server)
    client.send(D + b"\6\1x")
    assert await client.get() == [D + b"\7\x10Reset Connection"]


async def test_stateless(serve: Serve) -> None:
    """An application's own message is nobody's business."""
    server = await serve(authenticated=True)
    client = await entered(server)
    client.send(D + b"\5\2hi", step1())
    assert await client.get(2) == [EMPTY_STEP1, EMPTY_STEP2]


async def test_set_aside(serve: Serve) -> None:
    """A document that is locked is closed on its socket, which stays; who comes is denied."""
    server = await serve(authenticated=True)
    client = await entered(server)
    await server.registry.quarantine(RoomId("d"), "broken")
    assert (await client.get())[0][:3] == D + b"\7"
    client.send(auth("rw"))
    assert (await client.get())[0][2:4] == b"\2\1"
    client.send(auth("rw", address=b"\1e"))
    assert (await client.get())[0][:4] == b"\1e\2\2"


async def test_service_away(serve: Serve) -> None:
    """A document that can't be opened now closes the socket, with a code after which the provider comes back."""
    server = await serve(authenticated=True)
    server.snapshots.down = True
    client = await server.connect()
    client.send(auth("rw"))
    assert (await client.closed())[0] == closing.OVERLOADED.code


async def test_left_while_it_could_not_be_opened(serve: Serve) -> None:
    """A document that was left while it was loading does not end its socket when the load fails."""
    server = await serve(authenticated=True)
    server.snapshots.gate = asyncio.Event()
    client = await server.connect()
    client.send(auth("rw"), D + b"\7")
    assert (await client.get())[0][:3] == D + b"\7"
    await until(lambda: server.snapshots.loads)
    server.snapshots.down = True
    server.snapshots.gate.set()
    await client.quiet()


async def test_large_update_keeps_its_place(serve: Serve) -> None:
    """While a large update is read elsewhere, what its client says next waits behind it; others are not held up."""
    server = await serve(authenticated=True)
    ada, bob, eve = [await entered(server) for _ in range(3)]
    server.codec.gate = asyncio.Event()
    ada.send(update(typed(1, 0, "x" * 20_000)), update(typed(1, 20_000)), step1())
    await until(lambda: server.codec.jobs)
    bob.send(update(typed(2, 0)))
    assert await bob.get() == [SAVED]
    assert held(updates([(await eve.get())[0][2:]])) == {(2, 0)}
    assert await ada.get() == [update(typed(2, 0))]
    server.codec.gate.set()
    got = [message[2:] for message in await eve.get(2)]
    assert held(updates(got)) == {(1, clock) for clock in range(20_001)}
    said = await ada.get(4)
    assert said.count(SAVED) == 2


async def test_leaves_while_its_large_update_is_read(serve: Serve) -> None:
    """A client that goes while its large update is read elsewhere has said it, and what it said behind it."""
    server = await serve(authenticated=True)
    ada, bob = [await entered(server) for _ in range(2)]
    server.codec.gate = asyncio.Event()
    ada.send(update(typed(1, 0, "x" * 20_000)), update(typed(1, 20_000)), step1())
    await until(lambda: server.codec.jobs)
    ada.leave()
    await until(lambda: len(server.registry.rooms["d"].members) == 1)
    server.codec.gate.set()
    got = [message[2:] for message in await bob.get(2)]
    assert held(updates(got)) == {(1, clock) for clock in range(20_001)}


async def test_codec_dies_on_an_update(serve: Serve) -> None:
    """The codec dying on a client's bytes is that client's end, and nobody else's."""
    server = await serve(authenticated=True)
    ada, bob = [await entered(server) for _ in range(2)]
    server.codec.dies = {"summarise"}
    ada.send(update(typed(1, 0, "x" * 20_000)))
    assert (await ada.closed())[0] == 4400
    await bob.quiet()


async def test_name_that_is_none(serve: Serve) -> None:
    """An address without a document's name is denied."""
    server = await serve(authenticated=True)
    client = await server.connect()
    client.send(auth("rw", address=b"\0"))
    assert (await client.get())[0].startswith(b"\0\2\1")


def test_asks_in_time() -> None:
    """Clients are asked for a token while there is time to fetch one."""
    assert module.REFRESH_AHEAD >= 10


async def test_full_document_ends_alone(serve: Serve) -> None:
    """An edit that a document has no room for closes that document; the socket's others go on."""
    server = await serve(room={"document": 20})
    client = await entered(server)
    client.send(update(typed(1, 0, "x" * 30)))
    assert await client.get() == [SAVED]
    client.send(update(typed(1, 30)))
    (said,) = await client.get()
    assert said == D + b"\7" + write_bytes(closing.DOCUMENT_TOO_BIG.reason.encode())
    client.send(auth("", address=b"\1e"), step1(address=b"\1e"))
    assert [message[:2] for message in await client.get(3)] == [b"\1e"] * 3


async def test_impossible_name_is_denied_alone(serve: Serve) -> None:
    """A name that no document can have is denied; the socket's other documents go on."""
    server = await serve()
    client = await entered(server)
    name = b"a\nb"
    client.send(auth("", address=bytes((len(name),)) + name))
    (said,) = await client.get()
    assert said.startswith(bytes((len(name),)) + name + b"\2\1")
    client.send(update(typed(1, 0)))
    assert await client.get() == [SAVED]


async def test_edit_in_flight_when_its_document_was_closed(serve: Serve) -> None:
    """An edit that crosses with our close does not open the document again."""
    server = await serve()
    client = await entered(server)
    client.send(update(typed(1, 0)))
    await client.get()
    server.registry.rooms[RoomId("d")].dismiss(closing.DELETED)
    assert (await client.get())[0].startswith(D + b"\7")
    server.registry.rooms.clear()
    client.send(update(typed(1, 1)))
    await client.quiet()
    assert not server.registry.rooms
