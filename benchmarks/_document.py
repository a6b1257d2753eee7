"""Documents to measure with: of a given size, by a given number of authors, as one Yjs update."""

from relay.yjs.lib0 import write_uint as uint

__all__ = ["document"]

SENTENCE = 100
"""Bytes that one author writes before the next one goes on; short documents have shorter ones."""
DELETED = 10
"""Every so manieth sentence is deleted."""


def document(size: int, authors: int, first: int = 1000) -> bytes:
    """About `size` bytes of text in the root "body", written by clients `first` .. in turn, each behind the one before.

    So no two structs of one client touch, and none can be squashed into its neighbour. Raises ValueError when that many
    authors can't be had in that size.
    """
    each = min(SENTENCE, size // authors)  # what a struct takes, about
    if each < 20:
        raise ValueError(f"{authors} authors in {size} bytes")
    rounds = max(1, size // (each * authors))
    text = b"x" * round((each - 14) * DELETED / (DELETED - 1))
    live = uint(len(text)) + text
    out = bytearray(uint(authors))
    for author in range(authors):
        client = first + author
        out += uint(rounds) + uint(client) + b"\0"
        for turn in range(rounds):
            clock = turn * len(text)
            if author:
                origin = uint(client - 1) + uint(clock + len(text) - 1)
            elif turn:
                origin = uint(first + authors - 1) + uint(clock - 1)
            else:
                origin = b""
            gone = (turn * authors + author) % DELETED == DELETED - 1
            out += (b"\x81" if gone else b"\x84") + origin if origin else b"\x04\1\4body"
            out += uint(len(text)) if gone else live
    deleted = {
        author: [turn for turn in range(rounds) if (turn * authors + author) % DELETED == DELETED - 1]
        for author in range(authors)
    }
    deleted = {author: turns for author, turns in deleted.items() if turns}
    out += uint(len(deleted))
    for author, turns in deleted.items():
        out += uint(first + author) + uint(len(turns))
        for turn in turns:
            out += uint(turn * len(text)) + uint(len(text))
    return bytes(out)
