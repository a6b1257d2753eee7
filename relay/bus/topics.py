"""The topics' streams in Redis: their keys, and the scripts that run on them."""

from importlib.resources import files
from typing import Any, NamedTuple

__all__ = ["Settled", "group_name", "key", "newest", "publish", "settled"]

_PUBLISH = files("relay.bus").joinpath("publish.lua").read_text("utf-8")
_SETTLED = files("relay.bus").joinpath("settled.lua").read_text("utf-8")


class Settled(NamedTuple):
    """How far the groups in Redis are, by `group_name`, and how many entries the stream holds."""

    groups: dict[str, int]
    length: int


def key(topic: str) -> str:
    """The stream of a topic."""
    return f"materi:events:{topic}"


def group_name(name: str, generation: int) -> str:
    """What a group is called in Redis."""
    return f"{name}.{generation}"


async def publish(redis: Any, topic: str, last: int, entries: list[tuple[int, bytes]]) -> bool:
    """Append; True when the stream had lost entries and was begun again (see publish.lua). Raises RedisError."""
    flat = [part for entry in entries for part in entry]
    return bool(await redis.eval(_PUBLISH, 1, key(topic), last, *flat))


async def newest(redis: Any, topic: str) -> int:
    """The position of the last entry that the stream was given; 0 when there is no stream. Raises RedisError."""
    if not await redis.exists(key(topic)):
        return 0
    return int((await redis.xinfo_stream(key(topic)))["last-generated-id"].partition(b"-")[0])


async def settled(redis: Any, topic: str, trim: int | None = None) -> Settled:
    """How far each group is; with `trim`, forget what all have settled (see settled.lua). Raises RedisError."""
    reply = await redis.eval(_SETTLED, 1, key(topic), "" if trim is None else trim)
    *pairs, length = reply
    return Settled({name.decode(): int(at) for name, at in zip(pairs[::2], pairs[1::2], strict=True)}, length)
