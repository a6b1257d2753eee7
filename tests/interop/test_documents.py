"""Documents: many on one socket, any name, any size."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]

NAMES = [
    *("plain", "a/b", "a/b/c", "A/B", "with space", "with+plus", "100%", "%20", "question?mark", "hash#tag"),
    *("ünï/cödé", "emoji 🎈/👩\u200d🚀", "שלום", "tab‑dash", "a&b=c", "semi;colon", "x" * 512, "ü" * 256),
    *("e\u0301", "\u00e9", "trailing/", "dots.and~tildes", "'quotes\"", "back\\slash"),
]
RAW = ["plain", "a/b", "with space", "ünï/cödé", "emoji 🎈/👩\u200d🚀", "שלום", "with+plus"]


@pytest.mark.parametrize("kind", ["hp2", "hp3", "hp4"])
def test_one_socket(relay: Any, play: Run, room: str, kind: str) -> None:
    """Documents on one socket are apart from each other; closing one leaves the others open, and it may open again."""
    found = play("documents", "oneSocket", relay, room=room, kind=kind, count=5)
    assert found["closes"] == []
    assert found["texts"] == ["unseen document 0", "more document 1", *(f"document {i}" for i in range(2, 5))]
    assert found["closed"] == "document 0"


def test_names(relay: Any, play: Run) -> None:
    """Whatever a name holds, both protocols mean the same document by it, and no other name means it."""
    found = play("documents", "names", relay, rooms=NAMES, raw=RAW)
    assert found["arrays"] == [[f"{i}a", f"{i}b"] for i in range(len(NAMES))]


def test_bad_names(relay: Any, play: Run, room: str) -> None:
    """Empty, too long and control-character names are refused; the server goes on."""
    bad = ["x" * 513, "ü" * 257, "line\nbreak", "bell\x07"]
    assert all(play("documents", "badNames", relay, rooms=bad, room=room)["refused"])


@pytest.mark.slow
@pytest.mark.parametrize(("uploader", "joiner"), [("hp4", "yws3"), ("yws3", "hp4")])
def test_20_megabytes(relay: Any, play: Run, room: str, uploader: str, joiner: str) -> None:
    """A 20 MB document is uploaded, joined, and edited by both."""
    found = play(
        "documents", "large", relay, room=room, bytes=20_000_000, uploader=uploader, joiner=joiner, deadline=110
    )
    print(found)
    assert found["size"] > 15_000_000
    assert found["equal"]


def test_2_megabytes(relay: Any, play: Run, room: str) -> None:
    """A document of 2 MB, too large to be parsed on the loop, is uploaded, joined, and edited by both."""
    found = play("documents", "large", relay, room=room, bytes=2_000_000, uploader="hp4", joiner="yws3")
    assert found["equal"]
