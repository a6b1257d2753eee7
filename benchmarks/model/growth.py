"""From what things cost to what many users take: cores, nodes, memory, network, Redis, PostgreSQL; what is full first.

Every number that is no measurement is a field of `Workload` or `Hosts`, and a flag of `python -m benchmarks.model`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.model.fit import value_of

__all__ = ["Costs", "Hosts", "Load", "Need", "Workload", "limits", "load_of", "needed", "parsed_sizes"]

HEADERS = 66
"""Bytes that Ethernet, IP and TCP (with time stamps) put around a segment."""
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Workload:
    """Who does what at the busiest moment. Shares are of the users who are connected; the rest is idle: a document is
    open, and nothing is done in it."""

    active: float = 0.10
    """Share that types."""
    reading: float = 0.30
    """Share that reads, and moves the cursor now and then."""
    room_size: str = "2:0.4,5:0.3,20:0.2,100:0.1"
    """Members of a document, and the share of the users who are in such ones."""
    edits_per_second: float = 3.0
    """Of one who types."""
    moves_per_second: float = 3.0
    """Cursor moves of one who types: editors send one with every key."""
    reader_moves_per_second: float = 0.1
    renewal: float = 15.0
    """Seconds after which every Yjs client says again that it is there."""
    joins_per_hour: float = 6.0
    """Of a user: documents opened, and reconnects."""
    cold: float = 0.3
    """Share of joins that find the document in PostgreSQL alone."""
    document_kb: float = 100.0
    rests_per_minute: float = 1.0
    """How often typing in a document pauses for so long that it is stored."""
    update_bytes: float = 26.0
    """Of a keystroke's update."""
    peak_hours: float = 4.0
    """Hours a day of this load; the rest of the day is not counted."""
    days: float = 22.0
    """Working days of a month."""

    def __post_init__(self) -> None:
        if not 0 <= self.active <= 1 or not 0 <= self.reading <= 1 - self.active:
            raise ValueError("the shares of who types and who reads are no shares of the users")


@dataclass(frozen=True, slots=True)
class Hosts:
    """What it runs on."""

    cores: int = 8
    """Of a relay node, one worker each."""
    memory_gb: float = 32.0
    headroom: float = 0.5
    """Share of a core that may be used at the busiest moment."""
    redis_headroom: float = 0.7
    """Likewise of the one core that a Redis server runs commands on."""
    postgres_cores: int = 16
    wal_mb: float = 100.0
    """WAL a second that PostgreSQL's disk takes."""
    network_mbit: float = 10_000.0
    """Of a node."""


class Costs(NamedTuple):
    """Measured: coefficients of formulas by feature, and single figures."""

    edit: Mapping[str, float]
    """µs an edit: `edit`, `flush`, `write` (times readers)."""
    cursor: Mapping[str, float]
    """µs a move: `move`, `write`."""
    warm: Mapping[str, float]
    """µs of a join: `join`, `kb`."""
    cold: Mapping[str, float]
    connection_kb: float
    room_kb: float
    ping_us: float
    keepalive: float
    held_per_byte: float
    """Bytes of memory for each of a document that is open."""
    valkey_us: float
    """Of Redis's CPU per journal entry, at a few thousand a second."""
    entry_bytes: float
    """Of Redis's memory, until the document is stored."""
    aof_bytes: float
    snapshot: Mapping[str, float]
    """µs of PostgreSQL per stored segment: `segment`, `byte` typed."""
    wal: Mapping[str, float]
    """Bytes likewise."""
    codec: Mapping[str, float]
    """µs of the relay's codec process likewise."""
    kept_per_byte: float
    """Bytes of tables and history that stay, for each typed."""
    frame_bytes: float
    """Of an edit's frame."""
    cursor_bytes: float


class Load(NamedTuple):
    """What the users do, a second, all together."""

    users: int
    rooms: float
    edits: float
    delivered: float
    moves: float
    moved: float
    """Moves that reach a reader."""
    joins: float
    stores: float
    typed: float
    """Bytes."""
    editing_us: float
    cursor_us: float


class Need(NamedTuple):
    """What that takes."""

    load: Load
    relay: dict[str, float]
    """Cores, by what for."""
    cores: float
    nodes: int
    memory_gb: float
    mbit: float
    redis_ops: float
    redis_cores: float
    redis_mb: float
    aof_mb: float
    postgres_cores: float
    stores: float
    wal_mb: float
    storage_gb: float
    """A month."""


def parsed_sizes(text: str) -> dict[int, float]:
    """Shares of the users by room size, from `2:0.4,5:0.6`. Raises ValueError unless they are 1 together."""
    sizes = {int(size): float(share) for size, share in (part.split(":") for part in text.split(","))}
    if not sizes or min(sizes) < 1 or abs(sum(sizes.values()) - 1) > 1e-6:
        raise ValueError(f"{text!r}: sizes from 1 up, and shares that are 1 together")
    return sizes


def load_of(users: int, work: Workload, costs: Costs) -> Load:
    """What so many users do. Edits of a room come one by one: that is the dear case, merging only saves."""
    rooms = edits = delivered = moves = moved = stores = editing = moving = 0.0
    per_user = (
        work.active * work.moves_per_second
        + work.reading * work.reader_moves_per_second
        + 1 / work.renewal
    )  # fmt: skip
    for size, share in parsed_sizes(work.room_size).items():
        here = users * share
        typed = here * work.active * work.edits_per_second
        said = here * per_user
        rooms += here / size
        edits += typed
        delivered += typed * (size - 1)
        moves += said
        moved += said * size  # its own cursor comes back to a client
        writing = 1 - (1 - work.active) ** size  # share of the rooms where somebody types
        stores += here / size * writing * work.rests_per_minute / 60
        editing += typed * value_of(costs.edit, {"edit": 1.0, "flush": 1.0, "write": size - 1})
        moving += said * value_of(costs.cursor, {"move": 1.0, "write": size})
    joins = users * work.joins_per_hour / 3600
    return Load(users, rooms, edits, delivered, moves, moved, joins, stores, edits * work.update_bytes, editing, moving)


def needed(users: int, work: Workload, hosts: Hosts, costs: Costs) -> Need:
    """What so many users take."""
    load = load_of(users, work, costs)
    size = {"join": 1.0, "kb": work.document_kb}
    joining = work.cold * value_of(costs.cold, size) + (1 - work.cold) * value_of(costs.warm, size)
    stored = {"segment": load.stores, "byte": load.typed}
    relay = {
        "edits": load.editing_us / 1e6,
        "cursors": load.cursor_us / 1e6,
        "joins": load.joins * joining / 1e6,
        "pings": users / costs.keepalive * costs.ping_us / 1e6 if work.renewal > costs.keepalive else 0.0,
        "compaction": value_of(costs.codec, stored) / 1e6,
    }  # fmt: skip
    cores = sum(relay.values())
    document = load.rooms * (costs.room_kb + costs.held_per_byte * work.document_kb) * 1e3
    memory = (users * costs.connection_kb * 1e3 + document) / 1e9
    nodes = max(
        math.ceil(cores / (hosts.cores * hosts.headroom)), math.ceil(memory / (hosts.memory_gb * hosts.headroom))
    ) + 1  # fmt: skip
    out = (
        load.delivered * (costs.frame_bytes + HEADERS) + load.moved * (costs.cursor_bytes + HEADERS)
        + load.joins * work.document_kb * 1e3
    )  # fmt: skip
    waiting = load.edits * 60 / work.rests_per_minute * costs.entry_bytes
    a_month = work.peak_hours * 3600 * work.days
    return Need(
        load, relay, cores, nodes, memory, out * 8 / 1e6,
        redis_ops=load.edits + 3 * load.stores,
        redis_cores=load.edits * costs.valkey_us / 1e6,
        redis_mb=waiting / 1e6,
        aof_mb=load.edits * costs.aof_bytes / 1e6,
        postgres_cores=value_of(costs.snapshot, stored) / 1e6,
        stores=load.stores,
        wal_mb=value_of(costs.wal, stored) / 1e6,
        storage_gb=load.typed * costs.kept_per_byte * a_month / 1e9,
    )  # fmt: skip


def limits(work: Workload, hosts: Hosts, costs: Costs) -> list[tuple[str, float, str]]:
    """What is full at how many users, the first first; and what to do then. Relay nodes are added until then."""
    users = 100_000
    need = needed(users, work, hosts, costs)
    size = max(parsed_sizes(work.room_size))
    one = Workload(**{**{name: getattr(work, name) for name in work.__slots__}, "room_size": f"{size}:1"})
    hottest = needed(size, one, hosts, costs)
    room = (hottest.load.editing_us + hottest.load.cursor_us) / 1e6
    of_node = (need.nodes - 1) * hosts.network_mbit * hosts.headroom
    found = [
        ("one relay process", users * hosts.headroom / need.cores, "workers and nodes are added, rooms spread"),
        ("a node's network", users * of_node / need.mbit, "more nodes than their cores ask for"),
        ("Redis: the core that runs commands", users * hosts.redis_headroom / need.redis_cores,
         "Redis Cluster: rooms spread over its slots"),
        ("PostgreSQL: cores", users * hosts.postgres_cores * hosts.headroom / need.postgres_cores,
         "a longer `snapshot_idle`, a larger host"),
        ("PostgreSQL: WAL", users * hosts.wal_mb / need.wal_mb, "a longer `snapshot_idle`, a faster disk"),
    ]  # fmt: skip
    if room > hosts.headroom:  # by members squared: more who type, and each before more
        found.append((f"a room of {size} where {work.active:.0%} type", size * math.sqrt(hosts.headroom / room),
                      "nothing: a room lives in one process"))  # fmt: skip
    return sorted(found, key=lambda limit: limit[1])
