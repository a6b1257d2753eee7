"""The archive's blocks: what goes in comes out, and small."""

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.journal import Entry
from relay.snapshot.archive import BLOCK_BYTES, BLOCK_ENTRIES, pack, unpack
from relay.types import Actor, Edit, NodeId, Position

numbers = st.integers(0, 2**63 - 1) | st.integers(0, 3)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["ann", "bob", ""])
edits = st.builds(Edit, names.map(Actor), st.binary(max_size=200))
entries = st.lists(
    st.builds(Entry, st.builds(Position, numbers, numbers, numbers), names.map(NodeId), st.lists(edits).map(tuple)),
    unique_by=lambda entry: entry.position,
).map(lambda found: sorted(found, key=lambda entry: entry.position))


def keystrokes(count: int) -> list[Entry]:
    """One author typing in four short bursts, as a Yjs editor sends it: 19 bytes a letter."""
    source = random.Random(2)
    ms, made = 1_700_000_000_000, []
    for clock in range(count):
        ms += source.randint(60, 400)
        update = b"\x01\x01\xd2\x85\xd6\x9f\x07" + bytes([clock & 127 | 128, clock >> 7])
        update += b"\x84\xd2\x85\xd6\x9f\x07" + bytes([(clock - 1) & 127 | 128, clock >> 7]) + b"\x01"
        update += source.choice(b"etaoin shrdlu").to_bytes() + b"\x00"
        made.append(Entry(Position(1, ms, 0), NodeId("node-a"), (Edit(Actor("0b9d6a7e"), update),)))
    return made


@settings(max_examples=150, deadline=None)
@given(entries)
def test_pack_unpack(found: list[Entry]) -> None:
    """Unpacking gives the packed entries, and a block says truly what it spans."""
    blocks = pack(found)
    assert [entry for block in blocks for entry in unpack(block.data)] == found
    for block in blocks:
        inside = unpack(block.data)
        assert (block.first, block.last, block.entries) == (inside[0].position, inside[-1].position, len(inside))


def test_pack_bounds_blocks() -> None:
    """Neither many entries nor big ones make a block without bound."""
    assert pack([]) == []
    assert [block.entries for block in pack(keystrokes(2 * BLOCK_ENTRIES + 1))] == [BLOCK_ENTRIES, BLOCK_ENTRIES, 1]
    big = Edit(Actor(""), bytes(BLOCK_BYTES // 2))
    many = [Entry(Position(1, number, 0), NodeId("n"), (big,)) for number in range(5)]
    assert [block.entries for block in pack(many)] == [2, 2, 1]


def test_pack_is_smaller_than_the_updates() -> None:
    """A block of typing, with its times and authors, takes fewer bytes than the updates alone."""
    typed = keystrokes(500)
    (block,) = pack(typed)
    assert len(block.data) < 0.6 * sum(len(edit.update) for entry in typed for edit in entry.edits)


def test_pack_does_not_grow_what_zlib_cannot_shrink() -> None:
    """Bytes that do not compress cost a few bytes more, not zlib's overhead on top."""
    noise = random.Random(1).randbytes(5000)
    (block,) = pack([Entry(Position(1, 5, 0), NodeId("n"), (Edit(Actor("a"), noise),))])
    assert len(block.data) < 5000 + 20
    assert unpack(block.data)[0].edits[0].update == noise


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda body: b"\x01" + zlib.compress(body)))
def test_unpack_refuses_noise(data: bytes) -> None:
    """Bytes that are no block raise ValueError or happen to be one; nothing else escapes."""
    try:
        unpack(data)
    except ValueError:
        pass


@pytest.mark.parametrize("cut", [1, 2, 10, 1000])
def test_unpack_refuses_a_cut_block(cut: int) -> None:
    """A block with its end missing is refused, never read as fewer edits."""
    noise = Entry(Position(1, 5, 0), NodeId("n"), (Edit(Actor("a"), random.Random(1).randbytes(2000)),))
    for found in ([noise], keystrokes(200)):
        (block,) = pack(found)
        with pytest.raises(ValueError, match="block"):
            unpack(block.data[:-cut])
