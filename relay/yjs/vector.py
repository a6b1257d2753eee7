"""State vectors: for each client the clock up to which everything is known."""

from collections.abc import Mapping

from relay.errors import Malformed
from relay.yjs.lib0 import read_uint, write_uint

__all__ = ["decode_vector", "encode_vector"]


def encode_vector(vector: Mapping[int, int]) -> bytes:
    """As Yjs writes it: greatest client first. Clients at clock 0 are left out."""
    entries = sorted(((client, clock) for client, clock in vector.items() if clock), reverse=True)
    out = [write_uint(len(entries))]
    for client, clock in entries:
        out.append(write_uint(client))
        out.append(write_uint(clock))
    return b"".join(out)


def decode_vector(data: bytes) -> dict[int, int]:
    """The clocks by client. Raises Malformed; a client named twice keeps its last clock, as in Yjs."""
    count, at = read_uint(data, 0)
    if count * 2 > len(data) - at:
        raise Malformed(f"state vector of {count} clients in {len(data)} bytes")
    vector: dict[int, int] = {}
    for _ in range(count):
        client, at = read_uint(data, at)
        vector[client], at = read_uint(data, at)
    if at != len(data):
        raise Malformed(f"{len(data) - at} bytes after the state vector")
    return vector
