"""Redis keys: one slot for each room, and names that read back."""

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from relay.journal.keys import epoch_key, room_of, stream_key, stream_prefix
from relay.types import RoomId

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
