"""Cutting items the way Yjs does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.yjs.item import cut, read_head, split_text
from relay.yjs.update import parse


def test_head_says_where_its_parts_are(write) -> None:
    """Origin, right origin, then the content; or the parent and its key."""
    both = write.text("a", (5, 300), (6, 2))
    assert read_head(b"x" + both, 1) == (0xC4, (5, 300), (6, 2), 5, 7, 7)
    named = write.text("a", key="k", parent="root")
    assert read_head(named, 0) == (0x24, None, None, 1, 1, len(named) - 2)
    nested = write.text("a", parent=(300, 1))
    assert read_head(nested, 0) == (0x04, None, None, 1, 1, len(nested) - 2)


def test_right_part_follows_the_left(write) -> None:
    """The right part's origin is the clock before it; it keeps the right origin and drops the parent."""
    whole = write.text("abcd", None, (9, 1))
    assert cut(whole, 0, len(whole), 5, 10, 1, 3) == write.text("bcd", (5, 10), (9, 1))
    assert cut(whole, 0, len(whole), 5, 10, 0, 2) == write.text("ab", None, (9, 1))
    assert cut(whole, 0, len(whole), 5, 10, 1, 2) == write.text("bc", (5, 10), (9, 1))
    keyed = write.item(8, b"\2\x7e\x78", key="k")
    assert cut(keyed, 0, len(keyed), 5, 0, 1, 1) == b"\xa8\5\0\1\x78"


def test_lengths_are_cut_by_number(write) -> None:
    """Collected clocks and deleted contents are only a length."""
    assert cut(b"\0\7", 0, 2, 5, 0, 2, 4) == b"\0\4"
    gone = write.item(1, b"\7", (6, 1))
    assert cut(gone, 0, len(gone), 5, 9, 2, 5) == write.item(1, b"\5", (5, 10))


def test_half_a_surrogate_pair_is_replaced() -> None:
    """Either side of a cut emoji becomes U+FFFD, and the lengths stay."""
    text = "a😀b".encode()
    assert [part.decode() for part in split_text(text, (0, 2, 4))] == ["a�", "�b"]
    assert [part.decode() for part in split_text(text, (0, 1, 3, 4))] == ["a", "😀", "b"]


def test_contents_of_length_one_are_not_cut(write) -> None:
    """Asking to cut what has no parts is an error of the caller."""
    embed = write.item(5, b"\2{}")
    with pytest.raises(ValueError):
        cut(embed, 0, len(embed), 5, 0, 0, 1)


@given(st.data())
def test_parts_mean_what_the_whole_meant(write, data: st.DataObject) -> None:
    """Cut anywhere that is not inside an emoji, a struct's parts hold its units at their clocks."""
    update = data.draw(st.sampled_from(data.draw(write.logs())))
    layout = parse(update)
    expected, _ = write.meaning(layout)
    for client, structs in layout.structs.items():
        for clock, length, start, end in structs:
            at = data.draw(st.integers(0, length))
            if not 0 < at < length or "😀".encode() in update[start:end]:
                continue
            left = cut(update, start, end, client, clock, 0, at)
            right = cut(update, start, end, client, clock, at, length - at)
            parts, _ = write.meaning(parse(write.update([(client, clock, [left, right])])))
            assert parts == {(client, tick): expected[client, tick] for tick in range(clock, clock + length)}
