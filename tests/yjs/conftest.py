"""Updates built by hand, and what an update means clock by clock."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from relay.yjs.item import read_head
from relay.yjs.lib0 import read_uint, skip_any, write_bytes, write_uint
from relay.yjs.update import Layout, parse

Id = tuple[int, int]
Unit = tuple[Any, ...]


class Updates:
    """A writer of v1 updates that shares nothing with the codec but `write_uint`."""

    def item(
        self,
        content: int,
        body: bytes,
        origin: Id | None = None,
        right: Id | None = None,
        parent: str | Id = "t",
        key: str | None = None,
    ) -> bytes:
        info = content | (0x80 if origin else 0) | (0x40 if right else 0) | (0x20 if key is not None else 0)
        out = bytes((info,))
        for neighbour in (origin, right):
            if neighbour:
                out += write_uint(neighbour[0]) + write_uint(neighbour[1])
        if not origin and not right:
            if isinstance(parent, str):
                out += b"\1" + write_bytes(parent.encode())
            else:
                out += b"\0" + write_uint(parent[0]) + write_uint(parent[1])
            if key is not None:
                out += write_bytes(key.encode())
        return out + body

    def text(self, text: str, origin: Id | None = None, right: Id | None = None, **where: Any) -> bytes:
        return self.item(4, write_bytes(text.encode()), origin, right, **where)

    def update(
        self,
        sections: Sequence[tuple[int, int, Sequence[bytes]]] = (),
        deletes: Mapping[int, Sequence[tuple[int, int]]] | None = None,
    ) -> bytes:
        out = write_uint(len(sections))
        for client, clock, structs in sections:
            out += write_uint(len(structs)) + write_uint(client) + write_uint(clock) + b"".join(structs)
        out += write_uint(len(deletes or {}))
        for client, ranges in (deletes or {}).items():
            out += write_uint(client) + write_uint(len(ranges))
            for clock, length in ranges:
                out += write_uint(clock) + write_uint(length)
        return out

    def keystroke(self, client: int, clock: int, character: str = "a") -> bytes:
        """What Yjs sends for a character typed behind the client's last one."""
        return self.update([(client, clock, [self.text(character, (client, clock - 1) if clock else None)])])

    @st.composite
    @staticmethod
    def logs(draw: st.DrawFn) -> list[bytes]:
        """Updates of up to three clients in an order in which they could have been made."""
        write = Updates()
        clocks: dict[int, int] = {}
        types: list[Id] = []
        log = []
        for _ in range(draw(st.integers(1, 12))):
            client = draw(st.sampled_from((1, 300, 0xB0000001)))
            first = clock = clocks.get(client, 0)
            structs = []
            for _ in range(draw(st.integers(0, 3))):
                origin = right = None
                held = [(other, until) for other, until in clocks.items() if until]
                if clock > first and draw(st.booleans()):
                    origin = (client, clock - 1)
                elif held and draw(st.booleans()):
                    other, until = draw(st.sampled_from(held))
                    origin = (other, draw(st.integers(0, until - 1)))
                if held and draw(st.booleans()):
                    other, until = draw(st.sampled_from(held))
                    right = (other, draw(st.integers(0, until - 1)))
                parent = draw(st.sampled_from(types)) if types and draw(st.booleans()) else "t"
                key = draw(st.sampled_from((None, None, "k", "ключ")))
                if draw(st.integers(0, 9)) == 0:
                    length = draw(st.integers(1, 300))
                    structs.append(b"\0" + write_uint(length))
                else:
                    content, body, length = draw(CONTENTS)
                    structs.append(write.item(content, body, origin, right, parent, key))
                    if content == 7:
                        types.append((client, clock))
                clock += length
            clocks[client] = clock
            deletes: dict[int, list[Id]] = {}
            for other, until in clocks.items():
                if until and draw(st.integers(0, 3)) == 0:
                    start = draw(st.integers(0, until - 1))
                    deletes[other] = [(start, draw(st.integers(1, until - start)))]
            log.append(write.update([(client, first, structs)] if structs else [], deletes))
        return log

    def meaning(self, *layouts: Layout) -> tuple[dict[Id, Unit], set[Id]]:
        """Each clock's content and place, and the deleted clocks; of two that claim a clock the first counts."""
        units: dict[Id, Unit] = {}
        deleted: set[Id] = set()
        for layout in layouts:
            for client, structs in layout.structs.items():
                for clock, length, start, end in structs:
                    for offset, unit in enumerate(_units(layout.update, client, clock, length, start, end)):
                        units.setdefault((client, clock + offset), unit)
            for client, ranges in layout.deletes.items():
                deleted |= {(client, clock + offset) for clock, length in ranges for offset in range(length)}
        return units, deleted

    def parsed(self, log: Sequence[bytes]) -> list[Layout]:
        return [parse(update) for update in log]


def _any(value: Any) -> bytes:
    match value:
        case None:
            return b"\x7e"
        case bool():
            return b"\x78" if value else b"\x79"
        case int():
            return b"\x7d" + (bytes((value,)) if value < 64 else bytes((value & 63 | 128, value >> 6)))
        case float():
            return b"\x7b" + struct.pack(">d", value)
        case str():
            return b"\x77" + write_bytes(value.encode())
        case bytes():
            return b"\x74" + write_bytes(value)
        case list():
            return b"\x75" + write_uint(len(value)) + b"".join(map(_any, value))
    pairs = [write_bytes(key.encode()) + _any(inner) for key, inner in value.items()]
    return b"\x76" + write_uint(len(pairs)) + b"".join(pairs)


TEXT = st.text(st.sampled_from("ab é日😀"), min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 8191) | st.floats() | TEXT | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
CONTENTS = st.one_of(
    st.integers(1, 200).map(lambda length: (1, write_uint(length), length)),
    st.lists(st.sampled_from(('"a"', "1", "undefined", '{"x":[null]}')), min_size=1, max_size=3).map(
        lambda list: (2, write_uint(len(list)) + b"".join(write_bytes(text.encode()) for text in list), len(list))
    ),
    st.binary(max_size=5).map(lambda data: (3, write_bytes(data), 1)),
    TEXT.map(lambda text: (4, write_bytes(text.encode()), len(text.encode("utf-16-le")) // 2)),
    st.just((5, write_bytes(b'{"image":"a.png"}'), 1)),
    st.just((6, write_bytes(b"bold") + write_bytes(b"true"), 1)),
    st.sampled_from((b"\0", b"\1", b"\2", b"\3\1p", b"\4", b"\5\4hook", b"\6")).map(lambda kind: (7, kind, 1)),
    st.lists(VALUES, min_size=1, max_size=3).map(
        lambda list: (8, write_uint(len(list)) + b"".join(map(_any, list)), len(list))
    ),
    st.just((9, write_bytes(b"guid") + _any({"autoLoad": True}), 1)),
)


def _units(data: bytes, client: int, clock: int, length: int, start: int, end: int) -> list[Unit]:
    if data[start] == 0:
        return [("collected",)] * length
    head = read_head(data, start)
    content = head.info & 31
    parent = data[head.parent_at : head.content_at] if head.parent_at < head.content_at else b""
    at = head.content_at
    values: list[Any] = [data[at:end]]
    if content == 1:
        values = [None] * length
    elif content == 4:
        size, at = read_uint(data, at)
        units = data[at : at + size].decode().encode("utf-16-le")
        values = [units[index : index + 2] for index in range(0, len(units), 2)]
    elif content in (2, 8):
        _, at = read_uint(data, at)
        values = []
        for _ in range(length):
            if content == 8:
                after = skip_any(data, at)
            else:
                size, after = read_uint(data, at)
                after += size
            values.append(data[at:after])
            at = after
    assert len(values) == length
    first = (content, values[0], head.origin, head.right, parent)
    return [first] + [
        (content, value, (client, clock + offset), head.right, b"") for offset, value in enumerate(values[1:])
    ]


@pytest.fixture(scope="session")
def write() -> Updates:
    return Updates()
