"""Collecting what lies inside deleted types."""

from relay.yjs.compact import compact
from relay.yjs.garbage import collect
from relay.yjs.ranges import Ranges
from relay.yjs.update import Layout, parse


def marks(layouts: list[Layout], deletes: dict[int, Ranges]) -> dict[int, list[int]]:
    pieces = {
        client: [(clock, length, layout.update, start, end) for clock, length, start, end in structs]
        for layout in layouts
        for client, structs in layout.structs.items()
    }
    return {client: list(flags) for client, flags in collect(pieces, deletes).items()}


def test_descendants_of_a_deleted_type_are_collected(write) -> None:
    """Children, what follows them, what precedes them, and their children's; siblings of the type are not."""
    layouts = write.parsed(
        [
            write.update(
                [
                    (
                        5,
                        0,
                        [
                            write.item(7, b"\3\1p"),
                            write.text("in", parent=(5, 0)),
                            write.text("on", (5, 2)),
                            write.text("by", None, (5, 1)),
                            write.item(7, b"\1", (5, 6)),
                            write.item(8, b"\1\x7e", parent=(5, 7), key="k"),
                            write.text("out", (5, 0)),
                        ],
                    )
                ]
            ),
            write.update([(6, 0, [write.text("of another client", (5, 3))])]),
        ]
    )
    deletes = {5: Ranges([(0, 1)])}
    assert marks(layouts, deletes) == {5: [0, 1, 1, 1, 1, 1, 0], 6: [1]}
    assert list(deletes[5]) == [(0, 9)]
    assert list(deletes[6]) == [(0, 17)]


def test_live_types_keep_what_is_in_them(write) -> None:
    """A deleted child takes nothing with it, and a type that is away is not taken for deleted."""
    layouts = write.parsed(
        [
            write.update(
                [
                    (
                        5,
                        0,
                        [
                            write.item(7, b"\3\1p"),
                            write.text("a", parent=(5, 0)),
                            write.text("b", (5, 1)),
                            write.text("c", parent=(9, 9)),
                            write.text("d", (9, 3)),
                        ],
                    )
                ]
            )
        ]
    )
    assert marks(layouts, {5: Ranges([(1, 1)]), 9: Ranges([(9, 1)])}) == {}


def test_what_follows_a_missing_struct_is_kept(write) -> None:
    """Whether the struct before a gap is buried says nothing of the one behind it."""
    structs = [write.item(7, b"\0"), write.text("in", parent=(5, 0)), b"\x0a\2", write.text("?", (5, 4))]
    layouts = write.parsed([write.update([(5, 0, structs)])])
    assert marks(layouts, {5: Ranges([(0, 1)])}) == {5: [0, 1, 0]}


def test_late_child_of_a_dropped_type_is_collected(write) -> None:
    """A type whose contents were dropped in an earlier compaction still buries what comes later."""
    base = compact([write.update([(5, 0, [write.item(7, b"\1")])], {5: [(0, 1)]})]).state
    late = write.update([(6, 0, [write.text("late", parent=(5, 0))])])
    assert compact([base, late]).state == write.update(
        [(6, 0, [b"\0\4"]), (5, 0, [write.item(1, b"\1")])], {6: [(0, 4)], 5: [(0, 1)]}
    )


def test_forged_circles_end(write) -> None:
    """Items that name each other as origin or parent are left alone, without hanging."""
    layouts = [
        parse(
            write.update(
                [
                    (6, 0, [write.text("a", (5, 0)), write.item(7, b"\1", parent=(5, 1))]),
                    (5, 0, [write.text("b", (6, 0)), write.item(7, b"\1", parent=(6, 1))]),
                ]
            )
        )
    ]
    assert marks(layouts, {}) == {}


def test_deep_nesting_needs_no_stack(write) -> None:
    """Ten thousand types inside each other, the outermost deleted."""
    structs = [write.item(7, b"\0")] + [write.item(7, b"\0", parent=(5, depth)) for depth in range(10_000)]
    state = compact([write.update([(5, 0, structs)], {5: [(0, 1)]})]).state
    assert state == write.update([(5, 0, [write.item(1, b"\1"), b"\0\x90\x4e"])], {5: [(0, 10_001)]})
