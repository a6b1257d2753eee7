"""Every event there is: its type, its topic, its message."""

from types import ModuleType
from typing import Any, NamedTuple, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from relay.contracts.materi.v1 import (
    ai_pb2,
    collaboration_pb2,
    documents_pb2,
    envelope_pb2,
    system_pb2,
    users_pb2,
)

__all__ = ["EVENTS", "TOPICS", "Kind", "kind_of"]

# Their stubs do not say what they extend.
_TOPIC: Any = envelope_pb2.topic
_TYPE: Any = envelope_pb2.type
_VERSION: Any = envelope_pb2.version

MessageClass = type[Message]
_MODULES: tuple[ModuleType, ...] = (users_pb2, documents_pb2, collaboration_pb2, ai_pb2, system_pb2)


class Kind(NamedTuple):
    """One type of event. `name` is the message's full name, `materi.v1.DocumentCreated`."""

    type: str
    topic: str
    version: int
    name: str
    message: MessageClass


def _kinds(module: ModuleType) -> list[Kind]:
    topic = module.DESCRIPTOR.GetOptions().Extensions[_TOPIC]
    found: list[Kind] = []
    for descriptor in cast("dict[str, Descriptor]", module.DESCRIPTOR.message_types_by_name).values():
        options = descriptor.GetOptions().Extensions
        if options[_TYPE]:
            message = GetMessageClass(descriptor)
            found.append(Kind(options[_TYPE], topic, options[_VERSION], descriptor.full_name, message))
    return found


EVENTS: dict[str, Kind] = {kind.type: kind for module in _MODULES for kind in _kinds(module)}
"""By type, in the order of the files."""

TOPICS: tuple[str, ...] = tuple(dict.fromkeys(kind.topic for kind in EVENTS.values()))

_BY_NAME = {kind.name: kind for kind in EVENTS.values()}


def kind_of(payload: Message) -> Kind:
    """What kind of event a message is; raises ValueError for a message that is none."""
    found = _BY_NAME.get(payload.DESCRIPTOR.full_name)
    if found is None:
        raise ValueError(f"{payload.DESCRIPTOR.full_name} is no event: it has no type in the contracts")
    return found
