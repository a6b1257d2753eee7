"""One message, framed once, written to everybody who reads the same bytes."""

from fakes import FakeSocket, Peer
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from relay.metrics import Counters
from relay.room.fanout import COMPRESS_UPTO, Fanout


def fanout(*members: Peer) -> Fanout:
    made = Fanout(100, Counters())
    for member in members:
        made.add(member)
    return made


def test_same_bytes_for_the_same_address() -> None:
    """Members with one prefix get the very same frame; others theirs."""
    ada, bob, eve = Peer(), Peer(), Peer(hocuspocus=True)
    frames, sent = fanout(ada, bob, eve).send(b"hello", ())
    assert sent == 3
    assert len(frames) == 2
    assert ada.heard() == bob.heard() == eve.heard() == [b"hello"]


def test_but() -> None:
    """Who is excepted gets nothing, and is not counted."""
    ada, bob = Peer(), Peer()
    _, sent = fanout(ada, bob).send(b"hello", {ada})
    assert sent == 1
    assert (ada.heard(), bob.heard()) == ([], [b"hello"])


def test_counted() -> None:
    """Frames and bytes are counted as they are written: by reader, with their address."""
    ada, bob, eve = Peer(), Peer(), Peer(hocuspocus=True)
    all_ = fanout(ada, bob, eve)
    all_.send(b"hello", {ada})
    sockets = [member.socket for member in (ada, bob, eve)]
    assert all_.counters.frames_out == 2
    assert all_.counters.bytes_out == sum(len(socket.data) for socket in sockets if isinstance(socket, FakeSocket)) > 10


def test_removed() -> None:
    """Who was taken out gets nothing; the last one takes the group along; taking out twice is once."""
    ada, bob = Peer(), Peer()
    all_ = fanout(ada, bob)
    all_.remove(ada)
    all_.remove(ada)
    all_.send(b"hello", ())
    assert (ada.heard(), bob.heard()) == ([], [b"hello"])
    all_.remove(bob)
    assert all_.groups == {}
    assert all_.send(b"hello", ()) == ({}, 0)


def test_removed_by_a_write() -> None:
    """A write that fills a socket takes its member out in the middle of the walk; the others are served."""
    members = [Peer() for _ in range(3)]
    all_ = fanout(*members)
    first = members[0].socket
    assert isinstance(first, FakeSocket)
    first.full = lambda: all_.remove(members[0])
    assert all_.send(b"one", ())[1] == 3
    assert all_.send(b"two", ())[1] == 2
    assert [member.heard() for member in members] == [[b"one"], [b"one", b"two"], [b"one", b"two"]]


def test_compressed_once() -> None:
    """Who negotiated compression gets larger messages compressed; small and very large ones as they are."""
    plain, packed = Peer(), Peer()
    packed.socket.deflate = True
    fanout(plain, packed)
    group = packed.group
    assert group is not None
    body = b"hello " * 100
    data = group.frame(body)
    assert data[0] == 0xC2
    assert len(data) < len(body)
    reader = PerMessageDeflate(True, True, 15, 15)
    size = data[1]
    assert size < 126
    assert reader.decode(Frame(Opcode.BINARY, data[2:], rsv1=True)).data == body
    assert group.frame(b"x" * 99)[0] == 0x82
    assert group.frame(b"x" * (COMPRESS_UPTO + 1))[0] == 0x82
    assert plain.group is not None
    assert plain.group.frame(body)[0] == 0x82
