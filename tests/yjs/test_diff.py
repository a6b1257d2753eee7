"""What a reader is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Malformed
from relay.yjs.diff import diff
from relay.yjs.merge import merge
from relay.yjs.update import parse


def test_diff_keeps_what_is_past_the_vector(write) -> None:
    """Whole clients, the rest of one, nothing of one that is known; the delete set always."""
    deletes = {7: [(0, 1)], 5: [(1, 1)]}
    update = write.update(
        [
            (9, 0, [write.text("new")]),
            (7, 0, [write.text("ab"), write.text("cd", (9, 0)), write.text("e", (7, 3))]),
            (5, 0, [write.text("known")]),
        ],
        deletes,
    )
    rest = [write.text("d", (7, 2)), write.text("e", (7, 3))]
    assert diff(update, {7: 3, 5: 5, 1: 8}) == write.update([(9, 0, [write.text("new")]), (7, 3, rest)], deletes)
    assert diff(update, {}) == update
    assert diff(update, {9: 3, 7: 5, 5: 9}) == write.update([], deletes)


def test_diff_keeps_gaps_but_begins_with_a_struct(write) -> None:
    """A Skip stays between structs; one at the beginning is left out."""
    update = write.update([(5, 0, [write.text("a"), b"\x0a\4", write.text("b", (5, 4)), b"\x0a\2", b"\0\1"])])
    assert diff(update, {}) == update
    assert diff(update, {5: 1}) == write.update([(5, 5, [write.text("b", (5, 4)), b"\x0a\2", b"\0\1"])])
    assert diff(update, {5: 7}) == write.update([(5, 8, [b"\0\1"])])


def test_diff_of_malformed_bytes_is_refused() -> None:
    """The update is checked like any other."""
    with pytest.raises(Malformed):
        diff(b"\1", {})


@given(st.data())
def test_diff_holds_exactly_what_is_past_the_vector(write, data: st.DataObject) -> None:
    """Clock by clock, for any vector that does not stop inside an emoji."""
    update = merge(write.parsed(data.draw(write.logs())))
    layout = parse(update)
    vector = {}
    for client, structs in layout.structs.items():
        stops = [0] + [clock + length for clock, length, _, _ in structs]
        stops += [clock + length // 2 for clock, length, at, end in structs if "😀".encode() not in update[at:end]]
        vector[client] = data.draw(st.sampled_from(stops))
    units, deleted = write.meaning(layout)
    expected = {(client, clock): unit for (client, clock), unit in units.items() if clock >= vector[client]}
    assert write.meaning(parse(diff(update, vector))) == (expected, deleted)


def test_diff_of_several_sections_of_a_client_is_whole(write) -> None:
    """An update that is not plain is put in order first."""
    update = write.update([(5, 1, [write.text("b", (5, 0))]), (5, 0, [write.text("a")])])
    assert diff(update, {5: 1}) == write.update([(5, 1, [write.text("b", (5, 0))])])
