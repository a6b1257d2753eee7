"""Every key the journal keeps in Redis.

    key                       type    owner                      time to live
    materi:{<room>}:epoch     string  open.lua, intervene.lua    none while the room has a stream; TOMBSTONE_MS after
                                                                 the stream was deleted or retired
    materi:{<room>}:j:<epoch> stream  open.lua creates it,       none: trimmed up to a committed snapshot, unlinked by
                                      XADD NOMKSTREAM appends,   forget.lua (or by open.lua when it lost its end)
                                      intervene.lua renames it
    materi:control            stream  relay.control              none: its last thousand entries
    materi:{<room>}:relays    channel relay.shard.redis          pub/sub: nothing is kept
    materi:{nodes}:node:<id>  string  relay.shard.cluster        some seconds: renewed while the relay lives
    materi:{nodes}:seen       zset    relay.shard.cluster        none: ids not renewed for an hour are dropped

The braces are a Redis Cluster hash tag: all keys of a room live in one slot, so one script may touch them. Braces in a
room's name would end the tag early, hence they are percent-encoded. The epoch is part of the stream's name: an append
to a stream that was lost or replaced names a key that does not exist, and NOMKSTREAM makes that visible without a
script. A deleted room's epoch stays for a minute so that its successor is greater even within the same millisecond.

An evicted stream is a lost document: the server's `maxmemory-policy` must not be one of `allkeys-*`.
"""

from relay.types import NodeId, Position, RoomId

__all__ = [
    "NODES",
    "PATTERN",
    "PROBE",
    "TOMBSTONE_MS",
    "channel_key",
    "channel_room",
    "entry_id",
    "epoch_key",
    "node_key",
    "room_of",
    "stream_key",
    "stream_prefix",
]

TOMBSTONE_MS = 60_000
PATTERN = b"materi:{*}:j:*"
"""Matches every stream, for SCAN."""
NODES = b"materi:{nodes}:seen"
"""The ids of relays, by the Unix second when they were last heard; what they said is under `node_key`."""
PROBE = b"materi:{}:probe"
"""Never exists. An append to it writes nothing, and fails like a real one on a server that is loading or a replica."""


def epoch_key(room: RoomId) -> bytes:
    """The string that holds the room's current epoch."""
    return f"materi:{{{_escape(room)}}}:epoch".encode()


def stream_prefix(room: RoomId) -> bytes:
    """What the names of the room's streams begin with; the epoch in decimal follows."""
    return f"materi:{{{_escape(room)}}}:j:".encode()


def stream_key(room: RoomId, epoch: int) -> bytes:
    """The room's stream of one epoch."""
    return f"materi:{{{_escape(room)}}}:j:{epoch}".encode()


def room_of(key: bytes) -> RoomId:
    """The room whose stream `key` names; the inverse of `stream_key`."""
    return _unescape(key[len("materi:{") : key.rindex(b"}:j:")])


def channel_key(room: RoomId) -> bytes:
    """The channel on which the relays that have the room open talk."""
    return f"materi:{{{_escape(room)}}}:relays".encode()


def channel_room(channel: bytes) -> RoomId:
    """The inverse of `channel_key`."""
    return _unescape(channel[len("materi:{") : -len("}:relays")])


def node_key(node: NodeId) -> bytes:
    """What a relay says of itself."""
    return f"materi:{{nodes}}:node:{node}".encode()


def _escape(room: RoomId) -> str:
    return room.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


def _unescape(name: bytes) -> RoomId:
    return RoomId(name.decode().replace("%7D", "}").replace("%7B", "{").replace("%25", "%"))


def entry_id(position: Position) -> str:
    """The Redis stream id of a position."""
    return f"{position.ms}-{position.seq}"
