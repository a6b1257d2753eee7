"""What crosses, as bytes: frames of a 4-byte big-endian length and a JSON array.

    relay -> shim   ["hello", VERSION, secret, node]      first on every connection
    shim  -> relay  ["hello", [hook, ...]]                the asks that some plugin answers
    relay -> shim   [id, hook, argument]
    shim  -> relay  [id, "none" | "principal" | "grant" | "deny" | "away", value]

`deny` carries [reason, close code], `away` a reason to try again later. Facts are [hook, node, Unix seconds, fact].
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import orjson

from relay.errors import Deny, Malformed, RelayError, Unavailable
from relay.grants import Grant, Principal
from relay.hooks import ASKS, FACTS, Ask, Fact
from relay.types import NodeId

__all__ = [
    "LENGTH",
    "MAX_FRAME",
    "VERSION",
    "Answer",
    "answer",
    "argument",
    "fact",
    "frame",
    "receive",
    "told",
    "value",
]

VERSION = 1
LENGTH = 4
MAX_FRAME = 1 << 20
"""Bytes; a token has at most 8 KB, a principal's rooms rarely more."""

Answer = Principal | Grant | None
_KINDS: dict[str, type] = {"principal": Principal, "grant": Grant}
_HOOKS = {kind: hook for hook, kind in FACTS.items()}


def frame(content: object) -> bytes:
    """One message, ready to be written."""
    body = orjson.dumps(content, default=_plain)
    return len(body).to_bytes(LENGTH, "big") + body


async def receive(reader: asyncio.StreamReader) -> Any:
    """The next message. Raises Malformed, and OSError or EOFError at the end."""
    length = int.from_bytes(await reader.readexactly(LENGTH), "big")
    if length > MAX_FRAME:
        raise Malformed(f"a frame of {length} bytes")
    try:
        return orjson.loads(await reader.readexactly(length))
    except orjson.JSONDecodeError:
        raise Malformed("not JSON") from None


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(type(value).__name__)


def argument(hook: str, said: object) -> Ask:
    """An ask's argument as it was before it crossed. Raises Malformed."""
    kind = ASKS.get(hook)
    if kind is None:
        raise Malformed(f"unknown ask {hook!r}")
    given = dict(_mapping(said))
    if "principal" in given:
        given["principal"] = _build(Principal, given["principal"])
    asked: Ask = _build(kind, given)
    return asked


def answer(given: Answer | RelayError) -> list[object]:
    """Kind and value of an answer."""
    match given:
        case None:
            return ["none", None]
        case Deny():
            return ["deny", [given.reason, given.code]]
        case RelayError():
            return ["away", str(given)]
        case Principal():
            return ["principal", given]
    return ["grant", given]


def value(kind: object, said: Any) -> Answer:
    """The inverse of `answer`: raises Deny and Unavailable as they were raised over there, and Malformed."""
    match kind:
        case "none":
            return None
        case "deny":
            raise Deny(*said)
        case "away":
            raise Unavailable(said)
        case "principal" | "grant":
            built: Principal | Grant = _build(_KINDS[str(kind)], said)
            return built
    raise Malformed(f"unknown answer {kind!r}")


def fact(said: Fact, node: NodeId, at: float) -> bytes:
    """A fact as it stands in the stream."""
    return orjson.dumps([_HOOKS[type(said)], node, at, asdict(said)])


def told(entry: bytes) -> tuple[str, NodeId, float, Fact]:
    """The inverse of `fact`: hook, node, time, fact. Raises Malformed."""
    try:
        hook, node, at, said = orjson.loads(entry)
        kind = FACTS[hook]
    except (ValueError, KeyError, TypeError):
        raise Malformed("not a fact") from None
    built: Fact = _build(kind, said)
    return hook, NodeId(node), float(at), built


def _build(kind: type, said: object) -> Any:
    given = _known(kind, _mapping(said))
    if isinstance(given.get("scopes"), list):
        given["scopes"] = frozenset(given["scopes"])
    if isinstance(given.get("actors"), list):
        given["actors"] = tuple(given["actors"])
    try:
        return kind(**given)
    except TypeError as error:
        raise Malformed(f"not a {kind.__name__}: {error}") from None


def _known(kind: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that a newer side has added are left out."""
    names = {field.name for field in fields(kind)}
    return {name: one for name, one in given.items() if name in names}


def _mapping(said: object) -> Mapping[str, Any]:
    if not isinstance(said, dict):
        raise Malformed("not an object")
    return said
