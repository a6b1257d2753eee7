"""What a connection may do: who it is, and which rooms that opens.

A token says it in its `rooms` claim: `{"docs/*": "read-write", "docs/legal/*": "readonly", "docs/secret": "none"}`.
`*` stands for any run of characters, `/` included; the pattern with the most other characters wins, on a tie the one
that allows less; a room that no pattern matches is closed. Names are compared as they are: no case folding, no `..`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from relay.errors import Deny
from relay.types import Actor, RoomId

__all__ = ["ACCESS", "ANYONE", "Access", "Grant", "Kind", "Principal", "matches"]

Access = Literal["none", "readonly", "read-write"]
Kind = Literal["human", "agent", "service", "guest"]
ACCESS: tuple[Access, ...] = ("none", "readonly", "read-write")
"""From least to most."""

MAX_NAME = 256
"""Characters of a `sub` or `name`; both travel with edits and into logs."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Grant:
    """What one connection may do in one room.

    actor: whose edits these are; empty when anonymous.
    name: for people to read.
    expires: Unix seconds after which the grant is void; None = never.
    """

    actor: Actor
    name: str
    readonly: bool
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is connected. `rooms` maps patterns to access; None opens every room. `expires` as in `Grant`.

    session: the login, API key or link that this came by, so that it can be revoked; empty where there is none.
    scopes: what it is narrowed to ("documents:write"); None = everything that the actor may do.
    """

    actor: Actor
    name: str
    rooms: Mapping[str, Access] | None
    expires: float | None = None
    session: str = ""
    kind: Kind = "human"
    scopes: frozenset[str] | None = None

    def grant(self, room: RoomId) -> Grant | None:
        """What this principal may do in `room`; None = nothing."""
        access: Access = "read-write" if self.rooms is None else _access(self.rooms, room)
        if access == "none":
            return None
        return Grant(self.actor, self.name, access == "readonly", self.expires)

    @classmethod
    def from_claims(cls, claims: Mapping[str, object], expires: float | None) -> "Principal":
        """Read `sub`, `name` and `rooms` of verified claims; raises Deny (4401) naming the claim that is wrong.

        No `sub` is an anonymous holder, for links handed to guests. No `rooms` is a token made for something else.
        """
        sub = _text(claims, "sub")
        return cls(Actor(sub), _text(claims, "name") or sub, _rooms(claims.get("rooms")), expires)


ANYONE = Principal(Actor(""), "", None)
"""Every connection to a server without authentication."""


def matches(pattern: str, text: str) -> bool:
    """Whether `text` fits `pattern`, where `*` is any run of characters. Never backtracks: tokens bring patterns."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    last = rest.pop()
    end = len(text) - len(last)
    if len(first) > end or not text.startswith(first) or not text.endswith(last):
        return False
    at = len(first)
    for part in rest:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _access(rooms: Mapping[str, Access], room: RoomId) -> Access:
    best, least = -1, 0
    for pattern, access in rooms.items():
        weight, level = len(pattern) - pattern.count("*"), ACCESS.index(access)
        if (weight > best or (weight == best and level < least)) and matches(pattern, room):
            best, least = weight, level
    return ACCESS[least]


def _text(claims: Mapping[str, object], key: str) -> str:
    value = claims.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_NAME or _UNPRINTABLE.search(value):
        raise Deny(f"the token's {key} claim must be text of at most {MAX_NAME} characters", 4401)
    return value


def _rooms(claim: object) -> Mapping[str, Access]:
    if claim is None:
        raise Deny("the token carries no rooms claim", 4401)
    if not isinstance(claim, dict):
        raise Deny("the token's rooms claim must map room patterns to access", 4401)
    for pattern, access in claim.items():
        if not isinstance(pattern, str) or access not in ACCESS:
            raise Deny('the token\'s rooms claim may only say "read-write", "readonly" or "none"', 4401)
    return cast(dict[str, Access], dict(claim))
