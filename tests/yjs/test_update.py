"""Reading an update's layout is its validation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.yjs.lib0 import MAX_UINT, write_uint
from relay.yjs.update import EMPTY, Layout, TooManyStructs, parse

ME = 0xB0000001
RECORDED = {
    "first character": "0101818080800b0004010174016100",
    "next character": "0101818080800b0184818080800b00016200",
    "character between": "0101818080800b02c4818080800b00818080800b01017800",
    "backspace": "0001818080800b010201",
    "half an emoji": "0101818080800b03c4818080800b02818080800b0103efbfbd00",
    "map value": "0101818080800b052801016d046befbfbd017703efbfbd00",
    "map value again": "0101818080800b062801016d016b017601016175017703efbfbd00",
    "embed": "0101818080800b0745818080800b000e7b2278223a225c7564383364227d00",
    "format": "0102818080800b0846818080800b0701620474727565c6818080800b02818080800b030162046e756c6c00",
}


def fields(layout: Layout) -> tuple[object, ...]:
    return layout.update, layout.structs, layout.deletes, layout.deletes_at, layout.count, layout.plain


def test_keystroke_layout_is_exact() -> None:
    """A typed character: where its struct and the delete set are."""
    update = bytes.fromhex(RECORDED["next character"])
    assert fields(parse(update)) == (update, {ME: [(1, 1, 8, 17)]}, {}, 17, 1, True)
    assert repr(parse(update)) == "Layout(18 bytes, 1 structs, 1 clients)"


def test_deletes_are_listed() -> None:
    """A deleted character: no structs, one range."""
    update = bytes.fromhex(RECORDED["backspace"])
    assert fields(parse(update)) == (update, {}, {ME: [(2, 1)]}, 1, 0, True)
    assert fields(parse(EMPTY)) == (EMPTY, {}, {}, 1, 0, True)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_updates_are_read_whole_or_refused(name: str) -> None:
    """What Yjs sent is read; cut short anywhere or with a byte behind it, it is malformed."""
    update = bytes.fromhex(RECORDED[name])
    assert parse(update).update == update
    for bad in (*(update[:size] for size in range(len(update))), update + b"\0"):
        with pytest.raises(Malformed):
            parse(bad)


@given(st.data())
def test_every_truncation_is_malformed(write, data: st.DataObject) -> None:
    """No proper prefix of an update is an update."""
    for update in data.draw(write.logs()):
        layout = parse(update)
        assert sum(len(structs) for structs in layout.structs.values()) == layout.count
        for size in range(len(update)):
            with pytest.raises(Malformed):
                parse(update[:size])


@given(st.data())
def test_every_changed_byte_gives_a_layout_or_malformed(write, data: st.DataObject) -> None:
    """Whatever one byte is changed to, nothing but Malformed is raised, and a layout stays inside its update."""
    update = data.draw(st.sampled_from(data.draw(write.logs())))
    for at in range(len(update)):
        for byte in data.draw(st.sets(st.integers(0, 255), min_size=4, max_size=4)):
            changed = update[:at] + bytes((byte,)) + update[at + 1 :]
            try:
                layout = parse(changed)
            except Malformed:
                continue
            for structs in layout.structs.values():
                assert all(0 < start < end <= layout.deletes_at and length > 0 for _, length, start, end in structs)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_give_a_layout_or_malformed(data: bytes) -> None:
    """No input makes another error."""
    try:
        parse(data)
    except Malformed:
        pass


@given(st.data())
def test_fast_path_agrees_with_the_full_reader(write, data: st.DataObject) -> None:
    """A keystroke is read alike alone and in an update too large for the fast path."""
    ids = st.tuples(st.sampled_from((1, 130, ME, MAX_UINT)), st.integers(0, 40000))
    client = data.draw(st.sampled_from((1, 130, ME, MAX_UINT)))
    clock = data.draw(st.integers(0, 40000))
    body = data.draw(st.text(max_size=130).map(str.encode) | st.binary(max_size=5))
    text = write.item(4, write_uint(len(body)) + body, data.draw(ids), data.draw(ids | st.none()))
    alone = write.update([(client, clock, [text])])
    larger = write.update([(client, clock, [text]), (7, 0, [b"\0\1"])])
    try:
        expected = parse(larger).structs[client]
    except Malformed:
        with pytest.raises(Malformed):
            parse(alone)
        return
    assert parse(alone).structs.get(client, []) == expected


def test_lengths_count_utf16_units(write) -> None:
    """A clock is a UTF-16 unit of text, an element of an array, one for anything else."""
    update = write.update(
        [
            (
                5,
                10,
                [
                    write.text("a😀é"),
                    write.item(8, b"\2\x7e\x78"),
                    write.item(2, b"\1\1" + b"1"),
                    write.item(7, b"\1", (5, 3)),
                    write.item(1, b"\7", None, (5, 3)),
                    b"\x0a\x09",
                    b"\0\2",
                ],
            )
        ]
    )
    layout = parse(update)
    assert [struct[:2] for struct in layout.structs[5]] == [(10, 4), (14, 2), (16, 1), (17, 1), (18, 7), (34, 2)]
    assert layout.count == 7


def test_structs_without_a_clock_are_left_out(write) -> None:
    """An empty text, an empty collected range and an empty delete take part in nothing."""
    update = write.update([(5, 0, [write.text(""), b"\0\0", write.text("a")])], {5: [(0, 0)]})
    layout = parse(update)
    assert (layout.structs[5][0][:2], len(layout.structs[5]), layout.deletes, layout.count) == ((0, 1), 1, {}, 3)
    assert not layout.plain
    assert not parse(write.update([(5, 0, [write.text("")])])).plain
    assert not parse(write.update([], {5: [(0, 0)]})).plain


def test_sections_of_one_client_are_all_kept_and_noted(write) -> None:
    """Yjs reads only the last of several sections of a client; the layout has both and says that it is not plain."""
    layout = parse(write.update([(5, 3, [write.text("d")]), (5, 0, [write.text("abc")])], {5: [(0, 1)], 6: [(1, 1)]}))
    assert [struct[:2] for struct in layout.structs[5]] == [(3, 1), (0, 3)]
    assert not layout.plain


@pytest.mark.parametrize(
    ("what", "content", "body"),
    [
        ("text that is not UTF-8", 4, b"\1\xff"),
        ("a lone surrogate in UTF-8", 4, b"\3\xed\xa0\xbd"),
        ("an embed that is not JSON", 5, b"\3{a}"),
        ("an embed that only Python reads", 5, b"\3NaN"),
        ("an undefined embed", 5, b"\x09undefined"),
        ("JSON nested without end", 5, write_uint(100_000) + b"[" * 100_000),
        ("a format whose key is not UTF-8", 6, b"\1\xff\4null"),
        ("a format that is not JSON", 6, b"\1b\4nul!"),
        ("a JSON element that is not JSON", 2, b"\1\1x"),
        ("more JSON elements than bytes", 2, b"\xff\xff\x7f\1x"),
        ("more values than bytes", 8, b"\xff\xff\x7f\x7e"),
        ("an unknown value", 8, b"\1\x10"),
        ("an unknown type", 7, b"\7"),
        ("an element without a name", 7, b"\3"),
        ("a subdocument without options", 9, b"\1g\x7e"),
        ("binary longer than the update", 3, b"\x7f\0"),
        ("an unknown content", 11, b"\0"),
        ("deleted clocks without end", 1, b"\xff\xff\xff\xff\xff\xff\xff\x0f"),
    ],
)
def test_contents_that_would_stop_a_reader_are_malformed(write, what: str, content: int, body: bytes) -> None:
    """Every client would throw on these, so they go no further."""
    with pytest.raises(Malformed):
        parse(write.update([(5, 1, [write.item(content, body)])]))


@pytest.mark.parametrize("struct", [b"\x80\1", b"\x40\1", b"\x20\1", b"\x2a\1", b"\x8a\1"])
def test_flags_on_what_is_no_item_are_malformed(write, struct: bytes) -> None:
    """A GC or a Skip has no neighbours; Yjs's readers do not agree on what such bytes mean."""
    with pytest.raises(Malformed):
        parse(write.update([(5, 1, [struct])]))


@pytest.mark.parametrize("more", [0, 1])
def test_reference_to_the_own_future_is_malformed(write, more: int) -> None:
    """A client can't have known its own next clock; Yjs throws on it in every reader."""
    future = (5, 3 + more)
    for struct in (
        write.text("a", future),
        write.text("a", (6, 0), future),
        write.text("a", None, future),
        write.text("a", parent=future),
    ):
        with pytest.raises(Malformed):
            parse(write.update([(5, 3, [struct])]))
        parse(write.update([(5, 5, [struct])]))
        parse(write.update([(7, 3, [struct])]))


@pytest.mark.parametrize(
    "update",
    [
        "0101" + "05" + "ffffffffffffff0f" + "84050101" + "6100",
        "0101" + "05" + "feffffffffffff0f" + "0002" + "00",
        "0001" + "0501" + "ffffffffffffff0f" + "01",
        "ffffffffffffff0f0000",
        "01ffffffffffffff0f050000",
        "000105ffffffff0f0101",
        "",
        "00",
    ],
)
def test_clocks_and_counts_beyond_their_bounds_are_malformed(update: str) -> None:
    """No clock passes 2**53 - 1, no count the bytes left."""
    with pytest.raises(Malformed):
        parse(bytes.fromhex(update))


def test_limit_is_on_structs_values_and_delete_ranges(write) -> None:
    """More than the limit of any of them is left to a reader elsewhere; at the limit all is read here."""
    structs = write.update([(5, 0, [write.text("a")] * 3), (6, 0, [b"\0\1"])])
    values = write.update([(5, 0, [write.item(8, b"\4\x7e\x7e\x7e\x7e")])])
    deletes = write.update([], {5: [(0, 1), (2, 1)], 6: [(0, 1), (2, 1)]})
    for update in (structs, values, deletes):
        assert fields(parse(update, limit=4)) == fields(parse(update))
        with pytest.raises(TooManyStructs):
            parse(update, limit=3)
