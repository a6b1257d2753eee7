"""Ids of what the plugins keep: UUIDs of version 7, and how they are read from a path."""

from uuid import UUID

from relay.ids import uuid7

__all__ = ["read_uuid", "uuid7"]

_CANONICAL = 36


def read_uuid(text: str) -> UUID | None:
    """The UUID that `text` is in its usual form (8-4-4-4-12, either case); None for anything else.

    `UUID()` also takes braces, `urn:uuid:` and hyphens anywhere: one thing would have many names.
    """
    if len(text) != _CANONICAL:
        return None
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
