"""Every key and channel in Redis; `python -m relay.journal.keys` prints the reference page, contrib/keys.md.

The braces are a Redis Cluster hash tag: all keys of a room live in one slot, so one script may touch them. Braces in a
room's name would end the tag early, hence they are percent-encoded. The epoch is part of the stream's name: an append
to a stream that was lost or replaced names a key that does not exist, and NOMKSTREAM makes that visible without a
script. A deleted room's epoch stays for a minute so that its successor is greater even within the same millisecond.

An evicted stream is a lost document: the server's `maxmemory-policy` must not be one of `allkeys-*`.
"""

from typing import NamedTuple

from relay.types import NodeId, Position, RoomId

__all__ = [
    "ACL",
    "KEYS",
    "NODES",
    "PATTERN",
    "PROBE",
    "TOMBSTONE_MS",
    "Key",
    "channel_key",
    "channel_room",
    "entry_id",
    "epoch_key",
    "markdown",
    "node_key",
    "room_of",
    "stream_key",
    "stream_prefix",
]


class Key(NamedTuple):
    """A row of the reference. `name` has what varies in angle brackets; `kind` is a Redis type, or `channel`."""

    name: str
    kind: str
    owner: str
    lives: str
    purpose: str


KEYS = (
    Key(
        "materi:{<room>}:epoch", "string", "relay.journal.redis (open.lua, intervene.lua, forget.lua)",
        "while the room has a stream; a minute after it was deleted or retired",
        "Which stream is the room's; a later stream has a greater epoch.",
    ),
    Key(
        "materi:{<room>}:j:<epoch>", "stream", "relay.journal.redis (open.lua creates it, XADD NOMKSTREAM appends)",
        "until the room is closed; trimmed up to a committed snapshot",
        "The room's journal: each entry is who wrote it, then actor and update of each edit.",
    ),
    Key("materi:{<room>}:relays", "channel", "relay.shard.redis", "nothing is kept",
        "Relays that have the room open talk here; sharded (SPUBLISH) in a cluster."),
    Key("materi:control", "stream", "relay.control", "its last thousand entries",
        "What operators and APIs did to rooms that may be open somewhere."),
    Key("materi:facts", "stream", "relay.crossing.facts", "its last entries (`KEPT`)",
        "What happened to rooms, for plugins that listen."),
    Key("materi:{nodes}:node:<id>", "string", "relay.shard.cluster", "some seconds, renewed while the relay lives",
        "What a relay says of itself."),
    Key("materi:{nodes}:seen", "zset", "relay.shard.cluster", "ids not renewed for an hour are dropped",
        "Which relays there are."),
    Key("materi:events:<topic>", "stream", "relay.bus", "as its settings say", "Facts that leave the process."),
    Key("materi:limit:<name>", "string", "api_shim.limits", "its window", "How often somebody did something."),
    Key("materi:plugin:<plugin>:<name>", "string", "api_shim.cache", "as its plugin says", "A plugin's cache."),
    Key("materi:{}:probe", "none", "relay.journal.wire", "never exists",
        "Appended to with NOMKSTREAM, to see whether a server takes writes."),
)  # fmt: skip
"""All there are, except what plugins keep under a prefix of their own."""

ACL = (
    "~materi:* &materi:* +@read +@write +@pubsub +@scripting +@connection +@transaction -@dangerous"
    " +info +role +time +cluster|slots"
)
"""What the relay's user needs to be allowed, in the words of ACL SETUSER."""

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


def markdown() -> str:
    """The reference page."""
    page = [
        "# Keys and channels in Redis",
        "",
        "Written by `python -m relay.journal.keys > contrib/keys.md`. Keys of a room share a hash tag, so that they",
        "live in one slot of a cluster; braces and percent signs in a room's name are percent-encoded.",
        "",
        "| name | type | owner | lives | purpose |",
        "|---|---|---|---|---|",
        *(f"| `{key.name}` | {key.kind} | {key.owner} | {key.lives} | {key.purpose} |" for key in KEYS),
        "",
        "An evicted stream is a lost document: `maxmemory-policy` must be `noeviction`, or at least not `allkeys-*`.",
        "",
        "A user for the relay alone:",
        "",
        "```",
        f"ACL SETUSER relay on >password {ACL}",
        "```",
    ]
    return "\n".join(page) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
