"""Redis keys: one slot for each room, and names that read back."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from relay import control
from relay.crossing import facts
from relay.journal.keys import (
    KEYS,
    NODES,
    PROBE,
    channel_key,
    epoch_key,
    markdown,
    node_key,
    room_of,
    stream_key,
    stream_prefix,
)
from relay.types import NodeId, RoomId

names = st.text(st.characters(codec="utf-8") | st.sampled_from("{}%:j7BD25"), min_size=1, max_size=40).map(RoomId)


@given(names, st.integers(1, 2**53))
def test_room_is_read_back_from_its_stream(room: RoomId, epoch: int) -> None:
    """A stream's key names exactly one room."""
    assert room_of(stream_key(room, epoch)) == room
    assert stream_key(room, epoch) == stream_prefix(room) + b"%d" % epoch


@given(names, st.integers(1, 2**53))
def test_keys_of_a_room_share_a_slot(room: RoomId, epoch: int) -> None:
    """The hash tag is the whole escaped name: never empty, never cut at a brace of the name's own."""
    key = stream_key(room, epoch)
    tag = key[key.index(b"{") + 1 : key.index(b"}")]
    assert key == b"materi:{" + tag + b"}:j:%d" % epoch
    assert tag
    assert key_slot(key) == key_slot(tag) == key_slot(epoch_key(room))


def test_reference_page_is_current() -> None:
    """contrib/keys.md is what the code says."""
    page = Path(__file__).parent.parent.parent / "contrib" / "keys.md"
    assert page.read_text() == markdown(), "run: python -m relay.journal.keys > contrib/keys.md"


def test_reference_names_every_key() -> None:
    """Each key that the code makes is a row of the reference, and only one."""
    room = RoomId("a/b {c}")
    made = [epoch_key(room), stream_key(room, 7), channel_key(room), node_key(NodeId("n-1")), NODES, PROBE]
    for key in (*made, control.KEY, facts.KEY):
        rows = [row for row in KEYS if re.fullmatch(re.sub("<[a-z]+>", "[^:]+", re.escape(row.name)), key.decode())]
        assert len(rows) == 1, key
