"""The fresh reader's document."""

from loadtests.verify import read_texts
from loadtests.wire import keystroke, spelled


def test_read_texts() -> None:
    """Each author's text is read from updates in any number; who is not there has typed nothing."""
    updates = [keystroke(1, 0, 5), keystroke(2, 0), keystroke(1, 5, 2)]
    assert read_texts(updates, [1, 2, 3]) == {1: spelled(7), 2: "a", 3: ""}
