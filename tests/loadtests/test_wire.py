"""The client's side of the wire, against the relay's own codec and against pycrdt."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text, merge_updates

from loadtests.wire import (
    CLOSE,
    Dialect,
    Frames,
    Kind,
    Said,
    first_edit,
    framed,
    keystroke,
    read_uint,
    request,
    spelled,
    uint,
)
from relay.protocol import hocuspocus, ywebsocket
from relay.protocol.frames import frame
from relay.protocol.messages import Presence, Step1, Update

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
Y = Dialect("docs/one", hocuspocus=False)
H = Dialect("docs/one", hocuspocus=True)


@given(st.integers(0, 2**63))
def test_uint(value: int) -> None:
    """A varUint is read as it was written."""
    assert read_uint(uint(value), 0) == (value, len(uint(value)))


@given(st.lists(st.binary(max_size=300) | st.just(b"x" * 70_000), max_size=6), st.lists(st.integers(1, 90_000)))
def test_frames_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    """Frames come out whole and in order, wherever the network cuts them."""
    data = HEAD + b"".join(frame(payload) for payload in payloads)
    frames, got, at = Frames(), [], 0
    for cut in [*cuts, len(data)]:
        got += list(frames.feed(data[at : at + cut]))
        at += cut
    assert [payload for _, payload in got] == payloads
    assert frames.answer == HEAD[:-4]


def test_frames_before_the_answer_is_whole() -> None:
    """Nothing is a frame while the HTTP response is still coming."""
    frames = Frames()
    assert list(frames.feed(HEAD[:20])) == []
    assert list(frames.feed(HEAD[20:] + frame(b"a"))) == [(0x82, b"a")]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_framed(size: int) -> None:
    """A client's frame is masked and says its length in the shortest form."""
    data = framed(b"x" * size, CLOSE)
    assert data[0] == CLOSE
    assert data[1] & 128
    assert data.endswith(b"\0\0\0\0" + b"x" * size)
    assert len(data) - size == {0: 6, 125: 6, 126: 8, 65535: 8, 65536: 14}[size]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 2**31))
def test_keystrokes_spell(lengths: list[int], client: int) -> None:
    """What is typed in pieces of any length reads as one text, in which each character's place is known."""
    doc: Doc[Any] = Doc()
    typed = 0
    for length in lengths:
        doc.apply_update(keystroke(client, typed, length))
        typed += length
    assert str(doc.get(f"t{client}", type=Text)) == spelled(typed)


def test_keystrokes_that_come_twice() -> None:
    """What was not acknowledged is sent again as one update, over what may have arrived."""
    doc: Doc[Any] = Doc()
    for update in (keystroke(7, 0, 3), keystroke(7, 3, 2), keystroke(7, 3, 4)):
        doc.apply_update(update)
    assert str(doc.get("t7", type=Text)) == spelled(7)


def test_first_edit() -> None:
    """The first edit of a merged update is found; one that only deletes has none."""
    assert first_edit(keystroke(1 << 30, 0)) == (1 << 30, 0)
    assert first_edit(keystroke(300, 5, 2)) == (300, 5)
    assert first_edit(merge_updates(keystroke(3, 4), keystroke(9, 8))) in {(3, 4), (9, 8)}
    assert first_edit(b"\0\1\5\1\0\1") is None


@pytest.mark.parametrize("dialect", [Y, H], ids=lambda dialect: dialect.name)
def test_what_the_relay_hears(dialect: Dialect) -> None:
    """The relay's codec reads what the dialect writes."""
    update = keystroke(5, 0, 200)
    assert _heard(dialect, dialect.update(update)) == Update(update, False)
    assert _heard(dialect, dialect.update(update, step2=True)) == Update(update, True)
    presence = _heard(dialect, dialect.cursor(5, 3, "null"))
    assert presence == Presence(b"\1\5\3\4null")
    *_, ask = [payload for _, payload in _unmasked(dialect.hello("secret"))]
    assert _heard(dialect, ask) == Step1(b"\0")


def test_token() -> None:
    """A token is in the address for y-websocket and in the first message for Hocuspocus."""
    assert Y.path("a b") == "/ws/docs/one?ack=1&token=a%20b"
    assert H.path("a b") == "/ws?room=docs%2Fone"
    said = hocuspocus.decode(H.token("secret"))[2]
    assert isinstance(said, hocuspocus.Token)
    assert (said.token, said.version) == ("secret", "4.7.0")
    assert request(Y.path(""), "127.0.0.1:1").startswith(b"GET /ws/docs/one?ack=1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n")


def test_what_the_relay_says() -> None:
    """Every message that matters to a client is told apart, in both protocols."""
    prefix = b"\x08docs/one"
    update = keystroke(5, 0)
    assert Y.read(ywebsocket.step1(b"\0")) == Said(Kind.STEP1, b"\0")
    assert Y.read(ywebsocket.step2(update)) == Said(Kind.DOCUMENT, update)
    assert Y.read(ywebsocket.update(update)) == Said(Kind.UPDATE, update)
    assert Y.read(ywebsocket.ACKNOWLEDGED).kind is Kind.SAVED
    assert Y.read(ywebsocket.REFUSED).kind is Kind.REFUSED
    assert Y.read(ywebsocket.denied("no")) == Said(Kind.DENIED, b"no")
    assert Y.read(ywebsocket.presence(b"\0")).kind is Kind.OTHER
    assert H.read(prefix + ywebsocket.update(update)) == Said(Kind.UPDATE, update)
    assert H.read(hocuspocus.sync_status(prefix, True)).kind is Kind.SAVED
    assert H.read(hocuspocus.sync_status(prefix, False)).kind is Kind.REFUSED
    assert H.read(hocuspocus.authenticated(prefix, False)).kind is Kind.OTHER
    assert H.read(hocuspocus.denied(prefix, "no")) == Said(Kind.DENIED, b"no")
    assert H.read(hocuspocus.ask_token(prefix)).kind is Kind.ASKS_TOKEN
    assert H.read(hocuspocus.closed(prefix, "moved")) == Said(Kind.CLOSED, b"moved")
    assert H.read(hocuspocus.PING).kind is Kind.PING


def _heard(dialect: Dialect, message: bytes) -> object:
    return hocuspocus.decode(message)[2] if dialect.hocuspocus else ywebsocket.decode(message)


def _unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """Client frames of less than 126 bytes whose masks are zeros."""
    frames, at = [], 0
    while at < len(data):
        size = data[at + 1] & 127
        frames.append((data[at], data[at + 6 : at + 6 + size]))
        at += 6 + size
    return frames
