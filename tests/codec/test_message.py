"""What goes between the relay and its codec processes."""

import io

from hypothesis import given
from hypothesis import strategies as st

from relay.codec.message import APART, pack, receive

small = st.binary(max_size=20)
large = st.integers(0, 255).map(lambda byte: bytes([byte]) * APART)
values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=9) | small | large,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@given(st.lists(values.filter(lambda value: value is not None), max_size=3))
def test_comes_back(messages: list[object]) -> None:
    """What is received is what was packed: the same types, bytes of any size, in order, and then nothing."""
    source = io.BytesIO(b"".join(piece for message in messages for piece in pack(message)))
    received = []
    while (message := receive(source)) is not None:
        received.append(message)
    assert repr(received) == repr(messages)


def test_large_bytes_are_not_copied() -> None:
    """What is large is sent from where it is."""
    document = bytes(APART)
    _, piece = pack(("diff", (document, b"\0")))
    assert isinstance(piece, memoryview)
    assert piece.obj is document
