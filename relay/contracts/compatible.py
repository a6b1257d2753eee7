"""Would a change to the contracts break who reads what was released?

Readers of released code hold old bytes and old names, so: a field keeps its number, name, type and cardinality; one
that goes leaves its number and name reserved; enum values keep number and name; messages, enums and extensions stay;
an event keeps its type and topic. Adding is always allowed.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)

from relay.contracts.materi.v1 import envelope_pb2

__all__ = ["breaks"]


# Their stubs do not say what they extend.
_TYPE: Any = envelope_pb2.type
_TOPIC: Any = envelope_pb2.topic


class _Range(Protocol):
    start: int
    end: int


def breaks(released: FileDescriptorSet, current: FileDescriptorSet) -> list[str]:
    """What `current` breaks of `released`, one sentence each; empty when nothing."""
    return list(_breaks(released, current))


def _breaks(released: FileDescriptorSet, current: FileDescriptorSet) -> Iterator[str]:
    messages, enums = _messages(current), _enums(current)
    for name, message in _messages(released).items():
        if name not in messages:
            yield f"message {name} is gone"
            continue
        yield from _message(name, message[1], messages[name][1])
        was, now = message[0], messages[name][0]
        if was != now:
            yield f"message {name} moved from topic {was!r} to {now!r}"
    for name, enum in _enums(released).items():
        if name in enums:
            yield from _enum(name, enum, enums[name])
        else:
            yield f"enum {name} is gone"
    known = {(each.extendee, each.name): each for file in current.file for each in file.extension}
    for file in released.file:
        for extension in file.extension:
            now_there = known.get((extension.extendee, extension.name))
            if now_there is None:
                yield f"extension {extension.name} is gone"
            elif _shape(now_there) != _shape(extension) or now_there.number != extension.number:
                yield f"extension {extension.name} changed"


def _messages(files: FileDescriptorSet) -> dict[str, tuple[str, DescriptorProto]]:
    """By full name: the topic of the file when the message is an event, and the message."""
    found: dict[str, tuple[str, DescriptorProto]] = {}

    def walk(prefix: str, topic: str, messages: Sequence[DescriptorProto]) -> None:
        for message in messages:
            event = message.options.Extensions[_TYPE]
            found[f"{prefix}.{message.name}"] = (topic if event else "", message)
            walk(f"{prefix}.{message.name}", topic, message.nested_type)

    for file in files.file:
        walk(file.package, file.options.Extensions[_TOPIC], file.message_type)
    return found


def _enums(files: FileDescriptorSet) -> dict[str, EnumDescriptorProto]:
    found = {f"{file.package}.{enum.name}": enum for file in files.file for enum in file.enum_type}
    for name, (_, message) in _messages(files).items():
        found |= {f"{name}.{enum.name}": enum for enum in message.enum_type}
    return found


def _message(name: str, released: DescriptorProto, current: DescriptorProto) -> Iterator[str]:
    was, now = released.options.Extensions[_TYPE], current.options.Extensions[_TYPE]
    if was != now:
        yield f"message {name} was event {was!r} and is {now!r}"
    fields = {field.number: field for field in current.field}
    for field in released.field:
        label = f"field {name}.{field.name} = {field.number}"
        there = fields.get(field.number)
        if there is None:
            if not _within(field.number, current.reserved_range, inclusive=False):
                yield f"{label} is gone and its number not reserved"
            if field.name not in current.reserved_name:
                elsewhere = next((each.number for each in current.field if each.name == field.name), None)
                yield (
                    f"{label} has another number, {elsewhere}"
                    if elsewhere
                    else f"{label} is gone and its name not reserved"
                )
        elif there.name != field.name:
            yield f"{label} is called {there.name} now"
        elif _shape(there, current) != _shape(field, released):
            yield f"{label} has another type, or is repeated, optional or in a oneof where it was not"
    yield from _kept_reserved(name, released, current)


def _shape(field: FieldDescriptorProto, message: DescriptorProto | None = None) -> tuple[object, ...]:
    oneof = message.oneof_decl[field.oneof_index].name if message and field.HasField("oneof_index") else None
    return field.type, field.type_name, field.label, field.proto3_optional, oneof


def _enum(name: str, released: EnumDescriptorProto, current: EnumDescriptorProto) -> Iterator[str]:
    values = {value.number: value.name for value in current.value}
    for value in released.value:
        label = f"value {name}.{value.name} = {value.number}"
        if value.number not in values:
            if not _within(value.number, current.reserved_range, inclusive=True):
                yield f"{label} is gone and its number not reserved"
            if value.name not in current.reserved_name:
                yield f"{label} is gone or renumbered and its name not reserved"
        elif values[value.number] != value.name:
            yield f"{label} is called {values[value.number]} now"
    yield from _kept_reserved(name, released, current)


def _kept_reserved(
    name: str, released: DescriptorProto | EnumDescriptorProto, current: DescriptorProto | EnumDescriptorProto
) -> Iterator[str]:
    for text in released.reserved_name:
        if text not in current.reserved_name:
            yield f"{name} reserves the name {text} no more"
    inclusive = isinstance(released, EnumDescriptorProto)
    for span in released.reserved_range:
        for number in {span.start, span.end - (not inclusive)}:
            if not _within(number, current.reserved_range, inclusive=inclusive):
                yield f"{name} reserves the number {number} no more"


def _within(number: int, spans: Sequence[_Range], *, inclusive: bool) -> bool:
    # A message's reserved ranges exclude their end, an enum's include it (descriptor.proto).
    return any(span.start <= number < span.end + inclusive for span in spans)
