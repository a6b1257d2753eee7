"""One event, as programs hold it, and its two forms outside: protobuf bytes and JSON."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from relay.contracts.catalogue import EVENTS, kind_of
from relay.contracts.materi.v1.envelope_pb2 import Envelope
from relay.errors import Malformed

__all__ = ["Event", "UnknownType"]

MAX_SUBJECT = 512
MAX_ACTOR = 256
_URL: Final = "type.googleapis.com/"
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class UnknownType(Malformed):
    """An event of a type that this code does not have: it is from a newer publisher."""


@dataclass(frozen=True, slots=True)
class Event:
    """A fact that has happened. `payload` is one of the contracts' messages; it must not be changed.

    id: UUIDv7, the same however often the event is delivered.
    time: when it happened, Unix milliseconds.
    subject: what it is about, mostly an id; order is kept per subject.
    actor: who did it, empty for the system itself.
    trace: the `traceparent` of the request that caused it, or empty.
    """

    id: UUID
    time: int
    subject: str
    actor: str
    trace: str
    payload: Message

    def __post_init__(self) -> None:
        if not 0 < len(self.subject) <= MAX_SUBJECT or len(self.actor) > MAX_ACTOR or "\0" in self.subject + self.actor:
            raise ValueError(f"subject of 1..{MAX_SUBJECT} and actor of 0..{MAX_ACTOR} characters, none of them NUL")
        if self.trace and not _TRACE.fullmatch(self.trace):
            raise ValueError("trace is no traceparent of W3C Trace Context")
        kind_of(self.payload)

    @property
    def type(self) -> str:
        """Such as `document.created`."""
        return kind_of(self.payload).type

    @property
    def topic(self) -> str:
        """Such as `documents`."""
        return kind_of(self.payload).topic

    @property
    def version(self) -> int:
        """The version of the type's meaning, from 1."""
        return kind_of(self.payload).version

    def encode(self) -> bytes:
        """A serialized `materi.v1.Envelope`."""
        kind = kind_of(self.payload)
        envelope = Envelope(
            id=str(self.id),
            type=kind.type,
            version=kind.version,
            subject=self.subject,
            actor=self.actor,
            trace=self.trace,
        )
        envelope.time.FromMilliseconds(self.time)
        envelope.payload.type_url = _URL + kind.name
        envelope.payload.value = self.payload.SerializeToString(deterministic=True)
        return envelope.SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes) -> "Event":
        """The inverse of `encode`; keeps fields that this code does not know. Raises Malformed, UnknownType."""
        try:
            envelope = Envelope.FromString(data)
        except DecodeError as error:
            raise Malformed(f"no event envelope: {error}") from None
        kind = EVENTS.get(envelope.type)
        if kind is None:
            raise UnknownType(f"an event of the unknown type {envelope.type!r}")
        if envelope.payload.type_url.rpartition("/")[2] != kind.name:
            raise Malformed(f"{kind.type} carries {envelope.payload.type_url!r}")
        try:
            payload = kind.message.FromString(envelope.payload.value)
            id = UUID(envelope.id)
            time = envelope.time.ToMilliseconds()
            return cls(id, time, envelope.subject, envelope.actor, envelope.trace, payload)
        except (DecodeError, ValueError) as error:
            raise Malformed(f"{kind.type} can't be read: {error}") from None

    def json(self) -> dict[str, Any]:
        """For people and webhooks: every field named as in the contracts, with its default when it is not set."""
        return {
            "id": str(self.id),
            "time": datetime.fromtimestamp(self.time / 1000, UTC).isoformat(timespec="milliseconds"),
            "type": self.type,
            "version": self.version,
            "subject": self.subject,
            "actor": self.actor,
            "trace": self.trace,
            "data": json_format.MessageToDict(
                self.payload, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            ),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Event":
        """The inverse of `json`; `version` is ignored. Raises Malformed, naming what is wrong."""
        try:
            kind = EVENTS.get(value["type"])
            if kind is None:
                raise Malformed(f"an event of the unknown type {value['type']!r}")
            data = value.get("data", {})
            if not isinstance(data, dict):
                raise Malformed("data is no object")
            payload = json_format.ParseDict(data, kind.message())
            time = datetime.fromisoformat(value["time"])
            if time.tzinfo is None:
                raise Malformed("time has no zone")
            milliseconds = round(time.timestamp() * 1000)
            subject, actor, trace = (str(value.get(name, "")) for name in ("subject", "actor", "trace"))
            return cls(UUID(value["id"]), milliseconds, subject, actor, trace, payload)
        except KeyError as error:
            raise Malformed(f"an event without {error}") from None
        except (json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise Malformed(f"no event: {error}") from None
